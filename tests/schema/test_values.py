"""JSON form of values: one table of pairs, read in both directions, and everything that does not fit."""

import math
import struct
from enum import IntEnum

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from mycelium.schema.parse import parse_text
from mycelium.schema.values import ValueProblem, checked_json, from_json_value, round_to_f32, to_json_value

SCHEMA = parse_text(
    """
types: {Side: {enum: {buy: 1, sell: 2}, open: false}, Level: {enum: {low: 0, high: 300}, repr: u16}}
messages:
  Leg: {tlv_type: 1002, fields: {raw: {type: bytes}, size: {type: u8, optional: true}, tip: {type: u8, default: 9}}}
  Node: {tlv_type: 1003, fields: {next: {type: Node, optional: true}}}
"""
)


class Side(IntEnum):
    buy = 1
    sell = 2


class Level(IntEnum):
    low = 0
    high = 300


@frozen
class Entry:
    message: object


@frozen
class Leg:
    raw: bytes
    size: int | None = None
    tip: int = 9
    __mycelium__ = Entry(SCHEMA.messages["Leg"])


@frozen
class Node:
    next: "Node | None" = None
    __mycelium__ = Entry(SCHEMA.messages["Node"])


class Types:
    def class_of(self, name):
        return {"Leg": Leg, "Node": Node}[name]

    def enum_of(self, name):
        return {"Side": Side, "Level": Level}[name]


TYPES = Types()


def type_of(spelling):
    text = f"""
types: {{Side: {{enum: {{buy: 1, sell: 2}}, open: false}}, Level: {{enum: {{low: 0, high: 300}}, repr: u16}}}}
messages:
  Leg: {{tlv_type: 1002, fields: {{}}}}
  Node: {{tlv_type: 1003, fields: {{}}}}
  M: {{tlv_type: 1001, fields: {{f: {{type: '{spelling}'}}}}}}
"""
    return parse_text(text).messages["M"].fields[0].type


@pytest.mark.parametrize(
    ("spelling", "json", "value"),
    [
        ("u8", 0, 0),
        ("u64", 2**64 - 1, 2**64 - 1),
        ("i128", -(2**127), -(2**127)),
        ("U256", 2**256 - 1, 2**256 - 1),
        ("f64", 1.5, 1.5),
        ("f64", "Infinity", math.inf),
        ("f32", "-Infinity", -math.inf),
        ("bool", True, True),
        ("String", "ž\u0000🍄", "ž\u0000🍄"),
        ("bytes", "0x", b""),
        ("bytes", "0x00ff", b"\x00\xff"),
        ("[u8; 2]", "0x0102", b"\x01\x02"),
        ("[u16; 2]", [1, 2], [1, 2]),
        ("Vec<String>", ["a", ""], ["a", ""]),
        ("Side", "sell", Side.sell),
        ("Level", 7, 7),
        ("Vec<Side>", ["buy", "sell"], [Side.buy, Side.sell]),
        ("Map<u8, f64>", {"2": 1.0, "1": 2.0}, {2: 1.0, 1: 2.0}),
        ("Map<i8, u8>", {"-5": 1, "0": 2}, {-5: 1, 0: 2}),
        ("Map<bool, u8>", {"true": 1, "false": 0}, {True: 1, False: 0}),
        ("Map<String, bytes>", {"": "0x", "1": "0x01"}, {"": b"", "1": b"\x01"}),
        ("Map<[u8; 1], u8>", {"0xff": 1}, {b"\xff": 1}),
        ("Map<Level, Leg>", {"low": {"raw": "0x", "tip": 1}, "8": {"raw": "0x01", "size": 2, "tip": 9}}, None),
        ("Leg", {"raw": "0xab", "size": 3, "tip": 4}, Leg(b"\xab", 3, 4)),
        ("Node", {"next": {"next": {}}}, Node(Node(Node()))),
    ],
)
def test_json_and_values_stand_for_each_other(spelling, json, value):
    type_ = type_of(spelling)
    read = from_json_value(type_, json, TYPES)
    if value is not None:
        assert read == value
        assert type(read) is type(value)
    assert to_json_value(type_, read, TYPES) == json
    assert checked_json(type_, json, SCHEMA.messages) == json


@pytest.mark.parametrize(
    ("spelling", "json", "value"),
    [
        ("f64", 1, 1.0),
        ("f32", -7, -7.0),
        ("bytes", "0xABCD", b"\xab\xcd"),
        ("Side", 1, Side.buy),
        ("Level", 300, Level.high),
        ("Map<Side, u8>", {"2": 1}, {Side.sell: 1}),
        ("Map<[u8; 1], u8>", {"0xFF": 1}, {b"\xff": 1}),
        ("Leg", {"raw": "0x", "size": None}, Leg(b"")),
    ],
)
def test_some_values_have_a_second_spelling(spelling, json, value):
    read = from_json_value(type_of(spelling), json, TYPES)
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_a_word():
    type_ = type_of("f64")
    assert math.isnan(from_json_value(type_, "NaN", TYPES))
    assert to_json_value(type_, math.nan, TYPES) == "NaN"


def test_an_int_in_a_float_field_is_written_as_a_float():
    assert repr(to_json_value(type_of("f64"), 3, TYPES)) == "3.0"


def test_without_classes_enums_are_numbers():
    assert from_json_value(type_of("Map<Side, Level>"), {"buy": "high", "sell": 9}, None) == {1: 300, 2: 9}
    assert type(from_json_value(type_of("Side"), "buy", None)) is int


@pytest.mark.parametrize(
    ("spelling", "json", "told"),
    [
        ("u8", 256, "256 is out of range for u8"),
        ("u8", -1, "-1 is out of range for u8"),
        ("u8", True, "must be an integer, not true"),
        ("u8", 1.0, "must be an integer, a number without a fraction, not 1.0"),
        ("u8", "1", "must be an integer, not '1'"),
        ("u8", None, "must be an integer, not null"),
        ("f64", False, 'must be a number, "NaN", "Infinity" or "-Infinity", not false'),
        ("f64", "inf", "not 'inf'"),
        ("f64", 10**400, "is out of range for f64"),
        ("f32", 3.5e38, "3.5e+38 is out of range for f32"),
        ("f32", math.inf, "inf is out of range for f32"),
        ("bool", 1, "must be true or false, not 1"),
        ("String", 5, "must be text, not 5"),
        ("String", "\ud800", "must be text without halves of surrogate pairs"),
        ("bytes", "00", "must be bytes as text"),
        ("bytes", "0x0", "must be bytes as text"),
        ("bytes", "0x 0", "must be bytes as text"),
        ("[u8; 2]", "0x01", "must have 2 bytes, not 1"),
        ("[u16; 2]", [1], "must have 2 items, not 1"),
        ("[u16; 2]", [1, "x"], "[1]: must be an integer"),
        ("Vec<u16>", {"0": 1}, "must be a list, not {'0': 1}"),
        ("Vec<Vec<u16>>", [[], [1, -1]], "[1][1]: -1 is out of range for u16"),
        ("Side", "bye", "Side has no member 'bye'; did you mean 'buy'?"),
        ("Side", "x", "Side has no member 'x', only buy, sell"),
        ("Side", 3, "Side has no member with the number 3, and is closed"),
        ("Level", 65536, "65536 is out of range for u16"),
        ("Level", None, "must be an integer, not null"),
        ("Map<u8, u8>", [], "must be an object, not []"),
        ("Map<u8, u8>", {"1": 1, "01": 2}, "['01']: must be an integer, not '01'"),
        ("Map<u8, u8>", {"-0": 1}, "['-0']: must be an integer"),
        ("Map<u8, u8>", {"256": 1}, "['256']: 256 is out of range for u8"),
        ("Map<u8, u8>", {"1": 1.5}, "['1']: must be an integer"),
        ("Map<bool, u8>", {"True": 1}, "['True']: must be true or false, not 'True'"),
        ("Map<bool, u8>", {"1": 1}, "['1']: must be true or false, not '1'"),
        ("Map<Side, u8>", {"buy": 1, "1": 2}, "['1']: the same key is there already, spelled otherwise"),
        ("Map<[u8; 1], u8>", {"0xff": 1, "0xFF": 2}, "the same key is there already"),
        ("Leg", [], "must be an object with the fields of Leg, not []"),
        ("Leg", {"raw": "0x", "price": 1}, "price: Leg has no such field"),
        ("Leg", {}, "raw: is missing"),
        ("Leg", {"raw": None}, "raw: must be bytes"),
        ("Vec<Leg>", [{"raw": "0x", "tip": 256}], "[0].tip: 256 is out of range for u8"),
        ("Leg", {"x": 1, "raw": 5, "size": -1}, "x: Leg has no such field; raw: must be bytes"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(spelling, json, told):
    type_ = type_of(spelling)
    for read in (lambda: from_json_value(type_, json, TYPES), lambda: checked_json(type_, json, SCHEMA.messages)):
        with pytest.raises(ValueProblem) as caught:
            read()
        assert told in str(caught.value)


def test_messages_are_nested_at_most_sixteen_deep():
    json = {}
    for _ in range(14):
        json = {"next": json}
    # The message that has the field is the first of the sixteen.
    assert from_json_value(type_of("Node"), json, TYPES)
    with pytest.raises(ValueProblem, match="messages are nested more than 16 deep"):
        from_json_value(type_of("Node"), {"next": json}, TYPES)


def test_a_problem_tells_at_most_a_hundred_parts():
    json = {f"x{each}": 1 for each in range(150)}
    with pytest.raises(ValueProblem) as caught:
        from_json_value(type_of("Leg"), json, TYPES)
    assert len(caught.value.problems) == 151
    assert str(caught.value).endswith("; 51 more like these")


def test_the_members_of_a_large_enum_are_not_listed():
    members = ", ".join(f"m{each}: {each}" for each in range(30))
    enum = parse_text(f"types: {{E: {{enum: {{{members}}}}}}}\nmessages: {{}}").enums["E"]
    with pytest.raises(ValueProblem) as caught:
        from_json_value(enum, "x", None)
    assert str(caught.value) == "E has no member 'x'"


@given(st.floats(width=64))
def test_rounding_to_f32_is_what_the_wire_does(value):
    try:
        (wire,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        with pytest.raises(ValueProblem):
            from_json_value(type_of("f32"), value, None)
        return
    rounded = round_to_f32(value)
    assert rounded == wire or (math.isnan(rounded) and math.isnan(wire))
    assert math.copysign(1, rounded) == math.copysign(1, wire) or math.isnan(wire)
