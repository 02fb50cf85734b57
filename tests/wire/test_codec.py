"""Whole messages: the fast path, the general walk that judges it, fields that may be absent, and errors."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import message_names, messages, mutated, payloads, rearranged, worlds
from wire_worlds import field, judged, one, outcome, world

from mycelium.schema.errors import RuleError
from mycelium.wire.errors import DecodeError, EncodeError, Misfit

SLOW_TO_DRAW = settings(max_examples=40, deadline=None)


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
