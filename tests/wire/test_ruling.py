"""A sure test never lets through what its rule refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mycelium
from mycelium.schema.model import Rule, Scalar, String
from mycelium.wire.ruling import sure_test

CONTRACT = """
messages:
  Ruled:
    tlv_type: 1000
    fields:
      text: {type: String, validation: [{min_length: 2}, {max_length: 9}, {not_empty: true}]}
      raw: {type: bytes, validation: [{min_length: 1}, {max_length: 4}, {not_zero: true}]}
      small: {type: i32, validation: [{min: -5}, {max: 7}, {not_zero: true}]}
      half: {type: f32, validation: [{min: 0.1}, {max: 3.5}, {not_zero: true}]}
      items: {type: "Vec<u8>", validation: [{not_empty: true}]}
"""
RULED = mycelium.load(CONTRACT).Ruled
CODEC = RULED.__mycelium__.codec
FIELDS = [(one, rule, check) for one in CODEC.walk.fields.values() for rule, check in one.checks]
VALUES = {
    "text": st.text(max_size=12),
    "raw": st.binary(max_size=6),
    "small": st.integers(-10, 10),
    "half": st.floats(-1, 5, width=32) | st.just(float("nan")),
    "items": st.binary(max_size=2),
}


@given(values=st.fixed_dictionaries(VALUES))
def test_what_is_sure_obeys_its_rule(values):
    for field, rule, check in FIELDS:
        value = values[field.field.name]
        sure = sure_test(field.field.type, rule)
        if sure and eval(sure.format(v="v"), {"v": value}):
            assert check(value), (rule, value)


@given(values=st.fixed_dictionaries(VALUES))
def test_compiled_rules_say_what_the_walk_says(values):
    message = RULED(**values)
    outcomes = []
    for check in (CODEC.check_rules, CODEC._check_rules):
        try:
            outcomes.append(check(message))
        except mycelium.RuleError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("type_", "rule", "argument", "expected"),
    [
        (String(), "max_length", 10, "len({v}) <= 2"),
        (String(), "min_length", 10, "len({v}) >= 10"),
        (String(), "not_empty", True, "{v}"),
        (Scalar("u8"), "min", 3, "{v} >= 3"),
        (Scalar("u8"), "max", 3.5, ""),
        (Scalar("f64"), "max", 3, ""),
        (String(), "pattern", "a+", ""),
    ],
)
def test_some_rules_have_a_sure_test(type_, rule, argument, expected):
    assert sure_test(type_, Rule(rule, argument)) == expected
