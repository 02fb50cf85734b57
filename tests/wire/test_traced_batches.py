"""Few messages carry a trace context, and the others are taken together as if those were not there."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mycelium
from mycelium.bus.door import Door, Objection
from mycelium.bus.monotonic import MonotonicGuard
from mycelium.wire.batches import Sieve, apart, carrying_trace
from mycelium.wire.buffer import FrameBuffer
from mycelium.wire.metadata import TRACE, Metadata
from mycelium.wire.tracecontext import TRACE_FIELD, TraceContext, body_size, metadata_in, trace_in, with_trace

CONTRACTS = mycelium.load("""
messages:
  Tick: {tlv_type: 1000, fields: {number: {type: u32}}}
  Line: {tlv_type: 1001, fields: {text: {type: String}}}
  Blob: {tlv_type: 1002, fields: {body: {type: bytes}}}
""")
TRACED = TraceContext(bytes(range(1, 17)), bytes(range(1, 9)), 1).to_bytes()


def frame_of(message, *, traced=False):
    frame = type(message).__mycelium__.codec.encode_frame(message)
    return with_trace(frame, TRACED) if traced else frame


def batches_of(stream, pieces=()):
    buffer, found, start = FrameBuffer(), [], 0
    for stop in (*sorted(pieces), len(stream)):
        buffer.feed(stream[start:stop])
        start = stop
        while (batch := buffer.take()) is not None:
            found.append(batch)
    return found


def ticks(count, traced=(), start=0):
    return [frame_of(CONTRACTS.Tick(start + number), traced=number in traced) for number in range(count)]


def test_a_frame_with_a_trace_context_is_what_metadata_writes():
    message = CONTRACTS.Tick(7)
    frame = frame_of(message, traced=True)
    assert frame[6:] == message.to_bytes() + Metadata(trace=TRACED).encode()
    assert body_size(frame, TRACED) == len(message.to_bytes())
    assert trace_in(frame[6:]) == TRACED
    stamped = frame[6:] + Metadata(published_at=1, origin=(2, 3)).encode()
    assert metadata_in(stamped).keys() == {TRACE, 0xFF02, 0xFF03}
    assert Metadata.from_tags(metadata_in(stamped)).origin == (2, 3)


@pytest.mark.parametrize("payload", [b"", b"\x01", TRACE_FIELD, TRACE_FIELD[:5], b"\x01\0\xff\0\0\0" + TRACE_FIELD])
def test_a_payload_that_is_broken_has_no_trace(payload):
    assert trace_in(payload) is None


def test_a_trace_context_inside_a_value_is_none():
    payload = CONTRACTS.Blob(TRACE_FIELD + TRACED).to_bytes()
    assert trace_in(payload) is None
    (batch,) = batches_of(frame_of(CONTRACTS.Blob(TRACE_FIELD + TRACED)))
    assert carrying_trace(batch) == [0]  # it is looked at by itself, and no more


def test_runs_of_one_length_with_a_longer_frame_here_and_there_are_one_batch():
    stream = b"".join(ticks(100, traced=(0, 20, 60)))
    (batch,) = batches_of(stream)
    assert (len(batch), batch.to_bytes()) == (100, stream)
    assert list(apart(batch)) == [(0, 1), (1, 20), (20, 21), (21, 60), (60, 61), (61, 100)]


def test_a_frame_of_another_type_ends_the_batch():
    frames = [*ticks(20), frame_of(CONTRACTS.Line("x")), *ticks(20)]
    first, *rest = batches_of(b"".join(frames))
    assert len(first) == 20
    assert sum(map(len, rest)) == 21


def test_whole_frames_are_given_before_a_longer_one_that_is_not_whole():
    stream = b"".join(ticks(20))
    buffer = FrameBuffer()
    buffer.feed(stream + frame_of(CONTRACTS.Tick(1), traced=True)[:-1])
    assert buffer.take().to_bytes() == stream
    assert buffer.take() is None


@given(
    traced=st.lists(st.booleans(), min_size=1, max_size=60),
    kind=st.sampled_from(["tick", "line"]),
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
def test_any_mixture_cut_anywhere_is_the_same_frames_and_passes_the_door(traced, kind, seed, cuts):
    text = random.Random(seed)
    frames = [
        frame_of(CONTRACTS.Tick(number) if kind == "tick" else CONTRACTS.Line("x" * text.randrange(3)), traced=flag)
        for number, flag in enumerate(traced)
    ]
    stream = b"".join(frames)
    batches = batches_of(stream, [cut for cut in cuts if cut < len(stream)])
    assert [batch.frame(index) for batch in batches for index in range(len(batch))] == frames
    door = Door(1, MonotonicGuard({}))
    for batch in batches:
        assert [part for start, stop in apart(batch) for part in range(start, stop)] == [*range(len(batch))]
        assert door.look(batch, CONTRACTS.registry.by_id) is None


@given(traced=st.lists(st.booleans(), min_size=2, max_size=40), bad=st.integers(0, 39))
def test_a_frame_that_is_wrong_is_found_among_traced_ones(traced, bad):
    bad %= len(traced)
    frames = [frame_of(CONTRACTS.Line("x"), traced=flag) for flag in traced]
    frames[bad] = frames[bad][:12] + b"\xff" + frames[bad][13:]
    (*_,) = batches = batches_of(b"".join(frames))
    door, seen = Door(1, MonotonicGuard({})), 0
    for batch in batches:
        note = door.look(batch, CONTRACTS.registry.by_id)
        if note is not None:
            assert isinstance(note, Objection)
            assert seen + note.index == bad
            return
        seen += len(batch)
    raise AssertionError("nobody has objected")


class Eater:
    """Takes runs in which no frame is traced; notes what it was offered."""

    def __init__(self):
        self.tried, self.order = [], []

    def together(self, run):
        self.tried.append(len(run))
        if carrying_trace(run):
            return False
        self.order += [run.frame(index) for index in range(len(run))]
        return True

    def eat(self, sieve, batch):
        """The sizes of the runs that were tried together."""
        self.tried = []
        for start, stop in sieve.left_over(batch, self.together):
            self.order += [batch.frame(index) for index in range(start, stop)]
        return self.tried


def test_a_batch_with_a_traced_frame_is_tried_as_a_whole_only_if_there_was_none_lately():
    (traced,), (plain,) = batches_of(b"".join(ticks(100, traced=(20, 60)))), batches_of(b"".join(ticks(100)))
    sieve, eater = Sieve(), Eater()
    assert eater.eat(sieve, plain) == [100]
    assert eater.eat(sieve, traced) == [100, 20, 39, 39]
    assert eater.eat(sieve, traced) == [20, 39, 39]
    assert [eater.eat(sieve, plain) for _ in range(64)] == [[100]] * 64
    assert eater.eat(sieve, traced) == [100, 20, 39, 39]


def test_what_is_left_over_comes_in_its_place():
    frames = ticks(100, traced=(0, 20, 21, 99))
    sieve, eater = Sieve(), Eater()
    for batch in batches_of(b"".join(frames * 2)):
        eater.eat(sieve, batch)
    assert eater.order == frames * 2


def test_a_batch_that_cannot_be_taken_together_is_left_over_as_a_whole_and_tried_once():
    (batch,) = batches_of(b"".join(ticks(100)))
    sieve, tried = Sieve(), []
    assert list(sieve.left_over(batch, tried.append)) == [(0, 100)]
    assert tried == [batch]
