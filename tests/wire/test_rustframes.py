"""The stream of the Rust dialect: an optional preamble at the very start, then frames, cut anywhere."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.wire.errors import ErrorCode, ProtocolError
from mycelium.wire.rustframes import RustFrames, encode_rust_frame, preamble

DIGEST = bytes(range(32))
FRAMES = [encode_rust_frame(1000 + number, bytes([number]) * size) for number, size in enumerate([0, 1, 5, 300, 0, 17])]
STREAM = b"".join(FRAMES)


def drained(stream):
    while (batch := stream.take()) is not None:
        for index, type_id in enumerate(batch.type_ids):
            assert encode_rust_frame(type_id, batch.payload(index)) == batch.frame(index)
            yield batch.frame(index)


def fed(pieces, max_payload=4096):
    """Frames, digest and bytes that wait, or the error's code, when the pieces go in one after the other."""
    stream, frames = RustFrames(max_payload), []
    try:
        for piece in pieces:
            stream.feed(piece)
            frames.extend(drained(stream))
    except ProtocolError as error:
        return frames, stream.digest, error.code
    return frames, stream.digest, len(stream)


def test_a_frame_is_type_id_length_of_the_payload_and_payload():
    assert encode_rust_frame(1001, b"abc").hex() == "e90303000000616263"


def test_a_preamble_is_32_and_the_digest():
    assert preamble(DIGEST).hex() == "2000" + DIGEST.hex()
    with pytest.raises(ValueError, match="a digest has 32 bytes, not 64"):
        preamble(DIGEST.hex().encode())


@pytest.mark.parametrize(("start", "digest"), [(b"", None), (preamble(DIGEST), DIGEST)])
def test_a_stream_cut_in_two_anywhere_or_byte_by_byte_gives_the_same(start, digest):
    stream = start + STREAM
    for at in range(len(stream) + 1):
        assert fed([stream[:at], stream[at:]]) == (FRAMES, digest, 0), at
    assert fed(stream[at : at + 1] for at in range(len(stream))) == (FRAMES, digest, 0)


def test_the_digest_is_there_before_the_first_frame():
    stream = RustFrames()
    stream.feed(preamble(DIGEST) + b"\xe8\x03\xff\xff\xff\xff")
    assert stream.digest == DIGEST
    with pytest.raises(ProtocolError):
        stream.take()
    stream = RustFrames()
    stream.feed(preamble(DIGEST))
    assert stream.take() is None
    assert (stream.digest, len(stream)) == (DIGEST, 0)
    stream.feed(FRAMES[1])
    assert list(drained(stream)) == FRAMES[1:2]


def test_a_preamble_anywhere_else_is_a_frame_of_its_type():
    stream = FRAMES[1] + encode_rust_frame(32, b"not a digest")
    assert fed([stream]) == ([FRAMES[1], stream[len(FRAMES[1]) :]], None, 0)
    again = fed([preamble(DIGEST) + encode_rust_frame(32, b"x")])
    assert again == ([encode_rust_frame(32, b"x")], DIGEST, 0)


def test_many_frames_of_one_type_come_as_one_even_batch():
    stream = RustFrames()
    stream.feed(encode_rust_frame(1000, b"abcd") * 1000 + FRAMES[3])
    batch = stream.take()
    assert (batch.is_even, len(batch), batch.types) == (True, 1000, {1000})
    assert list(drained(stream)) == [FRAMES[3]]


def test_a_length_over_the_limit_is_refused_after_the_frames_before_it():
    frames, _, code = fed([FRAMES[2] + encode_rust_frame(1000, bytes(4097))[:6]])
    assert (frames, code) == ([FRAMES[2]], ErrorCode.LIMIT)
    stream = RustFrames(100)
    stream.feed(b"\xe8\x03\xff\xff\xff\xff")
    with pytest.raises(ProtocolError, match="a payload of 4294967295 bytes; at most 100 are taken"):
        stream.take()


def test_a_native_hello_is_told_from_a_frame():
    for length in (10, 300, 999):
        assert fed([length.to_bytes(4, "little") + b"\1\0"], 1 << 20) == ([], None, ErrorCode.PROTOCOL)
    frame = encode_rust_frame(1000, bytes(0x10000))
    assert fed([frame], 1 << 20) == ([frame], None, 0)


def test_bytes_that_wait_are_counted():
    stream = RustFrames()
    stream.feed(preamble(DIGEST)[:30])
    assert stream.take() is None
    assert repr(stream) == "<RustFrames of 30 bytes>"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_frames_or_a_protocol_error_wherever_they_are_cut(data, cuts, marked):
    data = b"\x20\0" * marked + data
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    assert fed(pieces, 64) == fed([data], 64)
