"""Rules of whole messages, and the redaction of what must not be shown."""

import pytest
from wire_worlds import one, world

from mycelium.schema.errors import RuleError
from mycelium.wire.errors import DecodeError, EncodeError

# --- rules -----------------------------------------------------------------------------------------------------------


RULED = {
    "Leg": {"fields": {"price": {"type": "f64", "validation": [{"min": 0}]}}},
    "Order": {
        "fields": {
            "legs": {"type": "Vec<Leg>", "validation": [{"max_length": 2}]},
            "best": {"type": "Leg", "optional": True},
            "table": {"type": "Map<String, Vec<Leg>>", "optional": True},
            "note": {"type": "String", "optional": True, "validation": [{"not_empty": True}, {"pattern": "[a-z]*"}]},
        }
    },
    "Plain": {"fields": {"words": {"type": "Vec<String>"}, "plain": {"type": "Plain", "optional": True}}},
}


@pytest.mark.parametrize(
    ("fields", "path", "rule", "value"),
    [
        ({"legs": [0.5, 0.0, 0.0]}, "legs", "max_length", None),
        ({"legs": [0.5, -1.0]}, "legs[1].price", "min", -1.0),
        ({"best": -2.0}, "best.price", "min", -2.0),
        ({"table": {"k": [0.0, -3.0]}}, "table['k'][1].price", "min", -3.0),
        ({"note": ""}, "note", "not_empty", ""),
        ({"note": "A"}, "note", "pattern", "A"),
    ],
)
def test_a_broken_rule_is_told_with_its_path_on_either_side(fields, path, rule, value):
    made = world(RULED)
    leg, order, codec = made.registry.class_of("Leg"), made.registry.class_of("Order"), made.codec("Order")
    fields = {"legs": [], **fields}
    fields["legs"] = [leg(price) for price in fields["legs"]]
    if "best" in fields:
        fields["best"] = leg(fields["best"])
    if "table" in fields:
        fields["table"] = {key: [leg(price) for price in prices] for key, prices in fields["table"].items()}
    message = order(**fields)
    for function in (codec.check, codec.check_rules):
        with pytest.raises(RuleError) as refused:
            function(message)
        assert (refused.value.message, refused.value.field, refused.value.rule) == ("Order", path, rule)
        assert value in (None, refused.value.value)
    payload = codec.encode(message)
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(payload)
        assert (caught.value.field, caught.value.rule, caught.value.problem) == (
            path,
            rule,
            refused.value.problem[refused.value.problem.index("breaks") :],
        )
        assert caught.value.offset is not None
    assert codec.decode(codec.encode(order([]))) == order([])


def test_a_message_without_rules_has_nothing_to_check():
    made = world(RULED)
    assert made.codec("Plain").check_rules is None
    assert made.codec("Leg").check_rules is not None
    plain = made.registry.class_of("Plain")(["a"])
    made.codec("Plain").check(plain)
    made.codec("Plain").walk.check_rules(plain)


def test_an_absent_field_breaks_no_rule_but_a_default_may():
    cls, codec = one({"a": {"type": "u8", "optional": True, "validation": [{"min": 3}]}})
    assert codec.decode(b"") == cls(None)
    codec.check(cls(None))


# --- redaction -------------------------------------------------------------------------------------------------------


REDACTED = {
    "Inner": {"fields": {"number": {"type": "u8", "validation": [{"max": 9}]}, "flag": {"type": "bool"}}},
    "Secret": {
        "log_payload": False,
        "fields": {
            "table": {"type": "Map<String, Inner>"},
            "name": {"type": "String", "validation": [{"max_length": 3}]},
        },
    },
    "Outer": {"fields": {"secret": {"type": "Secret"}, "shown": {"type": "u8"}}},
}


def texts_of(function, *arguments):
    with pytest.raises((EncodeError, DecodeError, RuleError)) as caught:
        function(*arguments)
    return str(caught.value) + repr(caught.value.args)


@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize(
    ("key", "number", "flag", "name"),
    [("hidden", 201, True, "ok"), ("hidden", 777, True, "ok"), ("hidden", 1, 66, "ok"), ("hidden", 1, True, "hidden")],
)
def test_values_of_a_redacted_message_never_appear_also_inside_another(outer, key, number, flag, name):
    made = world(REDACTED)
    inner, secret, around = (made.registry.class_of(one) for one in ("Inner", "Secret", "Outer"))
    message = secret({key: inner(number, flag)}, name)
    codec = made.codec("Outer" if outer else "Secret")
    text = texts_of(codec.check, around(message, 1) if outer else message)
    for value in ("hidden", "201", "777", "66"):
        assert value not in text
    assert "[REDACTED]" in text


def test_bytes_of_a_redacted_message_never_appear():
    made = world(REDACTED)
    codec, inner = made.codec("Secret"), made.registry.class_of("Inner")
    payload = codec.encode(made.registry.class_of("Secret")({"hidden": inner(201, flag=True)}, "ok"))
    broken = payload.replace(b"\x02\x00\x01\x00\x00\x00\x01", b"\x02\x00\x01\x00\x00\x00\x42")
    for candidate in (payload, broken):
        text = texts_of(codec.decode, candidate)
        assert "hidden" not in text
        assert "201" not in text
        assert "66" not in text
        assert "table[[REDACTED]]" in text


def test_other_values_of_a_message_that_holds_a_redacted_one_are_shown():
    made = world(REDACTED)
    secret, around = made.registry.class_of("Secret"), made.registry.class_of("Outer")
    text = texts_of(made.codec("Outer").encode, around(secret({}, "ok"), 999))
    assert "Outer.shown: takes an int from 0 to 255 (u8), got 999 (int)" in text
