"""Whole messages: the fast path, the general walk that judges it, rules, redaction, the cost of hostile bytes."""

import gc
import json
import linecache
import pickle
import struct
import sys
import tracemalloc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import load, message_names, messages, mutated, payloads, rearranged, worlds
from wire_rows import BROKEN, CLOSE, MISFITS, ROWS, SHAPES, WORLD, probe_of

from mycelium.schema.errors import RuleError
from mycelium.wire.errors import DecodeError, EncodeError, Misfit

SLOW_TO_DRAW = settings(max_examples=40, deadline=None)


def world(messages, types=None):
    numbered = {
        name: {"tlv_type": 1000 + number, "fields": {}, **message}
        for number, (name, message) in enumerate(messages.items())
    }
    return load(json.dumps({"types": types or {}, "messages": numbered}))


def one(fields, types=None, **more):
    """A world of one message, its class and its codec."""
    made = world({"Message": {"fields": fields, **more}}, types)
    return made.registry.class_of("Message"), made.registry.codec_of("Message")


def field(tag, data=""):
    return tag.to_bytes(2, "little") + (len(data) // 2).to_bytes(4, "little") + bytes.fromhex(data)


def outcome(function, *arguments):
    """What a function returns, or the arguments of the DecodeError that it raises; NaN is equal to itself."""
    try:
        return "value", repr(function(*arguments))
    except DecodeError as error:
        return "error", repr(error.args)


def judged(codec, payload, metadata):
    """What the general walk makes of a payload."""
    try:
        return "value", repr(codec.walk.decode(payload, 0, len(payload), 1, metadata))
    except Misfit as misfit:
        found = (misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value)
        return "error", repr((codec.message.name, *found))


# --- properties ------------------------------------------------------------------------------------------------------


@SLOW_TO_DRAW
@given(st.data())
def test_p13_any_message_survives_and_canonical_bytes_stay_as_they_are(data):
    drawn = data.draw(worlds())
    name = data.draw(message_names(drawn))
    codec = drawn.codec(name)
    for message in (data.draw(messages(drawn, name)), data.draw(messages(drawn, name))):
        payload = codec.encode(message)
        decoded = codec.decode(payload)
        assert decoded == message
        assert codec.encode(decoded) == payload == codec.walk.encode(message, 1)
        assert codec.verify(payload) == {}
        codec.check(message)
        assert codec.fixed_size in (None, len(payload))


@SLOW_TO_DRAW
@given(st.data())
def test_p12_fast_path_verify_and_general_walk_agree_on_any_bytes(data):
    drawn = data.draw(worlds(rules=True))
    name = data.draw(message_names(drawn))
    codec = drawn.codec(name)
    payload = data.draw(payloads(drawn, name, nan=True))
    for candidate in (
        payload,
        data.draw(rearranged(payload, codec.message)),
        data.draw(mutated(payload)),
        data.draw(mutated(payload)),
        data.draw(st.binary(max_size=30)),
    ):
        found, walked = {}, {}
        decoded = outcome(codec.decode, candidate, found)
        assert decoded == judged(codec, candidate, walked)
        verified = outcome(lambda: dict(codec.verify(candidate)))  # noqa: B023  called at once
        if decoded[0] == "error":
            assert verified == decoded
        else:
            assert found == walked
            assert verified == ("value", repr(found))
            again = codec.decode(candidate)
            assert codec.encode(again) == codec.walk.encode(again, 1)


@SLOW_TO_DRAW
@given(st.data())
def test_a_message_that_breaks_a_rule_is_told_so_on_either_side(data):
    drawn = data.draw(worlds(rules=True))
    name = data.draw(message_names(drawn))
    codec, message = drawn.codec(name), data.draw(messages(drawn, name))
    payload = codec.encode(message)
    try:
        codec.check(message)
    except RuleError as error:
        refused = error
    else:
        assert codec.decode(payload) == message
        return
    assert codec.check_rules is not None
    with pytest.raises(DecodeError) as caught:
        codec.decode(payload)
    assert caught.value.rule is not None
    assert caught.value.message == refused.message == name


WRONG = [None, True, 1, -1, 2**300, 0.5, "x", "\ud800", b"x", [], [None], {}, {1: 2}, (1,), object(), float("inf")]


@SLOW_TO_DRAW
@given(st.data())
def test_fast_path_check_and_general_walk_agree_on_any_values(data):
    drawn = data.draw(worlds())
    name = data.draw(message_names(drawn))
    codec, message = drawn.codec(name), data.draw(messages(drawn, name))
    for each in codec.message.fields:
        value = data.draw(st.sampled_from([getattr(message, each.name), *WRONG]))
        object.__setattr__(message, each.name, value)
    try:
        expected = codec.walk.encode(message, 1)
    except Misfit as error:
        misfit = error
    else:
        assert codec.encode(message) == expected
        codec.check(message)
        return
    for function in (codec.encode, codec.check):
        with pytest.raises(EncodeError) as caught:
            function(message)
        assert (caught.value.field, caught.value.problem) == (misfit.path, misfit.problem)


# --- every type, right and wrong -------------------------------------------------------------------------------------


def probe(spelling, shape):
    """The class and the codec of a message with a field of a type between two others."""
    name = probe_of(spelling, shape)
    return WORLD.registry.class_of(name), WORLD.codec(name)


def around(data):
    return field(1, "aa") + field(2, data) + field(3, "01")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spelling", "value", "data"), ROWS)
def test_a_field_of_any_type_has_these_bytes_both_ways(spelling, value, data, shape):
    cls, codec = probe(spelling, shape)
    message = cls(b"\xaa", value, after=True)
    assert codec.encode(message) == codec.walk.encode(message, 1) == around(data)
    decoded = codec.decode(around(data))
    assert decoded == message
    assert type(decoded.probe) is type(value)
    codec.check(message)
    assert codec.verify(around(data)) == {}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spelling", "value", "data"), CLOSE)
def test_a_field_with_a_value_of_a_class_that_is_close_enough_is_written(spelling, value, data, shape):
    cls, codec = probe(spelling, shape)
    assert codec.encode(cls(b"\xaa", value, after=True)) == around(data)
    codec.check(cls(b"\xaa", value, after=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spelling", "value", "data"), ROWS)
def test_what_is_canonical_never_leaves_the_fast_path(spelling, value, data, shape):
    cls, codec = probe(spelling, shape)
    message = cls(b"\xaa", value, after=True)
    for function in (codec.encode, codec.check, codec.decode, codec.verify):
        function(message if function in (codec.encode, codec.check) else around(data))
    walked = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_qualname.startswith(("MessageWalk.", "_packed.<locals>.one_by_one")):
            walked.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        codec.encode(message)
        codec.check(message)
        codec.decode(around(data))
        codec.verify(around(data))
    finally:
        sys.setprofile(None)
    assert set(walked) <= {"MessageWalk.check_rules", "MessageWalk.rules"}


def path_in(path):
    """The path of what is wrong with the field."""
    return "probe" if path is None else f"probe{path}" if path.startswith("[") else f"probe.{path}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spelling", "value", "path", "problem"), MISFITS)
def test_a_field_with_a_value_that_does_not_fit_is_refused(spelling, value, path, problem, shape):
    cls, codec = probe(spelling, shape)
    if value is None and shape == "optional":
        assert codec.encode(cls(b"", None, after=True)) == field(1) + field(3, "01")
        return
    for function in (codec.encode, codec.check):
        with pytest.raises(EncodeError) as caught:
            function(cls(b"", value, after=True))
        assert (caught.value.field, caught.value.problem) == (path_in(path), problem)


@pytest.mark.parametrize("row", BROKEN, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_field_with_bytes_that_are_no_such_value_is_refused(row, shape):
    spelling, data, path, problem, offset = row
    _, codec = probe(spelling, shape)
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(around(data))
        assert (caught.value.field, caught.value.problem) == (path_in(path), problem)
        assert caught.value.offset == offset + len(around("")) - len(field(3, "01")) - 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spelling", "value", "data"), ROWS)
def test_whatever_bit_is_flipped_everybody_agrees(spelling, value, data, shape):
    _, codec = probe(spelling, shape)
    payload = around(data)
    for bit in range(len(field(1, "aa")) * 8, len(payload) * 8 - len(field(3, "01")) * 8):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        candidate, found = bytes(changed), {}
        decoded = outcome(codec.decode, candidate, found)
        assert decoded == judged(codec, candidate, {})
        verified = outcome(lambda: dict(codec.verify(candidate)))  # noqa: B023  called at once
        assert verified == decoded if decoded[0] == "error" else verified == ("value", repr(found))


# --- fields that may be absent ---------------------------------------------------------------------------------------


def test_none_is_absent_and_a_default_is_always_written():
    cls, codec = one({"a": {"type": "u8", "optional": True}, "b": {"type": "u8", "default": 7}})
    assert codec.encode(cls(None, 7)) == field(2, "07")
    assert codec.decode(b"") == cls(None, 7)
    assert codec.decode(field(1, "01")) == cls(1, 7)
    assert codec.decode(field(2, "01")) == cls(None, 1)


def test_none_in_a_required_field_is_an_error():
    cls, codec = one({"a": {"type": "u8"}})
    with pytest.raises(EncodeError, match=r"Message.a: takes an int from 0 to 255 \(u8\), got None \(NoneType\)"):
        codec.encode(cls(None))


def test_beside_a_default_none_reads_as_the_default():
    cls, codec = one({"a": {"type": "u8", "optional": True, "default": 7}})
    assert codec.encode(cls(None)) == b""
    assert codec.decode(b"") == cls(7)


@pytest.mark.parametrize("order", [1, -1])
def test_a_default_that_could_be_mutated_is_never_shared(order):
    fields = {
        "a": {"type": "Vec<u8>", "default": "0x01"},
        "b": {"type": "Vec<u16>", "default": [1]},
        "c": {"type": "u8"},
    }
    cls, codec = one(fields)
    payload = b"".join([field(3, "00"), field(99)][::order])
    first, second = codec.decode(payload), codec.decode(payload)
    assert first == second == cls(b"\1", [1], 0)
    assert first.b is not second.b


def test_a_message_without_fields_is_no_bytes():
    cls, codec = one({})
    assert codec.encode(cls()) == b""
    assert codec.decode(b"") == codec.decode(field(9)) == cls()
    assert codec.verify(b"") == {}
    assert codec.fixed_size == 0


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"a": {"type": "u8"}, "b": {"type": "[u128; 2]"}}, 7 + 38),
        ({"a": {"type": "u8"}, "b": {"type": "u8", "optional": True}}, None),
        ({"a": {"type": "u8", "default": 1}}, None),
        ({"a": {"type": "String"}}, None),
    ],
)
def test_a_payload_has_a_fixed_size_if_every_field_has_and_must_be_there(fields, size):
    assert one(fields)[1].fixed_size == size


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (field(1, "00") * 2, "Message.a: tag 1 is there twice (at byte 7 of the payload)"),
        (field(9) * 2, "Message: tag 9 is there twice (at byte 6 of the payload)"),
        (field(0), "Message: tag 0 is never valid (at byte 0 of the payload)"),
        (b"\1\0\2\0\0\0\0", "Message.a: tag 1 says 2 bytes where 1 are left (at byte 0 of the payload)"),
        (b"\1\0", "Message: 2 trailing bytes are no whole field header (at byte 0 of the payload)"),
        (field(9), "Message.a: is missing (tag 1) (at byte 6 of the payload)"),
        (field(1, "02"), "Message.a: a bool is 0 or 1, got 2 (int) (at byte 6 of the payload)"),
        (
            field(1, "00") + field(0xFF02, "00"),
            "Message: metadata 'published at' (tag 0xff02) takes 8 bytes, not 1 (at byte 13 of the payload)",
        ),
    ],
)
def test_a_decode_error_names_message_field_and_offset(payload, text):
    _, codec = one({"a": {"type": "bool"}})
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(payload)
        assert str(caught.value) == text
        assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_an_encode_error_names_message_field_and_value():
    cls, codec = one({"a": {"type": "Map<String, Vec<u8>>"}})
    with pytest.raises(EncodeError) as caught:
        codec.encode(cls({"k": 3}))
    assert str(caught.value) == "Message.a['k']: takes bytes, got 3 (int)"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_an_error_shows_of_a_value_is_short():
    cls, codec = one({"a": {"type": "u8"}})
    for value in ("x" * 10_000, [["y" * 100] * 100] * 100, 10**4000):
        with pytest.raises(EncodeError) as caught:
            codec.encode(cls(value))
        assert len(str(caught.value)) < 250


def test_only_a_message_of_the_class_is_encoded():
    made = world({"One": {}, "Two": {"fields": {"one": {"type": "One", "optional": True}}}})
    one, two = made.registry.class_of("One"), made.registry.class_of("Two")
    with pytest.raises(EncodeError, match="Two.one: takes a One, got Two"):
        made.codec("Two").encode(two(two(None)))
    assert made.codec("Two").encode(two(one())) == field(1)


class Subclass:
    """Stands for a class that user code derived."""


def test_a_message_of_a_derived_class_is_encoded():
    made = world({"One": {"fields": {"a": {"type": "u8"}}}, "Two": {"fields": {"one": {"type": "One"}}}})
    base, two = made.registry.class_of("One"), made.registry.class_of("Two")
    derived = type("Derived", (base,), {})
    assert made.codec("Two").encode(two(derived(1))) == field(1, field(1, "01").hex())


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


# --- nesting ---------------------------------------------------------------------------------------------------------


CHAIN = {
    "Chain": {"fields": {"next": {"type": "Chain", "optional": True}, "many": {"type": "Vec<Chain>", "optional": True}}}
}


def chain(cls, depth, *, through_many):
    message = cls()
    for _ in range(depth - 1):
        message = cls(many=[message]) if through_many else cls(message)
    return message


@pytest.mark.parametrize("through_many", [False, True])
def test_messages_nest_16_deep_on_the_fast_path_too(through_many):
    made = world(CHAIN)
    cls, codec = made.registry.class_of("Chain"), made.codec("Chain")
    message = chain(cls, 16, through_many=through_many)
    payload = codec.encode(message)
    assert codec.decode(payload) == message
    assert codec.verify(payload) == {}
    codec.check(message)
    step = "many[0]" if through_many else "next"
    for function in (codec.encode, codec.check):
        with pytest.raises(EncodeError) as refused:
            function(chain(cls, 17, through_many=through_many))
        assert refused.value.field == ".".join([step] * 16)
        assert refused.value.problem == "nests deeper than 16 messages"
    inner = len(payload).to_bytes(4, "little") + payload if through_many else payload
    deeper = (b"\2\0" if through_many else b"\1\0") + len(inner).to_bytes(4, "little") + inner
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(deeper)
        assert caught.value.field == ".".join([step] * 16)
        assert caught.value.problem == "nests deeper than 16 messages"


def test_a_surprise_deep_inside_is_walked_once_and_not_once_per_level():
    made = world(CHAIN)
    codec = made.codec("Chain")
    payload = field(999) + field(998)  # unknown fields behind the last known one are no surprise, tag 2 after 999 is
    payload += field(2)
    for _ in range(15):
        payload = b"\1\0" + len(payload).to_bytes(4, "little") + payload
    walks = 0

    def count(frame, event, _):
        nonlocal walks
        walks += event == "call" and frame.f_code.co_name == "_read"

    sys.setprofile(count)
    try:
        message = codec.decode(payload)
    finally:
        sys.setprofile(None)
    assert walks == 16
    assert codec.decode(codec.encode(message)) == message


def test_metadata_tags_inside_a_nested_message_are_unknown_fields():
    made = world(CHAIN)
    found: dict[int, bytes] = {}
    nested = field(0xFF02, "0102")  # no shape to obey
    message = made.codec("Chain").decode(field(1, nested.hex()) + field(0xFF05, "07" * 8), found)
    assert message == chain(made.registry.class_of("Chain"), 2, through_many=False)
    assert found == {0xFF05: b"\7" * 8}
    assert made.codec("Chain").verify(field(1, nested.hex())) == {}


# --- a generation and its cost ---------------------------------------------------------------------------------------


def test_a_generation_that_nobody_holds_is_collected_and_leaves_no_source_behind():
    entries = set(linecache.cache)
    made = world({"Leg": {"fields": {"price": {"type": "f64"}}}, "Order": {"fields": {"legs": {"type": "Vec<Leg>"}}}})
    codec, leg, order = made.codec("Order"), made.registry.class_of("Leg"), made.registry.class_of("Order")
    message = order([leg(1.0)])
    assert codec.decode(codec.encode(message)) == message
    codec.check(message)
    codec.verify(codec.encode(message))
    dead = [weakref.ref(one) for one in (codec, codec.decode, made.codec("Leg"), leg, order)]
    del made, codec, leg, order, message
    gc.collect()
    assert [each() for each in dead] == [None] * 5
    assert not [name for name in set(linecache.cache) - entries if "codec" in name]


def test_generated_functions_say_whose_they_are():
    _, codec = one({"a": {"type": "u8"}})
    assert codec.encode.__code__.co_filename == "<mycelium codec Message>"
    assert codec.decode.__qualname__ == "Message.decode"
    assert repr(codec) == "<Codec Message (1000)>"


HOSTILE = {
    "bytes": field(1, "")[:2] + (4_000_000).to_bytes(4, "little") + b"x" * 10,
    "strings": field(2)[:2] + (400_000).to_bytes(4, "little") + b"\xff\xff\xff\x7f" + b"\0" * 399_996,
    "array": field(3)[:2] + (100).to_bytes(4, "little") + b"\0" * 100,
    "numbers": field(4)[:2] + (400_001).to_bytes(4, "little") + b"\0" * 400_001,
    "unknown": b"".join(field(tag) for tag in range(10, 61_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_p12_a_hostile_payload_makes_nothing_big_of_something_small(name):
    fields = {
        "raw": {"type": "bytes"},
        "strings": {"type": "Vec<String>"},
        "array": {"type": "[u32; 1000000]"},
        "numbers": {"type": "Vec<u64>"},
    }
    _, codec = one({each: {**spec, "optional": True, "tag": tag} for tag, (each, spec) in enumerate(fields.items(), 1)})
    payload = HOSTILE[name]
    for door in (codec.decode, codec.verify):  # compiled before anything is measured
        door(b"")
        tracemalloc.start()
        try:
            outcome(door, payload)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 16 * len(payload) + 200_000


def calls(function, *arguments):
    """How many functions run before a DecodeError."""
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        outcome(function, *arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    "spelling",
    ["Vec<Vec<[u16; 2]>>", "Vec<Vec<bool>>", "Vec<bool>", "Vec<String>", "Map<u8, Vec<bool>>", "Vec<Message>"],
)
def test_a_length_far_beyond_the_payload_costs_nothing(spelling, optional):
    _, codec = one({"a": {"type": spelling, **({"optional": True} if optional else {})}})
    lengths = b"".join(struct.pack("<I", 2**31 - 4 * step) for step in range(3))
    entry = struct.pack("<HIBHI", 1, 1, 0, 2, 2**31 - 100) if spelling.startswith("Map") else b""
    payload = b"\1\0" + lengths[: 4 if entry else 12] + (lengths[4:8] + entry) + b"\1" * 21
    for door in (codec.decode, codec.verify):
        door_of = calls(door, payload)
        assert door_of < 200


def test_elements_that_verify_looks_at_are_not_kept():
    _, codec = one({"words": {"type": "Vec<String>"}, "table": {"type": "Map<u32, String>", "optional": True}})
    payload = field(1, "00000000" * 100_000)
    codec.verify(field(1))
    tracemalloc.start()
    try:
        codec.verify(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
