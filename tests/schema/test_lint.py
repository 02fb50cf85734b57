"""The linter: one file that has everything, and files that have nothing."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import contracts

from mycelium.schema.lint import LINT_RULES, lint
from mycelium.schema.model import Message, Schema
from mycelium.schema.parse import parse_text

CONTRACTS = Path(__file__).parent.parent / "contracts"

UNWISE = """types:
  Address: {type: "[u8; 20]"}
  Used: {type: "Vec<Inner>"}
  Inner: {type: Kind}
  Kind: {enum: {a: 0}}
  Side: {enum: {a: 0}}
messages:
  Old: {tlv_type: 1001, fields: {}}
  Order:
    tlv_type: 1002
    description: an order
    renamed_from: Old
    sensitivity: internal
    log_payload: true
    fields:
      a: {type: u8, tag: 7, validation: [{min: 0}, {max: 255}, {min_lenght: three}]}
      b: {type: f32, default: 0.1, optional: true, renamed_from: a}
      c: {type: Used, deprecated: true,
          validation: [{min_length: 2}, {max_length: 4}, {max_length: 5}, {not_empty: true}]}
      d: {type: u16, default: 0, validation: [{not_zero: true}, {min: 1}, {known: true}, {min: 1}, {max: 9.5}]}
      e: {type: String,
          validation: [{no_0x_prefix: false}, {min_length: 0}, {not_empty: true}, {pattern: a}, {pattern: b}]}
"""


FOUND = """
2 info TYPE_NOT_USED types.Address: no field has this type
6 info TYPE_NOT_USED types.Side: no field has this type
8 info MESSAGE_WITHOUT_DESCRIPTION messages.Old: the message has no description
9 warning LOG_PAYLOAD_WITHOUT_EFFECT messages.Order: `sensitivity` forbids what `log_payload: true` allows
9 warning MIXED_TAGS messages.Order: only some fields have a tag; by position go: b, c, d, e
9 warning RENAMED_FROM_EXISTING messages.Order: a message Old is there as well
16 warning VACUOUS_RULE messages.Order.fields.a.validation: min: 0 holds for every u8
16 warning VACUOUS_RULE messages.Order.fields.a.validation: max: 255 holds for every u8
16 warning RULE_NAME_NEAR_BUILT_IN messages.Order.fields.a.validation: 'min_lenght' is no built-in rule
17 info DEFAULT_NOT_EXACT messages.Order.fields.b: an f32 turns the default 0.1 into 0.10000000149011612
17 warning OPTIONAL_WITH_DEFAULT messages.Order.fields.b: None is not written, and what is not written reads as
17 warning RENAMED_FROM_EXISTING messages.Order.fields.b: a field a is there as well
18 info DEPRECATED_REQUIRED messages.Order.fields.c: the field is deprecated, but nobody can leave it out
19 warning VACUOUS_RULE messages.Order.fields.c.validation: max_length: 5 says less than another rule of the field
19 warning VACUOUS_RULE messages.Order.fields.c.validation: not_empty: true says less than another rule of the field
20 warning DEFAULT_BREAKS_RULE messages.Order.fields.d: the default 0 breaks the field's own rule not_zero: true
20 warning DEFAULT_BREAKS_RULE messages.Order.fields.d: the default 0 breaks the field's own rule min: 1
20 warning DEFAULT_BREAKS_RULE messages.Order.fields.d: the default 0 breaks the field's own rule min: 1
20 warning VACUOUS_RULE messages.Order.fields.d.validation: min: 1 says less than another rule of the field
22 warning VACUOUS_RULE messages.Order.fields.e.validation: no_0x_prefix: false is switched off
22 warning VACUOUS_RULE messages.Order.fields.e.validation: min_length: 0 holds for every String
"""


def test_everything_unwise_is_found_in_file_order():
    found = lint(parse_text(UNWISE, "f"))
    told = [f"{each.location.line} {each.severity} {each.rule} {each.path}: {each.message}" for each in found]
    pairs = zip(told, FOUND.strip().splitlines(), strict=True)
    assert [line for line, wanted in pairs if not line.startswith(wanted)] == []
    assert {each.rule for each in found} == set(LINT_RULES)
    assert all(each.hint for each in found)
    assert str(found[0]) == (
        "f:2:3: info: TYPE_NOT_USED types.Address: no field has this type; remove it if nobody needs it"
    )


@pytest.mark.parametrize("name", ["mycelium-game.yaml", "mycelium-protocol.yaml"])
def test_a_good_file_has_no_findings(name):
    assert lint(parse_text((CONTRACTS / name).read_bytes(), name)) == []


def test_a_rule_on_the_default_of_a_nested_message_is_not_guessed_at():
    text = """
messages:
  In: {tlv_type: 1001, description: d, fields: {n: {type: u8}}}
  Out: {tlv_type: 1002, description: d, fields: {i: {type: Vec<In>, default: [], validation: [{not_empty: true}]}}}
"""
    assert lint(parse_text(text)) == []


def test_a_schema_without_places_is_linted_at_the_start_of_its_source():
    schema = Schema(messages={"M": Message("M", 1001, ())}, source="made")
    assert [str(each.location) for each in lint(schema)] == ["made:1:1"]


@given(contracts(rules=True))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_schema_can_be_linted(text):
    schema = parse_text(text)
    assert {each.rule for each in lint(schema)} <= set(LINT_RULES)
