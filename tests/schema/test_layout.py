"""Layouts are those of C: `ctypes`, which asks the platform's own rules, says the same of every field."""

import ctypes
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from strategies import struct_schemas

from mycelium.schema.errors import LayoutError
from mycelium.schema.kinds import Array, ByteArray, Bytes, EnumDef, Scalar, String, Vec
from mycelium.schema.layout import Slot, layout_of, layouts_of
from mycelium.schema.parse import parse_text

CONTRACTS = Path(__file__).parent.parent / "contracts"
C_TYPES = {
    **{f"u{bits}": getattr(ctypes, f"c_uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"i{bits}": getattr(ctypes, f"c_int{bits}") for bits in (8, 16, 32, 64)},
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
    "bool": ctypes.c_bool,
    "U256": ctypes.c_uint8 * 32,
}


def counted(room):
    """FixedStr and FixedVec as the Rust source declares them."""
    fields = [("count", ctypes.c_uint16), ("padding", ctypes.c_uint8 * 6), ("data", ctypes.c_uint8 * room)]
    return type("Counted", (ctypes.Structure,), {"_fields_": fields})


def c_type(type_, capacity):
    match type_:
        case Scalar(name):
            return C_TYPES[name]
        case EnumDef():
            return C_TYPES[type_.repr]
        case ByteArray(length):
            return ctypes.c_uint8 * length
        case Array(element, length):
            return c_type(element, None) * length
        case String() | Bytes():
            return counted(capacity)
        case Vec(ByteArray(length)):
            return counted(capacity * length)
    raise AssertionError(type_)


def c_struct(message, layout):
    """The message as C declares it."""
    capacities = [slot.capacity for slot in layout.slots]
    fields = [
        (f"field{number}", c_type(field.type, capacity))
        for number, (field, capacity) in enumerate(zip(message.fields, capacities, strict=True))
    ]
    return type("Struct", (ctypes.Structure,), {"_fields_": fields})


def schema_of(*fields, more=""):
    lines = "\n".join(f"      {line}" for line in fields)
    return parse_text(f"messages:\n  Message:\n    tlv_type: 1000\n    fields:\n{lines}\n{more}")


def message_of(*fields):
    return schema_of(*fields).messages["Message"]


@settings(max_examples=100, deadline=None)
@given(struct_schemas())
def test_offsets_sizes_and_alignments_are_those_of_c(schema):
    is_like_c(schema)


@pytest.mark.parametrize("path", sorted(CONTRACTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_real_files_have_layouts_like_those_of_c(path):
    is_like_c(parse_text(path.read_text()))


def is_like_c(schema):
    for message in schema.messages.values():
        layout = layout_of(message)
        struct = c_struct(message, layout)
        places = [getattr(struct, name) for name, _ in struct._fields_]
        assert [(slot.offset, slot.size) for slot in layout.slots] == [(one.offset, one.size) for one in places]
        assert [slot.alignment for slot in layout.slots] == [ctypes.alignment(kind) for _, kind in struct._fields_]
        assert (layout.size, layout.alignment) == (ctypes.sizeof(struct), ctypes.alignment(struct))


@settings(max_examples=50, deadline=None)
@given(struct_schemas())
def test_slots_and_paddings_cover_the_struct_without_a_gap(schema):
    for layout in layouts_of(schema).values():
        spans = sorted([*layout.paddings, *((slot.offset, slot.stop) for slot in layout.slots)])
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert [start for start, _ in spans][:1] in ([], [0])
        assert layout.size == sum(stop - start for start, stop in spans)


def test_a_message_without_fields_has_no_bytes():
    layout = layout_of(parse_text("messages: {Empty: {tlv_type: 1000, fields: {}}}").messages["Empty"])
    assert (layout.size, layout.alignment, layout.slots, list(layout.paddings)) == (0, 1, (), [])


@pytest.mark.parametrize(
    ("type_", "rules", "capacity", "size"),
    [
        ("String", "", 32, 40),
        ("String", "max_length: 5", 5, 14),
        ("String", "max_length: 0", 0, 8),
        ("bytes", "", 16, 24),
        ("Vec<u8>", "max_length: 7", 7, 16),
        ("'Vec<[u8; 20]>'", "", 4, 88),
        ("'Vec<[u8; 3]>'", "max_length: 3", 3, 18),
        ("String", "max_length: 9}, {max_length: 6", 6, 14),
        ("String", "max_length: 65535", 65535, 65544),
    ],
)
def test_what_is_counted_has_the_room_that_max_length_or_a_default_says(type_, rules, capacity, size):
    validation = f", validation: [{{{rules}}}]" if rules else ""
    layout = layout_of(message_of(f"value: {{type: {type_}{validation}}}"))
    assert layout.slots == (Slot("value", str(layout.slots[0].type), 0, size, 2, capacity),)
    assert layout.size == size


def test_fields_stand_in_contract_order_whatever_their_tags_are():
    layout = layout_of(message_of("a: {type: u8, tag: 9}", "b: {type: u64, tag: 3}", "c: {type: u16, tag: 5}"))
    assert [(slot.name, slot.offset) for slot in layout.slots] == [("a", 0), ("b", 8), ("c", 16)]
    assert list(layout.paddings) == [(1, 8), (18, 24)]


@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        ("u128", "u128 (integers of 128 bits have none)"),
        ("i128", "i128 (integers of 128 bits have none)"),
        ("'Map<u8, u8>'", "Map<u8, u8> (a Map has none)"),
        ("Vec<u16>", "Vec<u16> (of all Vecs those of u8 and of [u8; N] have one)"),
        ("Vec<bytes>", "Vec<bytes> (of all Vecs those of u8 and of [u8; N] have one)"),
        ("'[u128; 2]'", "[u128; 2] (its elements have none)"),
        ("'[[i128; 2]; 3]'", "[[i128; 2]; 3] (its elements have none)"),
        ("Wide", "Wide (an enum of 128 bits has none)"),
        ("Inner", "Inner (a nested message has none)"),
        ("String, validation: [{max_length: 65536}]", "max_length 65536 (a count is a u16 and says 65535 at most)"),
    ],
)
def test_a_type_without_a_layout_is_refused_by_name(type_, reason):
    more = "  Inner: {tlv_type: 1001, fields: {}}\ntypes: {Wide: {enum: {a: 1}, repr: u128}}"
    schema = schema_of("fine: {type: u8}", f"bad: {{type: {type_}}}", more=more)
    with pytest.raises(LayoutError) as caught:
        layout_of(schema.messages["Message"])
    assert [(one.message, one.field, one.reason) for one in caught.value.problems] == [("Message", "bad", reason)]
    said = "no layout in the Rust dialect: {}; use other types, or put these messages into another file"
    assert str(caught.value) == said.format(f"Message.bad: {reason}")


def test_a_schema_is_refused_once_with_every_field_that_is_to_blame():
    schema = schema_of(
        "a: {type: u128}",
        "b: {type: u8}",
        "c: {type: 'Vec<u64>'}",
        more="  Other: {tlv_type: 1001, fields: {d: {type: i128}}}",
    )
    with pytest.raises(LayoutError) as caught:
        layouts_of(schema)
    assert [(one.message, one.field) for one in caught.value.problems] == [
        ("Message", "a"),
        ("Message", "c"),
        ("Other", "d"),
    ]


def test_a_struct_larger_than_any_payload_is_refused():
    with pytest.raises(LayoutError, match="Message: has 67173384 bytes, more than the 67108864 of") as caught:
        layout_of(message_of("big: {type: 'Vec<[u8; 1025]>', validation: [{max_length: 65535}]}"))
    assert caught.value.problems[0].field is None


def test_layouts_are_alike_by_names_order_sizes_and_offsets():
    first = layout_of(message_of("a: {type: u32}", "b: {type: u16}"))
    assert first.is_like(layout_of(message_of("a: {type: i32, optional: true}", "b: {type: u16}")))
    for other in (["b: {type: u16}", "a: {type: u32}"], ["a: {type: u32}", "c: {type: u16}"], ["a: {type: u32}"]):
        assert not first.is_like(layout_of(message_of(*other)))
    assert not first.is_like(layout_of(message_of("a: {type: u32}", "b: {type: u8}")))
