"""Hypothesis strategies: contracts as text, values for any type in range, and bytes that are nearly right.

`contracts()` draws the text of a contracts file; `worlds()` loads it and has the registry as well. `messages` draws a
message of a registry, `payloads` its bytes, `mutated` and `rearranged` what may become of bytes on their way.
`struct_worlds` and `struct_messages` are the same for what the Rust dialect can say.
"""

import json
import struct
from functools import cache
from typing import Any

from hypothesis import strategies as st

from mycelium.schema.layout import layout_of
from mycelium.schema.model import (
    INTEGERS,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    Message,
    MessageRef,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
)
from mycelium.schema.parse import parse_text
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec, compile_codec
from mycelium.wire.tlv import walk

FIELD_NAMES = [
    *("a", "b", "value", "note", "naïve", "field_of_a_rather_long_name"),
    # Names that generated functions might trip over.
    *("p", "q", "t", "n", "f0", "b1", "size", "found", "body", "fields", "message", "payload", "metadata", "depth"),
    *("type", "len", "int", "str", "bytes", "bool", "list", "object", "cls", "range", "print", "match", "case", "_"),
]
SCALARS = [*INTEGERS, "f32", "f64", "bool"]
KEYS = [*INTEGERS, "bool", "String"]


# --- contracts -------------------------------------------------------------------------------------------------------


@cache  # making and validating strategies takes longer than drawing from them
def fixed_types(enums: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Spellings of fixed-size types."""
    leaves = st.sampled_from([*SCALARS, *enums]) | st.integers(1, 5).map(lambda count: f"[u8; {count}]")
    return st.recursive(leaves, lambda inner: st.builds("[{}; {}]".format, inner, st.integers(1, 3)), max_leaves=3)


@cache
def types(enums: tuple[str, ...], messages: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Spellings of types, nested messages behind a Vec or Map among them."""
    keys = st.sampled_from([*KEYS, *enums]) | st.integers(1, 3).map(lambda count: f"[u8; {count}]")
    leaves = fixed_types(enums) | st.sampled_from(["String", "bytes", "Vec<u8>"])
    held = leaves | st.sampled_from(messages)
    inner = st.recursive(
        held,
        lambda one: st.builds("Vec<{}>".format, one) | st.builds("Map<{}, {}>".format, keys, one),
        max_leaves=3,
    )
    return leaves | st.builds("Vec<{}>".format, inner) | st.builds("Map<{}, {}>".format, keys, inner)


NUMBER_RULES = [{"min": 0}, {"max": 100}, {"not_zero": True}]
LENGTH_RULES = [{"min_length": 1}, {"max_length": 3}, {"not_empty": True}]


@cache
def _rules(spelling: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    if spelling in SCALARS and spelling != "bool":
        return st.lists(st.sampled_from(NUMBER_RULES), max_size=2, unique_by=str)
    if spelling in {"String", "bytes"} or spelling.startswith(("Vec<", "Map<")):
        return st.lists(st.sampled_from(LENGTH_RULES), max_size=2, unique_by=str)
    return st.just([])


_DEFAULTS = {"bool": True, "String": "dflt", "bytes": "0x00ff", "f32": 1.5, "f64": -0.25}


def _default(spelling: str) -> Any:
    if spelling in INTEGERS:
        return 7
    return _DEFAULTS.get(spelling, [] if spelling.startswith("Vec<") and spelling != "Vec<u8>" else None)


ENUMS = ("Enum0", "Enum1")
MESSAGES = ("Message0", "Message1", "Message2")
NAMES = st.lists(st.sampled_from(FIELD_NAMES), max_size=6, unique=True)
TAGS = st.lists(st.integers(1, 12) | st.integers(1, 0xEFFF), min_size=6, max_size=6, unique=True)
REFERENCES = st.integers(0, 5)
DEFAULTED = st.integers(0, 3)
TRAITS = st.sampled_from([{}, {}, {"sensitivity": "internal"}])
REPRS = st.sampled_from(sorted(set(INTEGERS) - {"U256"}))
NUMBERS = st.lists(st.integers(0, 100), min_size=1, max_size=4, unique=True)


@st.composite
def _fields(draw: st.DrawFn, number: int, *, rules: bool) -> dict[str, Any]:
    """Fields of message `number`; it holds later messages directly, itself and earlier ones only if it need not."""
    names, tags, explicit = draw(NAMES), draw(TAGS), draw(st.booleans())
    fields: dict[str, Any] = {}
    for name, tag in zip(names, tags, strict=False):
        reference = draw(REFERENCES)
        holds = reference < len(MESSAGES)
        spelling = MESSAGES[reference] if holds else draw(types(ENUMS, MESSAGES))
        field: dict[str, Any] = {"type": spelling}
        if explicit:
            field["tag"] = tag
        if draw(st.booleans()) or (holds and reference <= number):
            field["optional"] = True
        if _default(spelling) is not None and draw(DEFAULTED) == 0:
            field["default"] = _default(spelling)
        if rules and (chosen := draw(_rules(spelling))):
            field["validation"] = chosen
        fields[name] = field
    return fields


@st.composite
def contracts(draw: st.DrawFn, *, rules: bool = False) -> str:
    """The text of a contracts file with two enums and three messages, some of which hold others, or themselves."""
    document: dict[str, Any] = {"types": {}, "messages": {}}
    for name in ENUMS:
        members = {f"member{number}": number for number in draw(NUMBERS)}
        document["types"][name] = {"enum": members, "repr": draw(REPRS), "open": draw(st.booleans())}
    for number, name in enumerate(MESSAGES):
        fields = draw(_fields(number, rules=rules))
        document["messages"][name] = {"tlv_type": 1000 + number, "fields": fields, **draw(TRAITS)}
    return json.dumps(document, ensure_ascii=False, indent=1)


class World:
    """A contracts file at work.

    No attrs class, since Hypothesis shows all fields of one: each of the strategies would show its world, and so on.

    Attributes:
        text: The file.
        schema: What it says.
        registry: Its classes and codecs.
        drawn: Strategies for its values, by what they are for.
    """

    def __init__(self, text: str, schema: Schema, registry: Registry[Codec]) -> None:
        self.text = text
        self.schema = schema
        self.registry = registry
        self.drawn: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<World of {len(self.schema.messages)} messages>"

    def codec(self, name: str = "Message0") -> Codec:
        """The codec of a message."""
        return self.registry.codec_of(name)


def load(text: str) -> World:
    """Loads the text of a contracts file."""
    schema = parse_text(text)
    return World(text, schema, Registry.first(schema, compile_codec, _no_pickle))


def _no_pickle(*_: object) -> Any:
    raise NotImplementedError


def worlds(*, rules: bool = False) -> st.SearchStrategy[World]:
    """Loaded contracts."""
    return contracts(rules=rules).map(load)


def schemas(*, rules: bool = False) -> st.SearchStrategy[Schema]:
    """Models of contracts."""
    return contracts(rules=rules).map(parse_text)


# --- values ----------------------------------------------------------------------------------------------------------

MOST_NESTED = 3
"""Messages inside each other in what is drawn."""


def scalars(name: str, *, nan: bool = False) -> st.SearchStrategy[Any]:
    """Values of a scalar type, its limits among them."""
    if name in INTEGERS:
        low, high = INTEGERS[name]
        return st.integers(low, high) | st.sampled_from([low, high])
    if name == "bool":
        return st.booleans()
    return st.floats(width=32 if name == "f32" else 64, allow_nan=nan)


def values(type_: Type, world: World, depth: int = 1, *, nan: bool = False) -> st.SearchStrategy[Any]:
    """Values of a type, as decoding gives them."""
    key = (type_, depth, nan)
    if key not in world.drawn:
        world.drawn[key] = _values(type_, world, depth, nan=nan)
    return world.drawn[key]


def _values(type_: Type, world: World, depth: int, *, nan: bool) -> st.SearchStrategy[Any]:
    match type_:
        case Scalar(name):
            return scalars(name, nan=nan)
        case String():
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        case Bytes():
            return st.binary(max_size=12)
        case ByteArray(length):
            return st.binary(min_size=length, max_size=length)
        case EnumDef():
            return _members(type_, world)
        case Array(element, length):
            return st.lists(values(element, world, depth, nan=nan), min_size=length, max_size=length)
        case Vec(element):
            return st.lists(values(element, world, depth, nan=nan), max_size=_room(element, depth))
        case Map(key, value):
            inside = values(value, world, depth, nan=nan)
            return st.dictionaries(values(key, world, depth), inside, max_size=_room(value, depth))
        case MessageRef(name):
            return messages(world, name, depth + 1, nan=nan)


def _room(element: Type, depth: int) -> int:
    """How many elements a list may have where it may hold messages in ever deeper ones."""
    return 4 if depth < MOST_NESTED or not isinstance(element, MessageRef | Vec | Map) else 0


def _members(enum: EnumDef, world: World) -> st.SearchStrategy[Any]:
    cls = world.registry.enum_of(enum.name)
    named = st.sampled_from(list(cls))
    unnamed = scalars(enum.repr).map(lambda number: cls(number) if number in enum.by_number else number)
    return named | unnamed if enum.open else named


@st.composite
def messages(draw: st.DrawFn, world: World, name: str = "Message0", depth: int = 1, *, nan: bool = False) -> Any:
    """Messages of a type, with fields that may be absent now there and now not."""
    given: dict[str, Any] = {}
    for field in world.schema.messages[name].fields:
        if not field.required and (depth >= MOST_NESTED or draw(st.booleans())):
            continue  # None, or the default: a None beside a default would not survive the wire
        given[field.name] = draw(values(field.type, world, depth, nan=nan))
    return world.registry.class_of(name)(**given)


@st.composite
def payloads(draw: st.DrawFn, world: World, name: str = "Message0", *, nan: bool = False) -> bytes:
    """Canonical payloads of a message."""
    return world.codec(name).encode(draw(messages(world, name, nan=nan)))


def message_names(world: World) -> st.SearchStrategy[str]:
    """Names of the messages of a world."""
    return st.sampled_from(list(world.schema.messages))


# --- bytes -----------------------------------------------------------------------------------------------------------


def fields_of(payload: bytes) -> list[bytes]:
    """The fields of a payload, headers and all."""
    return [payload[start - 6 : stop] for _, start, stop in walk(payload, 0, len(payload))]


@st.composite
def rearranged(draw: st.DrawFn, payload: bytes, message: Message) -> bytes:
    """The same message as another encoder might write it: fields in any order, unknown ones and metadata among them."""
    known = {field.tag for field in message.fields}
    fields = draw(st.permutations(fields_of(payload)))
    strange = draw(st.lists(st.integers(1, 0xFEFF).filter(lambda tag: tag not in known), max_size=3, unique=True))
    for tag in strange:
        value = draw(st.binary(max_size=5))
        fields.insert(draw(st.integers(0, len(fields))), struct.pack("<HI", tag, len(value)) + value)
    return b"".join(fields)


@st.composite
def mutated(draw: st.DrawFn, payload: bytes) -> bytes:
    """Bytes that are nearly a payload: a few of them changed, cut out, put in, doubled or swapped."""
    data = bytearray(payload)
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(data)))
        last = draw(st.integers(first, min(len(data), first + 8)))
        action = draw(st.sampled_from(["cut", "put", "double", "flip", "zero", "truncate"]))
        if action == "cut":
            del data[first:last]
        elif action == "put":
            data[first:first] = draw(st.binary(max_size=8))
        elif action == "double":
            data[first:first] = data[first:last]
        elif action == "flip" and first < len(data):
            data[first] ^= 1 << draw(st.integers(0, 7))
        elif action == "zero":
            data[first:last] = bytes(last - first)
        else:
            del data[first:]
    return bytes(data)


# --- structs of the Rust dialect -------------------------------------------------------------------------------------

NARROW = sorted(set(SCALARS) - {"u128", "i128"})
STRUCT_LEAVES = st.sampled_from([*NARROW, *ENUMS]) | st.integers(1, 5).map("[u8; {}]".format)
STRUCT_TYPES = (
    st.recursive(STRUCT_LEAVES, lambda inner: st.builds("[{}; {}]".format, inner, st.integers(1, 3)), max_leaves=3)
    | st.sampled_from(["String", "bytes", "Vec<u8>"])
    | st.integers(1, 5).map("Vec<[u8; {}]>".format)
)
NARROW_REPRS = st.sampled_from(sorted(set(INTEGERS) - {"U256", "u128", "i128"}))
MEMBERS = st.lists(st.integers(0, 100), min_size=1, max_size=4, unique=True)


@st.composite
def struct_contracts(draw: st.DrawFn, *, rules: bool = False) -> str:
    """The text of a contracts file of which every message has a layout."""
    document: dict[str, Any] = {"types": {}, "messages": {}}
    for name in ENUMS:
        members = {f"member{number}": number for number in draw(MEMBERS)}
        document["types"][name] = {"enum": members, "repr": draw(NARROW_REPRS), "open": draw(st.booleans())}
    for number, name in enumerate(MESSAGES[:2]):
        fields = {one: draw(_struct_field(rules=rules)) for one in draw(NAMES)}
        document["messages"][name] = {"tlv_type": 1000 + number, "fields": fields, **draw(TRAITS)}
    return json.dumps(document, ensure_ascii=False, indent=1)


@st.composite
def _struct_field(draw: st.DrawFn, *, rules: bool) -> dict[str, Any]:
    spelling = draw(STRUCT_TYPES)
    field: dict[str, Any] = {"type": spelling}
    if draw(st.booleans()):
        field["optional"] = True
    if _default(spelling) is not None and draw(DEFAULTED) == 0:
        field["default"] = _default(spelling)
    validation = draw(_rules(spelling)) if rules else []
    if spelling == "String" or spelling.startswith(("bytes", "Vec")):
        validation = [one for one in validation if "max_length" not in one]
        validation += draw(st.sampled_from([[], [{"max_length": draw(st.integers(4, 40))}]]))
    return {**field, "validation": validation} if validation else field


def struct_schemas() -> st.SearchStrategy[Schema]:
    """Models of which every message has a layout."""
    return struct_contracts().map(parse_text)


def struct_worlds(*, rules: bool = False) -> st.SearchStrategy[World]:
    """Loaded contracts of which every message has a layout."""
    return struct_contracts(rules=rules).map(load)


@st.composite
def struct_messages(draw: st.DrawFn, world: World, name: str = "Message0", *, nan: bool = False) -> Any:
    """Messages whose values fit their room; optional fields are now there and now None."""
    given: dict[str, Any] = {}
    layout = layout_of(world.schema.messages[name])
    for field in world.schema.messages[name].fields:
        if field.optional and draw(st.booleans()):
            given[field.name] = None
        elif field.required or draw(st.booleans()):
            value = draw(values(field.type, world, nan=nan))
            given[field.name] = _fitted(value, next(slot for slot in layout.slots if slot.name == field.name).capacity)
    return world.registry.class_of(name)(**given)


def _fitted(value: Any, capacity: int | None) -> Any:
    """The value, cut to its room."""
    if capacity is None:
        return value
    return value.encode()[:capacity].decode(errors="ignore") if isinstance(value, str) else value[:capacity]
