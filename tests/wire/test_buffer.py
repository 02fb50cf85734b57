"""A byte stream cut anywhere gives the same frames, for bytes in proportion to what has arrived."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.wire.buffer import Batch, FrameBuffer
from mycelium.wire.errors import ErrorCode, ProtocolError
from mycelium.wire.frames import encode_frame

FRAMES = [encode_frame(1000 + number, bytes([number]) * size) for number, size in enumerate([0, 1, 5, 300, 0, 17])]
STREAM = b"".join(FRAMES)


def frames_of(batch):
    """Type id, payload and whole frame of each, checked against each other."""
    taken = [(type_id, batch.payload(index), batch.frame(index)) for index, type_id in enumerate(batch.type_ids)]
    assert all(encode_frame(type_id, payload) == frame for type_id, payload, frame in taken)
    assert batch.to_bytes() == b"".join(frame for _, _, frame in taken)
    assert batch.size == len(batch.to_bytes())
    return [frame for _, _, frame in taken]


def drained(buffer):
    frames = []
    while (batch := buffer.take()) is not None:
        frames += frames_of(batch)
    return frames


def fed(pieces):
    """The frames that come out when the pieces go in one after the other."""
    buffer = FrameBuffer()
    frames = []
    for piece in pieces:
        buffer.feed(piece)
        frames += drained(buffer)
    return frames, len(buffer)


def test_frames_in_one_piece_are_one_batch():
    buffer = FrameBuffer()
    buffer.feed(STREAM)
    batch = buffer.take()
    assert frames_of(batch) == FRAMES
    assert buffer.take() is None
    assert len(buffer) == 0


def test_p01_a_stream_cut_in_two_anywhere_gives_the_same_frames():
    for at in range(1, len(STREAM)):
        assert fed([STREAM[:at], STREAM[at:]]) == (FRAMES, 0), at


def test_p02_a_stream_byte_by_byte_gives_the_same_frames():
    assert fed([STREAM[at : at + 1] for at in range(len(STREAM))]) == (FRAMES, 0)


def test_p02_a_large_frame_that_drips_in_is_not_copied_for_each_byte():
    frame = encode_frame(1010, bytes(300_000))
    start = time.process_time()
    assert fed(frame[at : at + 1] for at in range(len(frame))) == ([frame], 0)
    assert time.process_time() - start < 3  # copied each time it would be 45 GB


def test_p03_ten_thousand_frames_in_one_piece_come_out_in_their_order():
    frames = [encode_frame(1000 + number % 7, number.to_bytes(4, "little")) for number in range(10_000)]
    assert fed([b"".join(frames)]) == (frames, 0)


@given(
    st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=60)), max_size=20),
    st.lists(st.integers(0, 1500), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_any_cut_of_any_stream_gives_the_same_frames(messages, cuts):
    frames = [encode_frame(type_id, payload) for type_id, payload in messages]
    stream = b"".join(frames)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(places)]
    assert fed(pieces) == (frames, 0)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_frames_or_a_protocol_error_wherever_they_are_cut(data, cuts):
    def outcome(pieces):
        buffer, frames = FrameBuffer(64), []
        try:
            for piece in pieces:
                buffer.feed(piece)
                frames += drained(buffer)
        except ProtocolError as error:
            return frames, error.code
        return frames, len(buffer)

    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    assert outcome(pieces) == outcome([data])


def test_one_frame_at_a_time_leaves_the_rest():
    buffer = FrameBuffer()
    buffer.feed(STREAM)
    assert [frames_of(buffer.take(1)) for _ in FRAMES] == [[frame] for frame in FRAMES]
    assert buffer.take(1) is None


def test_bytes_fed_before_the_last_ones_were_taken_are_kept():
    buffer = FrameBuffer()
    buffer.feed(STREAM + FRAMES[3][:10])
    assert frames_of(buffer.take(2)) == FRAMES[:2]
    buffer.feed(FRAMES[3][10:])
    assert drained(buffer) == [*FRAMES[2:], FRAMES[3]]


def test_the_last_bytes_of_a_frame_are_not_waited_for_once_they_are_there():
    frame, rest = FRAMES[3][:-2], FRAMES[3][-2:]
    buffer = FrameBuffer()
    buffer.feed(STREAM)
    assert drained(buffer) == FRAMES
    buffer.feed(frame)
    buffer.feed(rest)
    assert drained(buffer) == [FRAMES[3]]


# --- lengths that cannot be ---


@pytest.mark.parametrize("length", [0, 1])
def test_p05_a_length_under_two_is_a_protocol_error_as_soon_as_it_is_there(length):
    buffer = FrameBuffer()
    buffer.feed(length.to_bytes(4, "little"))
    with pytest.raises(ProtocolError) as caught:
        buffer.take()
    assert caught.value.code is ErrorCode.PROTOCOL
    assert str(caught.value) == f"protocol: a frame of length {length}; the least is 2"


@pytest.mark.parametrize("length", [4_194_304 + 3, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("header", [4, 5, 6])
def test_p04_an_oversize_length_is_refused_from_the_length_alone(length, header):
    buffer = FrameBuffer()
    buffer.feed((length.to_bytes(4, "little") + b"\xf2\x03")[:header])
    with pytest.raises(ProtocolError) as caught:
        buffer.take()
    assert caught.value.code is ErrorCode.LIMIT
    assert str(caught.value) == f"limit: a payload of {length - 2} bytes; at most 4194304 are taken"


def test_p04_an_oversize_length_that_drips_in_is_refused_at_its_last_byte():
    buffer = FrameBuffer()
    for byte in b"\xff\xff\xff":
        buffer.feed(bytes([byte]))
        assert buffer.take() is None
    buffer.feed(b"\xff")
    with pytest.raises(ProtocolError, match="limit"):
        buffer.take()


def test_whole_frames_before_a_bad_length_are_given_first():
    buffer = FrameBuffer()
    buffer.feed(FRAMES[1] + FRAMES[2] + b"\0\0\0\0")
    assert frames_of(buffer.take()) == FRAMES[1:3]
    with pytest.raises(ProtocolError, match="length 0"):
        buffer.take()


@pytest.mark.parametrize(("size", "passes"), [(99, True), (100, True), (101, False)])
def test_p14_the_limit_is_exact(size, passes):
    buffer = FrameBuffer(100)
    buffer.feed(encode_frame(1000, bytes(size)))
    if passes:
        assert buffer.take().payload(0) == bytes(size)
    else:
        with pytest.raises(ProtocolError, match="a payload of 101 bytes; at most 100 are taken"):
            buffer.take()


# --- memory ---


def peak_while(step):
    """Bytes of the highest water mark of Python's memory during a step, over what there was before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_declared_length_costs_nothing_before_its_bytes_are_there():
    buffer = FrameBuffer()

    def announce():
        buffer.feed((4_194_306).to_bytes(4, "little") + b"\xf2\x03")
        assert buffer.take() is None

    assert peak_while(announce) < 4096


@pytest.mark.parametrize("piece", [1, 1460, 65536])
def test_a_frame_of_4_mib_in_small_pieces_takes_near_twice_its_size(piece):
    size = 4_194_304 if piece > 1 else 131_072  # a byte at a time a smaller one shows the same
    frame = encode_frame(1000, bytes(size))
    buffer = FrameBuffer()
    taken = []

    def drip():
        for at in range(0, len(frame), piece):
            buffer.feed(frame[at : at + piece])
            if (batch := buffer.take()) is not None:
                taken.append(batch)

    assert peak_while(drip) < 2.3 * size + 64 * 1024
    assert [batch.size for batch in taken] == [len(frame)]


def test_clear_forgets_what_waits():
    buffer = FrameBuffer()
    buffer.feed(FRAMES[3][:10])
    assert buffer.take() is None
    buffer.feed(b"x")
    buffer.clear()
    assert len(buffer) == 0
    buffer.feed(FRAMES[1])
    assert drained(buffer) == [FRAMES[1]]


# --- batches ---


@pytest.fixture
def batch():
    buffer = FrameBuffer()
    buffer.feed(STREAM)
    return buffer.take()


def test_a_part_shares_its_batchs_bytes(batch):
    part = batch.part(1, 4)
    assert frames_of(part) == FRAMES[1:4]
    assert part.data is batch.data
    assert frames_of(part.part(1, 2)) == FRAMES[2:3]


def test_a_small_part_of_a_large_chunk_gets_bytes_of_its_own(batch):
    small = batch.part(1, 3).compact()
    assert frames_of(small) == FRAMES[1:3]
    assert len(small.data) == small.size


def test_a_batch_that_is_most_of_its_chunk_is_not_copied(batch):
    assert batch.compact() is batch
    part = batch.part(3, 4)
    assert part.compact() is part


def test_shows_what_it_holds(batch):
    assert repr(batch) == f"<Batch of 6 frames, {len(STREAM)} bytes>"
    assert repr(FrameBuffer()) == "<FrameBuffer of 0 bytes>"
    assert len(Batch(b"", [], [0])) == 0
