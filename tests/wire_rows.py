"""Values and bytes of every type, right and wrong: rows that prove the same of value codecs and of whole messages."""

import json
import math

from strategies import load

TYPES = {
    "Side": {"enum": {"buy": 1, "sell": 2}, "open": False},
    "Level": {"enum": {"low": 0, "high": 1000}, "repr": "i16"},
    "Wide": {"enum": {"one": 1, "two": 2}, "repr": "u128", "open": False},
    "WideOpen": {"enum": {"one": 1}, "repr": "i128"},
}
MESSAGES = {
    "Point": {"x": {"type": "i8"}, "y": {"type": "i8"}},
    "Tree": {"leaves": {"type": "Vec<Tree>"}},
    "Other": {},
}
SHAPES = {"required": {}, "optional": {"optional": True}, "ruled": {"validation": [{"anything": True}]}}
"""What a field may be beside its type; a rule that nobody has registered is looked up, and holds."""
SPELLINGS = [
    "Level",
    "Map<Level, u8>",
    "Map<Side, u8>",
    "Map<String, Vec<u8>>",
    "Map<String, bytes>",
    "Map<String, u8>",
    "Map<[u8; 1], bool>",
    "Map<bool, Point>",
    "Map<bool, u8>",
    "Map<u8, String>",
    "Map<u8, u16>",
    "Map<u8, u8>",
    "Other",
    "Point",
    "Side",
    "String",
    "Tree",
    "U256",
    "Vec<Level>",
    "Vec<Point>",
    "Vec<Side>",
    "Vec<String>",
    "Vec<Vec<u16>>",
    "Vec<Vec<u8>>",
    "Vec<Wide>",
    "Vec<WideOpen>",
    "Vec<[[bool; 1]; 2]>",
    "Vec<[i8; 2]>",
    "Vec<[u8; 2]>",
    "Vec<bool>",
    "Vec<f32>",
    "Vec<f64>",
    "Vec<i128>",
    "Vec<u128>",
    "Vec<u16>",
    "Vec<u8>",
    "Wide",
    "WideOpen",
    "[Side; 2]",
    "[U256; 1]",
    "[[i16; 1]; 2]",
    "[[u16; 2]; 2]",
    "[[u8; 2]; 2]",
    "[bool; 2]",
    "[bool; 3]",
    "[i16; 2]",
    "[u128; 1]",
    "[u8; 2]",
    "[u8; 3]",
    "bool",
    "bytes",
    "f32",
    "f64",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
]
"""Types that the rows below are about."""


def _world():
    """The types above, and for every spelling and shape a message with such a field between two others.

    Before it stands a field of no fixed size, so that offsets are found and not known.
    """
    messages = dict(MESSAGES)
    for number, spelling in enumerate(SPELLINGS):
        for shape, more in SHAPES.items():
            probe = {"type": spelling, **more}
            messages[f"Probe{number}_{shape}"] = {
                "before": {"type": "bytes"},
                "probe": probe,
                "after": {"type": "bool"},
            }
    numbered = {name: {"tlv_type": 1000 + at, "fields": one} for at, (name, one) in enumerate(messages.items())}
    return load(json.dumps({"types": TYPES, "messages": numbered}))


WORLD = _world()
Side, Level, Wide, WideOpen = (WORLD.registry.enum_of(name) for name in TYPES)
Point, Tree, Other = (WORLD.registry.class_of(name) for name in MESSAGES)
POINT = "0100010000000102000100000002"


def probe_of(spelling, shape):
    """The name of the message for a spelling and a shape."""
    return f"Probe{SPELLINGS.index(spelling)}_{shape}"


def type_of(spelling):
    """The model of a type."""
    return WORLD.schema.messages[probe_of(spelling, "required")].by_name["probe"].type


SCALAR_ROWS = [
    ("u8", 255, "ff"),
    ("u16", 258, "0201"),
    ("u32", 1, "01000000"),
    ("u64", 2**64 - 2, "feffffffffffffff"),
    ("u128", 2**64, "00000000000000000100000000000000"),
    ("u128", 2**128 - 1, "ff" * 16),
    ("i8", -1, "ff"),
    ("i16", -32768, "0080"),
    ("i32", -2, "feffffff"),
    ("i64", -(2**63), "0000000000000080"),
    ("i128", -(2**127), "00000000000000000000000000000080"),
    ("i128", -5, "fbffffffffffffffffffffffffffffff"),
    ("f32", 1.5, "0000c03f"),
    ("f64", -0.0, "0000000000000080"),
    ("f64", math.inf, "000000000000f07f"),
    ("bool", True, "01"),
    ("bool", False, "00"),
    ("U256", 1, "00" * 31 + "01"),
    ("U256", 2**256 - 1, "ff" * 32),
    ("U256", 0x0102, "00" * 30 + "0102"),
]

ROWS = [
    *SCALAR_ROWS,
    ("Side", Side.buy, "01"),
    ("Level", Level.high, "e803"),
    ("Level", -5, "fbff"),
    ("Wide", Wide.two, "02" + "00" * 15),
    ("WideOpen", WideOpen.one, "01" + "00" * 15),
    ("WideOpen", -1, "ff" * 16),
    ("String", "", ""),
    ("String", "žluť🍄\0", "c5be6c75c5a5f09f8d8400"),
    ("bytes", b"\0\xff", "00ff"),
    ("Vec<u8>", b"\0\xff", "00ff"),
    ("[u8; 3]", b"abc", "616263"),
    ("[bool; 3]", [True, False, True], "010001"),
    ("[i16; 2]", [-1, 1], "ffff0100"),
    ("[[u8; 2]; 2]", [b"ab", b"cd"], "61626364"),
    ("[[u16; 2]; 2]", [[1, 2], [3, 4]], "0100020003000400"),
    ("[Side; 2]", [Side.buy, Side.sell], "0102"),
    ("[u128; 1]", [2**64], "00" * 8 + "01" + "00" * 7),
    ("[U256; 1]", [1], "00" * 31 + "01"),
    ("Vec<u16>", [], ""),
    ("Vec<u16>", [1, 65535], "0100ffff"),
    ("Vec<f32>", [1.5], "0000c03f"),
    ("Vec<bool>", [False, True], "0001"),
    ("Vec<Side>", [Side.sell], "02"),
    ("Vec<Level>", [Level.low, 7], "00000700"),
    ("Vec<Wide>", [Wide.one], "01" + "00" * 15),
    ("Vec<WideOpen>", [WideOpen.one, 9], "01" + "00" * 15 + "09" + "00" * 15),
    ("Vec<i128>", [-1, 1], "ff" * 16 + "01" + "00" * 15),
    ("Vec<[u8; 2]>", [b"ab", b"cd"], "61626364"),
    ("Vec<[i8; 2]>", [[1, -1]], "01ff"),
    ("Vec<[[bool; 1]; 2]>", [[[True], [False]]], "0100"),
    ("Vec<String>", ["", "ab"], "00000000" + "020000006162"),
    ("Vec<Vec<u8>>", [b"a", b""], "0100000061" + "00000000"),
    ("Vec<Vec<u16>>", [[1], []], "020000000100" + "00000000"),
    ("Vec<Point>", [Point(1, 2)], "0e000000" + POINT),
    ("Point", Point(1, 2), POINT),
    ("Other", Other(), ""),
    ("Map<u8, u16>", {}, ""),
    (
        "Map<u8, u16>",
        {2: 1, 1: 2},
        "0f000000" + "010001000000020200020000000100" + "0f000000" + "010001000000010200020000000200",
    ),
    ("Map<String, bytes>", {"k": b""}, "0d000000" + "0100010000006b020000000000"),
    ("Map<[u8; 1], bool>", {b"k": True}, "0e000000" + "0100010000006b02000100000001"),
    ("Map<Side, u8>", {Side.buy: 7}, "0e000000" + "0100010000000102000100000007"),
    ("Map<bool, Point>", {True: Point(1, 2)}, "1b000000" + "01000100000001" + "02000e000000" + POINT),
]
"""Spelling of a type, value, bytes."""

MISFITS = [
    ("Side", 3, None, "takes a member of Side (buy, sell) or its number"),
    ("Side", "buy", None, "takes a member of Side (buy, sell) or its number"),
    ("Side", True, None, "takes a member of Side (buy, sell) or its number"),
    ("Level", 40000, None, "takes an int from -32768 to 32767 (i16)"),
    ("String", b"x", None, "takes a str"),
    ("String", "a\ud800", None, "takes text that UTF-8 can carry; index 1 is half a surrogate pair"),
    ("bytes", bytearray(b"x"), None, "takes bytes"),
    ("bytes", "x", None, "takes bytes"),
    ("[u8; 2]", b"x", None, "takes 2 bytes"),
    ("[u8; 2]", [1, 2], None, "takes 2 bytes"),
    ("[i16; 2]", [1], None, "takes a list of 2 values"),
    ("[i16; 2]", (1, 2), None, "takes a list of 2 values"),
    ("[i16; 2]", [1, True], "[1]", "takes an int from -32768 to 32767 (i16)"),
    ("[[i16; 1]; 2]", [[1], [2, 3]], "[1]", "takes a list of 1 values"),
    ("[[i16; 1]; 2]", [[1], [2.0]], "[1][0]", "takes an int from -32768 to 32767 (i16)"),
    ("Vec<u16>", (1,), None, "takes a list"),
    ("Vec<u16>", [1, 65536], "[1]", "takes an int from 0 to 65535 (u16)"),
    ("Vec<bool>", [True, 1], "[1]", "takes a bool"),
    ("Vec<u128>", [True], "[0]", "takes an int from 0 to 340282366920938463463374607431768211455 (u128)"),
    ("Vec<Side>", [Side.buy, 3], "[1]", "takes a member of Side (buy, sell) or its number"),
    ("Vec<Side>", [Side.buy, []], "[1]", "takes a member of Side (buy, sell) or its number"),
    ("Vec<[u8; 2]>", [b"ab", b"c"], "[1]", "takes 2 bytes"),
    ("Vec<String>", "ab", None, "takes a list"),
    ("Vec<String>", ["a", 1], "[1]", "takes a str"),
    ("Vec<Vec<u16>>", [[], [1, "2"]], "[1][1]", "takes an int from 0 to 65535 (u16)"),
    ("Vec<Point>", [Point(1, 2), Point(1, 200)], "[1].y", "takes an int from -128 to 127 (i8)"),
    ("Point", Other(), None, "takes a Point"),
    ("Point", None, None, "takes a Point"),
    ("Map<u8, u16>", [(1, 2)], None, "takes a dict"),
    ("Map<u8, u16>", {1: 1, 300: 2}, "[entry 1]", "takes an int from 0 to 255 (u8)"),
    ("Map<String, u8>", {"a": 1, "b": -1}, "['b']", "takes an int from 0 to 255 (u8)"),
    ("Map<String, Vec<u8>>", {"a": [1]}, "['a']", "takes bytes"),
]
"""Spelling, value that is none, path, problem."""

BROKEN = [
    ("u16", "01", None, "takes 2 bytes, not 1", 2),
    ("Side", "03", None, "takes a member of Side (buy, sell) or its number", 2),
    ("Wide", "03" + "00" * 15, None, "takes a member of Wide (one, two) or its number", 2),
    ("String", "61ff", None, "invalid UTF-8", 3),
    ("String", "c3", None, "invalid UTF-8", 2),
    ("[u8; 2]", "61", None, "takes 2 bytes, not 1", 2),
    ("[i16; 2]", "010002", None, "takes 4 bytes, not 3", 2),
    ("[bool; 2]", "0102", "[1]", "a bool is 0 or 1", 3),
    ("Vec<u16>", "010002", None, "takes a multiple of 2 bytes, not 3", 2),
    ("Vec<bool>", "010002", "[2]", "a bool is 0 or 1", 4),
    ("Vec<Side>", "0103", "[1]", "takes a member of Side (buy, sell) or its number", 3),
    ("Vec<[[bool; 1]; 2]>", "01000102", "[1][1][0]", "a bool is 0 or 1", 5),
    ("Vec<String>", "0000000001", "[1]", "1 trailing bytes are no whole length", 6),
    ("Vec<String>", "0000000002000000" + "61", "[1]", "says 2 bytes where 1 are left", 6),
    ("Vec<String>", "ffffffff", "[0]", "says 4294967295 bytes where 0 are left", 2),
    ("Vec<String>", "00000000" + "01000000ff", "[1]", "invalid UTF-8", 10),
    ("Vec<Point>", "07000000" + POINT[:14], "[0].y", "is missing (tag 2)", 13),
    ("Vec<Point>", "0e000000" + POINT[:14] * 2, "[0].x", "tag 1 is there twice", 13),
    ("Map<u8, u16>", "00", "[entry 0]", "1 trailing bytes are no whole length", 2),
    ("Map<u8, u16>", "05000000", "[entry 0]", "says 5 bytes where 0 are left", 2),
    ("Map<u8, u16>", "00000000", "[entry 0]", "has no key (tag 1)", 6),
    ("Map<u8, u16>", "07000000" + "01000100000001", "[entry 0]", "has no value (tag 2)", 13),
    ("Map<u8, u16>", "08000000" + "0200020000000100", "[entry 0]", "has no key (tag 1)", 14),
    ("Map<u8, u16>", "0e000000" + "0100010000000102000100000001", "[1]", "takes 2 bytes, not 1", 19),
    ("Map<u8, u8>", ("0e000000" + "0100010000000102000100000001") * 2, "[entry 1]", "repeats a key", 30),
    ("Map<bool, u8>", "0e000000" + "0100010000000202000100000001", "[entry 0]", "a bool is 0 or 1", 12),
    ("Map<u8, String>", "0e000000" + "01000100000001020001000000ff", "[1]", "invalid UTF-8", 19),
]
"""Spelling, bytes that are none, path, problem, and the offset of it if the bytes begin at 2."""


class Text(str):
    __slots__ = ()


class Numbers(list):
    __slots__ = ()


CLOSE = [
    ("Side", 1, "01"),
    ("u8", Side.sell, "02"),
    ("Vec<u16>", [Side.sell, 3], "02000300"),
    ("Vec<f64>", [1], "000000000000f03f"),
    ("f64", 1, "000000000000f03f"),
    ("Vec<Level>", Numbers([Side.sell]), "0200"),
    ("String", Text("a"), "61"),
    ("Map<Level, u8>", {7: 1}, "0f000000" + "010002000000070002000100000001"),
]
"""Spelling, value of a class that is close enough, bytes."""
