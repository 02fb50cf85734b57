"""Whole messages with a field of every type: values and bytes, right and wrong."""

import sys

import pytest
from wire_rows import BROKEN, CLOSE, MISFITS, ROWS, SHAPES, WORLD, probe_of
from wire_worlds import field, judged, outcome

from mycelium.wire.errors import DecodeError, EncodeError


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
