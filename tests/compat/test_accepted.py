"""Sets of accepted values: what each rule stands for, and when one set lies in another."""

import pytest

from mycelium.schema.compat.accepted import accepted, opaque_rules, sent, within
from mycelium.schema.parse import parse_text


def field(type_, rules="[]", extra=""):
    text = "types: {Side: {enum: {buy: 1, sell: 2}, open: false}}\nmessages: {M: {tlv_type: 1001, fields: "
    return parse_text(f"{text}{{a: {{type: '{type_}', validation: {rules}{extra}}}}}}}}}\n").messages["M"].fields[0]


@pytest.mark.parametrize(
    ("type_", "writer", "reader", "inside"),
    [
        ("u8", "[]", "[{min: 0}, {max: 255}]", True),
        ("u8", "[]", "[{max: 254}]", False),
        ("u8", "[{min: 0.5}]", "[{min: 1}]", True),
        ("u8", "[{not_zero: true}]", "[{min: 1}]", True),
        ("i8", "[{min: 0}]", "[{not_zero: true}]", False),
        ("i8", "[{max: 0}, {not_zero: true}]", "[{max: -1}]", True),
        ("i8", "[{min: 1}]", "[{not_zero: true}]", True),
        ("u8", "[{min: 4}, {max: 6}]", "[{one_of: [4, 5, 6]}]", True),
        ("u8", "[{min: 4}, {max: 7}]", "[{one_of: [4, 5, 6]}]", False),
        ("u8", "[{max: 2}, {not_zero: true}]", "[{one_of: [1, 2]}]", True),
        ("u64", "[]", "[{one_of: [4]}]", False),
        ("u8", "[{one_of: [3, 400.0]}]".replace(", 400.0", ""), "[{max: 3}]", True),
        ("bool", "[]", "[{one_of: [true, false]}]", True),
        ("bool", "[]", "[{one_of: [true]}]", False),
        ("Side", "[]", "[{one_of: [buy, sell]}]", True),
        ("Side", "[]", "[{one_of: [buy]}]", False),
        ("f64", "[]", "[{min: -1.0e308}]", False),
        ("f64", "[{min: 0}, {max: 30}]", "[{max: 30.0}, {min: 0.0}]", True),
        ("f32", "[{min: 0.1}]", "[{min: 0.1}]", True),
        ("f32", "[{one_of: [0.1]}]", "[{min: 0.1}]", True),
        ("f64", "[]", "[{one_of: [1.0]}]", False),
        ("String", "[{not_empty: true}]", "[{min_length: 1}]", True),
        ("String", "[{pattern: 'a+'}]", "[{max_length: 5000}]", True),
        ("String", "[{pattern: 'a+'}]", "[{pattern: 'a*'}]", False),
        ("String", "[{one_of: [aa, b]}]", "[{pattern: 'a+|b'}, {no_0x_prefix: true}]", True),
        ("String", "[{one_of: ['0xaa']}]", "[{no_0x_prefix: true}]", False),
        ("String", "[]", "[{no_0x_prefix: true}]", False),
        ("String", "[]", "[{max_length: 67108864}]", True),
        ("bytes", "[{one_of: ['0x00ff']}]", "[{not_zero: true}, {max_length: 2}]", True),
        ("bytes", "[{one_of: ['0x0000']}]", "[{not_zero: true}]", False),
        ("[u8; 4]", "[]", "[{not_zero: true}]", False),
        ("Vec<u16>", "[{max_length: 3}]", "[{max_length: 4}, {min_length: 0}]", True),
        ("u8", "[]", "[{max: 3}, {min: 2}]", False),
    ],
)
def test_a_writers_values_lie_in_what_the_reader_accepts(type_, writer, reader, inside):
    assert within(sent(field(type_, writer)), accepted(field(type_, reader))) is inside


def test_opaque_rules_are_those_that_are_not_known_and_not_switched_off():
    rules = field("u8", "[{monotonic: true}, {even: 2}, {odd: false}, {min: 1}]").rules
    assert opaque_rules(rules) == {"monotonic": [True], "even": [2]}


def test_nan_is_accepted_where_no_bound_is():
    assert accepted(field("f64")).holds(float("nan"))
    assert not accepted(field("f64", "[{min: 0}]")).holds(float("nan"))
