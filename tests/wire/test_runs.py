"""Runs of frames: one call says of many frames what `verify` and `decode` say of each."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ENUMS, fixed_types, load, message_names, messages, mutated, worlds

from mycelium.schema.model import INTEGERS
from mycelium.wire.buffer import FrameBuffer
from mycelium.wire.errors import DecodeError, EncodeError
from mycelium.wire.frames import encode_frame

SLOW_TO_DRAW = settings(max_examples=60, deadline=None)
LENGTHS = (0, 1, 4, 25, 26, 40)
"""Frames in a run, on both sides of what is compared as one integer."""


def one(fields, types=None):
    """The class and the codec of a message of these fields."""
    made = load(json.dumps({"types": types or {}, "messages": {"Message": {"tlv_type": 1002, "fields": fields}}}))
    return made.registry.class_of("Message"), made.registry.codec_of("Message")


COUNTER = {"counter_id": {"type": "u64"}, "value": {"type": "i32"}, "delta": {"type": "i32"}}
FRAME = bytes.fromhex(
    "24 00 00 00  ea 03"
    "01 00  08 00 00 00  00 00 00 00 00 01 00 00"
    "02 00  04 00 00 00  e0 5e f8 ff"
    "03 00  04 00 00 00  07 00 00 00"
)
VALUES = (1 << 40, -500_000, 7)
TEXT = {"sender": {"type": "String"}, "text": {"type": "String", "optional": True}, "at": {"type": "u64"}}


def run_of(*frames, before=b""):
    """Frames behind each other, behind bytes that are none, with their bounds."""
    bounds = [len(before)]
    for frame in frames:
        bounds.append(bounds[-1] + len(frame))
    return before + b"".join(frames) + b"rest", bounds


def answers(codec, data, bounds):
    """What both functions say; they always agree."""
    decoded = codec.decode_run(data, bounds)
    assert codec.verify_run(data, bounds) is (decoded is not None)
    return decoded


def each_alone(codec, data, bounds):
    """The same, frame by frame; None where one is wrong, of another type, or has metadata."""
    decoded = []
    for first, last in pairwise(bounds):
        payload = data[first + 6 : last]
        if data[first:last] != encode_frame(codec.message.type_id, payload):
            return None
        metadata = {}
        try:
            decoded.append(codec.decode(payload, metadata))
        except DecodeError:
            return None
        assert codec.verify(payload) == metadata
        if metadata:
            return None
    return decoded


def are_canonical(codec, messages, data, bounds):
    """Whether frames are what their messages are written as. A signalling NaN is, though it comes back quiet."""
    frames = [data[first:last] for first, last in pairwise(bounds)]
    return all(
        codec.encode_frame(message) == frame or "nan" in repr(message)
        for message, frame in zip(messages, frames, strict=True)
    )


# --- literal bytes ---------------------------------------------------------------------------------------------------


def test_a_frame_is_these_bytes_in_both_directions():
    cls, codec = one(COUNTER)
    assert codec.encode_frame(cls(*VALUES)) == FRAME
    assert codec.decode_run(FRAME, [0, 40]) == [cls(*VALUES)]
    assert codec.verify_run(FRAME, [0, 40])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_run_is_its_messages_wherever_it_begins(length):
    cls, codec = one(COUNTER)
    expected = [cls(number, -number, 7) for number in range(length)]
    for before in (b"", b"x", FRAME):
        decoded = answers(codec, *run_of(*map(codec.encode_frame, expected), before=before))
        assert decoded == expected
        assert all(type(message) is cls for message in decoded)


@pytest.mark.parametrize("length", LENGTHS[1:])
@pytest.mark.parametrize("place", [*range(12), *range(20, 26), *range(30, 36)])
def test_any_header_byte_that_is_another_makes_it_no_run(length, place):
    codec = one(COUNTER)[1]
    wrong = bytearray(FRAME)
    wrong[place] ^= 0x40
    frames = [FRAME] * length
    frames[length // 2] = bytes(wrong)
    assert answers(codec, *run_of(*frames)) is None


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_a_frame_of_another_size_makes_it_no_run(length):
    codec = one(COUNTER)[1]
    stamped = encode_frame(1002, FRAME[6:] + bytes.fromhex("02 ff 08 00 00 00") + bytes(8))
    for frame in (stamped, FRAME[:-1], FRAME + b"\0", b""):
        assert answers(codec, *run_of(*[FRAME] * (length - 1), frame)) is None
    data, bounds = run_of(*[FRAME] * length)
    assert answers(codec, data[: bounds[-1] - 1], bounds) is None


def test_frames_of_variable_size_are_a_run_too():
    cls, codec = one(TEXT)
    expected = [cls("me", None, 1), cls("", "", 2), cls("somebody", "hé" * 200, 3)]
    frames = [codec.encode_frame(message) for message in expected]
    assert frames[0] == bytes.fromhex("18000000 ea03  0100 02000000 6d65  0300 08000000 0100000000000000")
    assert answers(codec, *run_of(*frames, before=b"x")) == expected
    for frame in (
        encode_frame(1003, frames[0][6:]),
        encode_frame(1002, frames[0][6:] + bytes.fromhex("02 ff 08 00 00 00") + bytes(8)),
        b"\x17" + frames[0][1:],
        frames[0][:-1],
        frames[0][:8] + b"\x40" + frames[0][9:],
        frames[0].replace(b"me", b"\xff\xff"),
    ):
        assert answers(codec, *run_of(frames[1], frame, frames[2])) is None


@pytest.mark.parametrize("length", LENGTHS[1:])
@pytest.mark.parametrize(
    ("field", "types", "good", "bad"),
    [
        ({"type": "bool"}, {}, "01", "02"),
        ({"type": "Side"}, {"Side": {"enum": {"buy": 1, "sell": 2}, "open": False}}, "02", "03"),
        ({"type": "[bool; 2]"}, {}, "0001", "0002"),
        ({"type": "u8", "validation": [{"max": 7}]}, {}, "07", "08"),
        ({"type": "[u8; 2]", "validation": [{"not_zero": True}]}, {}, "0001", "0000"),
        ({"type": "f32", "validation": [{"min": 0}]}, {}, "0000803f", "000080bf"),
        ({"type": "String", "validation": [{"min_length": 1}]}, {}, "61", ""),
        ({"type": "Vec<Side>"}, {"Side": {"enum": {"buy": 1}, "open": False}}, "0101", "0102"),
    ],
    ids=str,
)
def test_a_value_that_is_not_legal_makes_it_no_run(length, field, types, good, bad):
    codec = one({"value": field, "other": {"type": "u8"}}, types)[1]

    def frame(value):
        data = bytes.fromhex(value)
        return encode_frame(
            1002, b"\1\0" + len(data).to_bytes(4, "little") + data + bytes.fromhex("02 00 01 00 00 00 09")
        )

    frames = [frame(good)] * length
    assert len(answers(codec, *run_of(*frames))) == length
    frames[-1] = frame(bad)
    assert answers(codec, *run_of(*frames)) is None


def test_what_a_nested_message_does_not_know_is_skipped_in_a_run_as_it_is_alone():
    """Canonical is asked of a frame's own fields; a value of variable size is read as `decode` reads it."""
    world = load(
        '{"messages": {"Message": {"tlv_type": 1002, "fields": {"a": {"type": "Message", "optional": true}}}}}'
    )
    cls, codec = world.registry.class_of("Message"), world.registry.codec_of("Message")
    unknown = bytes.fromhex("63 00 01 00 00 00 07")  # tag 99, one byte
    frame = encode_frame(1002, b"\1\0" + len(unknown).to_bytes(4, "little") + unknown)
    assert codec.decode(frame[6:]) == cls(cls())
    assert answers(codec, *run_of(frame, frame)) == [cls(cls())] * 2
    assert answers(codec, *run_of(frame, encode_frame(1002, unknown))) is None


def test_messages_without_fields_are_a_run_of_headers():
    cls, codec = one({})
    frame = bytes.fromhex("02 00 00 00 ea 03")
    assert codec.encode_frame(cls()) == frame
    assert answers(codec, *run_of(frame, frame)) == [cls(), cls()]
    assert answers(codec, *run_of(frame, b"\2\0\0\0\xeb\3")) is None


def test_open_enums_and_lists_are_read_as_decode_reads_them():
    types = {"Side": {"enum": {"buy": 1}}}
    cls, codec = one({"side": {"type": "Side"}, "grid": {"type": "[[u8; 2]; 2]"}, "wide": {"type": "U256"}}, types)
    expected = [cls(1, [b"ab", b"cd"], 2**255), cls(9, [b"  ", b"  "], 0)]
    decoded = answers(codec, *run_of(*map(codec.encode_frame, expected)))
    assert decoded == expected
    assert decoded[0].side.name == "buy"


def test_encode_frame_refuses_what_encode_refuses_in_the_same_words():
    cls, codec = one(COUNTER)
    for message in (cls(counter_id=True, value=1, delta=2), cls(1, 2**31, 0), cls(1, 0.5, 0), cls(-1, 0, 0), object()):
        with pytest.raises(EncodeError) as expected:
            codec.encode(message)
        with pytest.raises(EncodeError) as found:
            codec.encode_frame(message)
        assert str(found.value) == str(expected.value)


# --- properties ------------------------------------------------------------------------------------------------------


@st.composite
def fixed_worlds(draw):
    """A message whose fields are all of fixed size."""
    types = {
        name: {
            "enum": {"a": 1, "b": 7},
            "repr": draw(st.sampled_from(["u8", "i16", "u128"])),
            "open": draw(st.booleans()),
        }
        for name in ENUMS
    }
    fields = {}
    for number in range(draw(st.integers(0, 4))):
        spelling = draw(fixed_types(ENUMS))
        fields[f"field{number}"] = {"type": spelling, "tag": draw(st.integers(1, 99)) * 10 + number}
        if spelling in INTEGERS and draw(st.booleans()):
            fields[f"field{number}"]["validation"] = [
                draw(st.sampled_from([{"min": 0}, {"max": 100}, {"not_zero": True}]))
            ]
    return load(json.dumps({"types": types, "messages": {"Message0": {"tlv_type": 1000, "fields": fields}}}))


def check_any_run(data, world, name):
    codec = world.codec(name)
    drawn = data.draw(st.lists(messages(world, name), max_size=5)) * data.draw(st.sampled_from([1, 1, 8]))
    frames = [codec.encode_frame(message) for message in drawn]
    assert frames == [encode_frame(codec.message.type_id, codec.encode(message)) for message in drawn]
    if frames and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(frames) - 1))
        frames[at] = data.draw(mutated(frames[at]))
    run, bounds = run_of(*frames, before=data.draw(st.binary(max_size=3)))
    decoded = answers(codec, run, bounds)
    alone = each_alone(codec, run, bounds)
    if decoded is not None:
        assert repr(decoded) == repr(alone)
    elif codec.fixed_size is not None:
        assert alone is None or not are_canonical(codec, alone, run, bounds)


@SLOW_TO_DRAW
@given(st.data())
def test_a_run_of_fixed_size_is_what_each_frame_is_alone(data):
    world = data.draw(fixed_worlds())
    assert world.codec().fixed_size is not None
    check_any_run(data, world, "Message0")


@SLOW_TO_DRAW
@given(st.data())
def test_a_run_of_any_message_is_what_each_frame_is_alone(data):
    world = data.draw(worlds(rules=True))
    check_any_run(data, world, data.draw(message_names(world)))


@given(st.lists(st.integers(0, 3), max_size=40))
def test_the_bounds_of_a_batch_are_those_of_a_run(values):
    cls, codec = one(COUNTER)
    buffer = FrameBuffer()
    buffer.feed(b"".join(codec.encode_frame(cls(value, 0, 0)) for value in values))
    batch = buffer.take()
    if batch is not None:
        assert [message.counter_id for message in answers(codec, batch.data, batch.bounds)] == values
        part = batch.part(len(values) // 2, len(values))
        assert len(answers(codec, part.data, part.bounds)) == len(part)
