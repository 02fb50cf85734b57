"""Which contracts can talk over one connection, and what a session must leave after a reload."""

import pytest

from mycelium.bus.negotiation import FULL_STANDING, obstacles, standing
from mycelium.schema.parse import parse_text

BASE = """
schema: {id: 9, version: 2, min_compatible: 1}
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
messages:
  Leg: {tlv_type: 1001, fields: {price: {type: f64}}}
  Order: {tlv_type: 1000, fields: {id: {type: u64}, side: {type: Side}, leg: {type: Leg, optional: true}}}
  Ping: {tlv_type: 1010, domain: A, fields: {value: {type: String}}}
"""


def edited(before, after):
    assert before in BASE
    return parse_text(BASE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("value: {type: String}", "value: {type: String}, n: {type: u8, optional: true}"),
        ("value: {type: String}", "text: {type: String}"),
        ("value: {type: String}", "value: {type: String, validation: [{max_length: 3}]}"),
        ("domain: A", "domain: B"),
        ("  Ping: {tlv_type: 1010, domain: A, fields: {value: {type: String}}}\n", ""),
        ("Ping: {tlv_type: 1010", "Ping: {tlv_type: 1012"),
        ("version: 2", "version: 7"),
    ],
)
def test_differences_that_do_not_keep_two_sides_from_talking(before, after):
    ours, theirs = parse_text(BASE), edited(before, after)
    assert obstacles(theirs, ours) == obstacles(ours, theirs) == []
    assert standing(theirs, ours) == FULL_STANDING


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("value: {type: String}", "value: {type: u64}", "FIELD_TYPE_CHANGED"),
        ("value: {type: String}", "value: {type: String}, n: {type: u8}", "FIELD_ADDED_REQUIRED"),
        ("value: {type: String}", "n: {type: u8}, value: {type: String}", "FIELD_TAG_SHIFTED"),
        ("sell: 2}", "sell: 2, hold: 3}", "ENUM_VALUE_ADDED"),
        ("Ping: {tlv_type: 1010", "Pang: {tlv_type: 1010", None),
    ],
)
def test_what_one_side_cannot_read_is_listed_by_rule_and_field(before, after, rule):
    ours, theirs = parse_text(BASE), edited(before, after)
    lines = obstacles(ours, theirs)
    assert [line.split()[0] for line in lines if line.startswith(rule or "FIELD")] == ([] if rule is None else [rule])
    assert bool(obstacles(theirs, ours)) == bool(lines)


def test_what_is_listed_is_what_became_of_the_older_version_whoever_has_it():
    older, newer = (
        parse_text(BASE),
        parse_text(BASE.replace("String}", "String}, n: {type: u8}").replace("version: 2", "version: 3")),
    )
    assert obstacles(older, newer)[0] == "from the client's version 2 to the bridge's version 3"
    assert obstacles(newer, older)[0] == "from the bridge's version 2 to the client's version 3"
    for lines in (obstacles(older, newer), obstacles(newer, older)):
        assert [line.split(":")[0] for line in lines[1:]] == ["FIELD_ADDED_REQUIRED Ping.n"]


def test_another_schema_id_and_versions_below_the_oldest_that_is_read():
    ours = parse_text(BASE)
    assert "another protocol" in obstacles(edited("id: 9", "id: 10"), ours)[0]
    newer = edited("version: 2, min_compatible: 1", "version: 4, min_compatible: 3")
    assert obstacles(ours, newer) == ["the client's version 2 is below 3, the oldest that is still read"]
    assert obstacles(newer, ours) == ["the bridge's version 2 is below 3, the oldest that is still read"]


def test_a_session_must_leave_only_the_types_and_directions_that_broke():
    old = parse_text(BASE)
    required = edited("value: {type: String}", "value: {type: String}, n: {type: u8}")
    assert standing(old, required).unreadable == {1010}
    assert standing(old, required).unsendable == frozenset()
    removed = edited("price: {type: f64}", "size: {type: u8, tag: 9, optional: true}")
    found = standing(old, removed)
    assert found.unsendable == {1000, 1001}
    assert found.unreadable == frozenset()


def test_an_enum_reaches_every_message_that_holds_it():
    found = standing(parse_text(BASE), edited("sell: 2}", "sell: 2, hold: 3}"))
    assert (found.unreadable, found.unsendable) == (frozenset(), {1000})
    assert "ENUM_VALUE_ADDED" in found.reasons[0]
