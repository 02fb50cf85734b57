"""Structs of the Rust dialect: literal rows for what is right and what is wrong."""

import json
import math
import struct

import pytest
from strategies import load

from mycelium.schema.errors import RuleError
from mycelium.wire.errors import DecodeError, EncodeError
from mycelium.wire.rustframes import encode_rust_frame


def one(fields, types=None, **more):
    """Class and codec of a message."""
    made = load(json.dumps({"types": types or {}, "messages": {"M": {"tlv_type": 1000, "fields": fields, **more}}}))
    return made.registry.class_of("M"), made.registry.codec_of("M").rust


MOOD = {"Mood": {"enum": {"happy": 1, "sad": 2}, "repr": "u16", "open": False}}
OPEN = {"Mood": {"enum": {"happy": 1, "sad": 2}, "repr": "u16"}}


@pytest.mark.parametrize(
    ("field", "value", "payload"),
    [
        ({"type": "bool"}, True, "01"),
        ({"type": "i8"}, -2, "fe"),
        ({"type": "U256"}, 1, "00" * 31 + "01"),
        ({"type": "f32"}, 1.5, "0000c03f"),
        ({"type": "f64"}, 2, "0000000000000040"),
        ({"type": "[u8; 3]"}, b"abc", "616263"),
        ({"type": "[u16; 2]"}, [1, 2], "01000200"),
        ({"type": "[[u8; 2]; 2]"}, [b"ab", b"cd"], "61626364"),
        ({"type": "[U256; 1]"}, [3], "00" * 31 + "03"),
        ({"type": "Mood"}, 2, "0200"),
        ({"type": "String", "validation": [{"max_length": 5}]}, "héy", "0400" + "00" * 6 + "68c3a979" + "0000"),
        ({"type": "bytes", "validation": [{"max_length": 2}]}, b"\xff", "0100" + "00" * 6 + "ff00"),
        ({"type": "Vec<[u8; 2]>", "validation": [{"max_length": 2}]}, [b"ab"], "0100" + "00" * 6 + "61620000"),
        ({"type": "Vec<[u8; 2]>", "validation": [{"max_length": 2}]}, [], "00" * 12),
        ({"type": "u32", "optional": True}, 7, "07000000"),
        ({"type": "String", "optional": True, "validation": [{"max_length": 1}]}, "a", "0100" + "00" * 6 + "6100"),
    ],
)
def test_a_value_has_these_bytes_both_ways(field, value, payload):
    cls, codec = one({"v": field}, MOOD)
    assert codec.encode(cls(value)).hex() == codec.walk.encode(cls(value)).hex() == payload
    assert codec.decode(bytes.fromhex(payload)) == codec.walk.decode(bytes.fromhex(payload)) == cls(value)


@pytest.mark.parametrize(
    ("field", "zero", "size"),
    [
        ("u32", 0, 4),
        ("f64", 0.0, 8),
        ("bool", False, 1),
        ("U256", 0, 32),
        ("[u8; 2]", b"\0\0", 2),
        ("[u16; 2]", [0, 0], 4),
        ("String", "", 40),
        ("bytes", b"", 24),
        ("Vec<[u8; 2]>", [], 16),
        ("Open", 0, 2),
        ("[Open; 2]", [0, 0], 4),
        ("Zero", 0, 2),
        ("Closed", None, 2),
        ("[Closed; 2]", None, 4),
    ],
)
def test_none_is_zeros_and_zeros_are_the_zero_value_if_there_is_one(field, zero, size):
    types = {"Open": OPEN["Mood"], "Closed": MOOD["Mood"], "Zero": {**MOOD["Mood"], "enum": {"none": 0}}}
    cls, codec = one({"v": {"type": field, "optional": True}}, types)
    for encode in (codec.encode, codec.walk.encode):
        assert encode(cls(None)) == bytes(size)
    for decode in (codec.decode, codec.walk.decode):
        assert decode(bytes(size)).v == zero
        assert type(decode(bytes(size)).v) is type(codec.walk.fields[0].zero)
    assert codec.encode(codec.decode(bytes(size))) == bytes(size)


def test_what_is_read_of_a_list_is_nobody_elses():
    cls, codec = one({"v": {"type": "[u16; 2]", "optional": True}})
    codec.decode(bytes(4)).v.append(1)
    assert codec.decode(bytes(4)) == cls([0, 0])


def test_a_zero_of_an_optional_field_breaks_no_rule_and_another_value_does():
    rules = [{"min": 5}, {"max": 9}]
    cls, codec = one({"v": {"type": "u8", "optional": True, "validation": rules}})
    assert codec.decode(b"\0") == cls(0)
    assert codec.publish_frame(cls(None)) == encode_rust_frame(1000, b"\0")
    for decode in (codec.decode, codec.decode_for_native):
        with pytest.raises(DecodeError, match=r"M.v: breaks the rule min: 5, got 4 \(int\) \(at byte 0"):
            decode(b"\4")
    with pytest.raises(RuleError):
        codec.publish_frame(cls(0))


def test_a_zero_that_breaks_a_rule_is_none_in_the_native_form():
    fields = {"v": {"type": "String", "optional": True, "validation": [{"min_length": 1}]}, "w": {"type": "u8"}}
    cls, codec = one(fields)
    payload = codec.encode(cls(None, 3))
    assert codec.decode(payload) == cls("", 3)
    assert codec.decode_for_native(payload) == codec.walk.decode(payload, for_native=True) == cls(None, 3)
    codec.native.publish_frame(codec.decode_for_native(payload))


def test_a_zero_that_keeps_the_rules_is_a_zero_in_the_native_form():
    cls, codec = one({"v": {"type": "u8", "optional": True, "validation": [{"max": 9}]}})
    assert codec.decode_for_native(b"\0") == cls(0)


def test_beside_a_default_none_is_read_as_zero_and_a_default_is_written():
    cls, codec = one({"v": {"type": "u8", "optional": True, "default": 7}})
    assert codec.encode(cls()) == b"\7"
    assert codec.encode(cls(None)) == b"\0"
    assert codec.decode(b"\0") == cls(0)


def test_an_open_enum_keeps_a_number_without_a_name():
    cls, codec = one({"v": {"type": "Mood"}}, OPEN)
    assert codec.decode(b"\x09\0") == cls(9)
    assert repr(codec.decode(b"\x02\0").v) == "<Mood.sad: 2>"


def test_nan_and_negative_zero_keep_their_bits():
    cls, codec = one({"v": {"type": "f64", "optional": True}})
    for payload in (struct.pack("<d", math.nan), struct.pack("<d", -0.0)):
        assert codec.encode(codec.decode(payload)) == payload
    assert math.isnan(codec.decode(codec.encode(cls(math.nan))).v)


def test_padding_and_unused_room_are_ignored_and_written_as_zeros():
    text = {"type": "String", "validation": [{"max_length": 3}]}
    cls, codec = one({"a": {"type": "u8"}, "b": text, "c": {"type": "u32"}})
    payload = bytes.fromhex("01 ff 0100 eeeeeeeeeeee 61fefe dd ffff 04000000")[:14] + bytes.fromhex("ffff04000000")
    assert codec.decode(payload) == codec.walk.decode(payload) == cls(1, "a", 4)
    assert codec.encode(cls(1, "a", 4)).hex() == "0100010000000000000061000000000004000000"


@pytest.mark.parametrize(
    ("field", "payload", "path", "problem", "offset"),
    [
        ("u32", "000000", None, "takes 8 bytes, not 5; the other side's contracts may be different ones", 5),
        ("u32", "00000000000000", None, "takes 8 bytes, not 9; the other side's contracts may be different ones", 8),
        ("bool", "02", "v", "a bool is 0 or 1", 2),
        ("Mood", "0300", "v", "takes a member of Mood (happy, sad) or its number", 2),
        ("[Mood; 2]", "01000300", "v[1]", "takes a member of Mood (happy, sad) or its number", 4),
        ("[bool; 2]", "0102", "v[1]", "a bool is 0 or 1", 3),
        ("Short", "0500000000000000" + "6161616100", "v", "counts 5 bytes where the struct has room for 4", 2),
        ("Short", "0200000000000000" + "61ff00000000"[:8], "v", "invalid UTF-8", 11),
        ("bytes", "1100" + "00" * 22, "v", "counts 17 bytes where the struct has room for 16", 2),
        ("Vec<[u8; 1]>", "0500" + "00" * 10, "v", "counts 5 elements where the struct has room for 4", 2),
    ],
)
def test_bytes_that_are_no_such_struct_are_refused(field, payload, path, problem, offset):
    spelled = {"type": "String", "validation": [{"max_length": 4}]} if field == "Short" else {"type": field}
    _, codec = one({"head": {"type": "[u8; 2]"}, "v": spelled}, MOOD)
    payload = b"hh" + bytes.fromhex(payload)
    if path is not None:
        payload = payload.ljust(codec.layout.size, b"\0")[: codec.layout.size]
    for decode in (codec.decode, codec.decode_for_native):
        with pytest.raises(DecodeError) as caught:
            decode(payload)
        error = caught.value
        assert (error.message, error.field, error.offset) == ("M", path, offset)
        assert error.problem.removesuffix(" (max_length says how much)") == problem


@pytest.mark.parametrize(
    ("field", "value", "path", "problem"),
    [
        ("u8", 256, "v", "takes an int from 0 to 255 (u8)"),
        ("u8", None, "v", "takes an int from 0 to 255 (u8)"),
        ("bool", 1, "v", "takes a bool"),
        ("[u8; 2]", b"abc", "v", "takes 2 bytes"),
        ("[u8; 2]", b"a", "v", "takes 2 bytes"),
        ("Mood", 3, "v", "takes a member of Mood (happy, sad) or its number"),
        ("[u16; 2]", [1, -1], "v[1]", "takes an int from 0 to 65535 (u16)"),
        ("String", "a" * 33, "v", "has 33 bytes where the struct has room for 32 (max_length says how much)"),
        ("String", "é" * 17, "v", "has 34 bytes where the struct has room for 32 (max_length says how much)"),
        ("String", b"a", "v", "takes a str"),
        ("bytes", b"a" * 17, "v", "has 17 bytes where the struct has room for 16 (max_length says how much)"),
        ("bytes", "a", "v", "takes bytes"),
        ("Vec<[u8; 1]>", [b"a"] * 5, "v", "has 5 elements where the struct has room for 4 (max_length says how much)"),
        ("Vec<[u8; 1]>", [b"a", b"bc"], "v[1]", "takes 1 bytes"),
        ("Vec<[u8; 1]>", b"a", "v", "takes a list"),
    ],
)
@pytest.mark.parametrize("optional", [False, True])
def test_a_value_that_does_not_fit_is_refused_before_anything_is_made(field, value, path, problem, optional):
    if optional and value is None:
        return
    cls, codec = one({"v": {"type": field, "optional": optional}}, MOOD)
    for encode in (codec.encode, codec.encode_frame, codec.publish_frame):
        with pytest.raises(EncodeError) as caught:
            encode(cls(value))
        assert (caught.value.message, caught.value.field, caught.value.problem) == ("M", path, problem)
        assert caught.value.value is not None or value is None


def test_the_native_form_may_carry_what_has_no_room_here():
    cls, codec = one({"v": {"type": "String"}})
    with pytest.raises(EncodeError, match="room for 32"):
        codec.encode_frame(codec.native.decode(codec.native.encode(cls("a" * 40))))


def test_a_value_of_a_class_that_is_close_enough_is_published():
    class Five(int):
        pass

    cls, codec = one({"v": {"type": "u8", "validation": [{"min": 5}]}})
    assert codec.publish_frame(cls(Five(5))) == encode_rust_frame(1000, b"\5")
    with pytest.raises(RuleError):
        codec.publish_frame(cls(Five(4)))


def test_only_a_message_of_the_class_is_encoded():
    _, codec = one({"v": {"type": "u8"}})
    with pytest.raises(EncodeError, match="M: takes a M"):
        codec.encode(object())


def test_values_of_a_redacted_message_are_not_shown():
    cls, codec = one({"v": {"type": "String", "validation": [{"pattern": "x*"}]}}, sensitivity="pii")
    for call in (lambda: codec.encode(cls("secret" * 9)), lambda: codec.decode(codec.encode(cls("secret")))):
        with pytest.raises((EncodeError, DecodeError)) as caught:
            call()
        assert "secret" not in str(caught.value)
        assert "secret" not in repr(caught.value.args)


def test_a_custom_rule_never_sees_a_zero_of_an_optional_field():
    import mycelium

    seen = []
    mycelium.rule("seen_by_rust_test")(lambda value, _: seen.append(value) or True)
    cls, codec = one({"v": {"type": "u8", "optional": True, "validation": [{"seen_by_rust_test": 1}]}})
    assert codec.decode(b"\0") == cls(0)
    assert seen == []
    codec.decode(b"\1")
    assert seen == [1]
