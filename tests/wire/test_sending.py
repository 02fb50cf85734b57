"""Frames of many messages in one call: what `publish_frame` makes of each, up to the first that is something else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import load, message_names, messages, worlds

from mycelium.wire.errors import EncodeError

PLENTY = 1 << 30
"""Bytes that no test comes to."""
COUNTER = {"counter_id": {"type": "u64"}, "value": {"type": "i32"}, "delta": {"type": "i32"}}
TEXT = {"sender": {"type": "String"}, "text": {"type": "String", "optional": True}, "at": {"type": "u64"}}
LIMITED = {"level": {"type": "u8", "validation": [{"max": 9}]}}


def one(fields):
    """The class and the codec of a message of these fields."""
    made = load(json.dumps({"messages": {"Message": {"tlv_type": 1002, "fields": fields}}}))
    return made.registry.class_of("Message"), made.registry.codec_of("Message")


class Sent:
    """What a call has done."""

    def __init__(self, codec, source, *, room=PLENTY, most=PLENTY, registry=None):
        lineage = codec.walk.types
        self.frames, self.told, self.left = [], [], "nothing"
        self.source = iter(source)
        try:
            self.left = codec.publish_run(
                self.source, self.frames.append, self._done, room, most, lineage, registry or lineage.current
            )
        finally:
            assert self.told == [(len(self.frames), sum(map(len, self.frames)))]

    def _done(self, count, size):
        self.told.append((count, size))


def test_frames_are_these_bytes():
    cls, codec = one(COUNTER)
    sent = Sent(codec, [cls(1 << 40, -500_000, 7), cls(1, 2, 3)])
    assert sent.frames[0] == bytes.fromhex(
        "24 00 00 00  ea 03"
        "01 00  08 00 00 00  00 00 00 00 00 01 00 00"
        "02 00  04 00 00 00  e0 5e f8 ff"
        "03 00  04 00 00 00  07 00 00 00"
    )
    assert sent.frames[1] == codec.publish_frame(cls(1, 2, 3))
    assert sent.left is None


def test_frames_of_several_lengths_are_too():
    cls, codec = one(TEXT)
    source = [cls("me", None, 1), cls("", "", 2), cls("somebody", "hé" * 200, 3)]
    sent = Sent(codec, source)
    assert sent.frames == [codec.publish_frame(message) for message in source]
    assert sent.frames[0] == bytes.fromhex("18000000 ea03  0100 02000000 6d65  0300 08000000 0100000000000000")
    assert sent.left is None


def test_a_message_without_fields_is_a_header():
    cls, codec = one({})
    assert Sent(codec, [cls(), cls()]).frames == [bytes.fromhex("02 00 00 00 ea 03")] * 2


@pytest.mark.parametrize(("fields", "values"), [(COUNTER, (1, 2, 3)), (TEXT, ("a", "b", 3))])
def test_it_ends_with_the_frame_that_fills_the_room(fields, values):
    cls, codec = one(fields)
    size = len(codec.publish_frame(cls(*values)))
    for room, count in [(1, 1), (size, 1), (size + 1, 2), (3 * size, 3)]:
        sent = Sent(codec, [cls(*values)] * 5, room=room)
        assert (sent.left, len(sent.frames)) == ((), count)
        assert len(list(sent.source)) == 5 - count


def test_what_is_none_of_the_class_is_given_back():
    cls, codec = one(COUNTER)
    twin = one(COUNTER)[0]
    for other in (twin(1, 2, 3), None, 5, cls):
        sent = Sent(codec, [cls(1, 2, 3), other, cls(4, 5, 6)])
        assert (len(sent.frames), sent.left) == (1, (other,))
        assert list(sent.source) == [cls(4, 5, 6)]


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [(COUNTER, (1, 2, 3), (True, 2, 3)), (COUNTER, (1, 2, 3), (1, 2**31, 3)), (TEXT, ("", "", 1), ("", 1, 1))],
)
def test_what_does_not_fit_is_given_back_for_who_words_the_error(fields, good, bad):
    cls, codec = one(fields)
    wrong = cls(*bad)
    sent = Sent(codec, [cls(*good), wrong, cls(*good)])
    assert (len(sent.frames), sent.left) == (1, (wrong,))
    with pytest.raises(EncodeError):
        codec.publish_frame(wrong)


def test_what_breaks_a_rule_is_given_back():
    cls, codec = one(LIMITED)
    sent = Sent(codec, map(cls, [8, 9, 10, 0]))
    assert (len(sent.frames), sent.left) == (2, (cls(10),))


def test_a_frame_that_is_too_large_is_given_back():
    cls, codec = one(TEXT)
    fits, large = cls("x" * 10, None, 1), cls("x" * 11, None, 1)
    sent = Sent(codec, [fits, large], most=len(codec.publish_frame(fits)))
    assert (len(sent.frames), sent.left) == (1, (large,))


@pytest.mark.parametrize("error", [LookupError, AttributeError, ValueError, KeyboardInterrupt])
def test_what_the_iterator_raises_goes_through(error):
    cls, codec = one(COUNTER)

    def source():
        yield cls(1, 2, 3)
        yield cls(4, 5, 6)
        raise error("mine")

    frames, told, lineage = [], [], codec.walk.types

    def done(count, size):
        told.append((count, size))

    with pytest.raises(error, match="mine"):
        codec.publish_run(source(), frames.append, done, PLENTY, PLENTY, lineage, lineage.current)
    assert (len(frames), told) == (2, [(2, 80)])


def test_nothing_is_taken_by_a_generation_that_is_not_in_force():
    cls, codec = one(COUNTER)
    sent = Sent(codec, [cls(1, 2, 3)], registry=object())
    assert (sent.frames, sent.left) == ([], (cls(1, 2, 3),))


def test_where_rules_are_those_of_messages_inside_there_is_none():
    world = load(
        json.dumps(
            {
                "messages": {
                    "Inner": {"tlv_type": 1001, "fields": LIMITED},
                    "Outer": {"tlv_type": 1002, "fields": {"inner": {"type": "Inner"}}},
                }
            }
        )
    )
    assert world.registry.codec_of("Outer").publish_run is None
    assert world.registry.codec_of("Inner").publish_run is not None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_run_is_what_each_message_is_alone(data):
    world = data.draw(worlds(rules=True))
    name = data.draw(message_names(world))
    codec = world.codec(name)
    if codec.publish_run is None:
        return
    drawn = data.draw(st.lists(messages(world, name), max_size=5))
    sent = Sent(codec, drawn)
    taken = len(sent.frames)
    assert sent.frames == [codec.publish_frame(message) for message in drawn[:taken]]
    if sent.left is None:
        assert taken == len(drawn)
    else:
        (back,) = sent.left
        assert back is drawn[taken]
