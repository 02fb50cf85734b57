"""Frames as they arrive at an open connection: alone, together, or cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelium.handle import core_protocol
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.errors import ErrorCode, ProtocolError
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import Role

CORE = core_protocol()
PING = CORE.encode(CORE.Ping(nonce=1))
ORDER = encode_frame(1010, b"order")


def opened(max_payload=100):
    """The bridge's side, behind the handshake."""
    made = Connection(Role.BRIDGE, CORE, max_payload)
    made.receive_data(CORE.encode(CORE.Hello(protocol=1, client="c")))
    assert made.next_event() is not None
    facts = {"server": "b", "session": 1, "max_payload": max_payload, "heartbeat_ms": 1000}
    made.send(CORE.Welcome(protocol=1, schema_id=1, schema_version=1, schema_digest=bytes(32), **facts))
    return made


def heard_from(made):
    """What it gives now, frame by frame."""
    heard = []
    while (event := made.next_event()) is not None:
        heard += [event.frame(index) for index in range(len(event))] if isinstance(event, Batch) else [PING]
    return heard


def test_a_frame_that_comes_alone_is_what_came():
    made = opened()
    made.receive_data(ORDER)
    assert not made.is_drained
    assert made.next_event().data is ORDER
    assert made.is_drained
    assert made.next_event() is None


def test_frames_that_come_one_by_one_are_given_in_their_order():
    made = opened()
    frames = [encode_frame(1010, bytes([number])) for number in range(4)]
    for frame in frames:
        made.receive_data(frame)
    assert heard_from(made) == frames


def test_a_frame_that_comes_alone_is_held_against_the_limits():
    made = opened(max_payload=4)
    made.receive_data(encode_frame(1010, bytes(4)))
    assert len(heard_from(made)) == 1
    for wrong, code in [(encode_frame(1010, bytes(5)), ErrorCode.LIMIT), (bytes([1, 0, 0, 0, 9]), ErrorCode.PROTOCOL)]:
        made = opened(max_payload=4)
        made.receive_data(wrong)
        with pytest.raises(ProtocolError) as caught:
            heard_from(made)
        assert caught.value.code is code


@given(
    frames=st.lists(st.one_of(st.just(PING), st.binary(max_size=9).map(lambda data: encode_frame(1010, data)))),
    cuts=st.lists(st.integers(0, 200)),
    hears=st.lists(st.booleans(), max_size=40),
)
def test_however_the_bytes_come_the_same_frames_are_given(frames, cuts, hears):
    """Whole frames among the chunks, too; and a connection that says it is drained has nothing to give."""
    made, stream, heard = opened(), b"".join(frames), []
    edges = {0, len(stream), *(cut for cut in cuts if cut < len(stream))}
    if len(cuts) % 2:  # as it is where each is written by itself
        edges |= {sum(map(len, frames[:index])) for index in range(len(frames))}
    places = sorted(edges)

    def take(event):
        heard.extend([event.frame(index) for index in range(len(event))] if isinstance(event, Batch) else [PING])

    for number, (start, stop) in enumerate(pairwise(places)):
        made.receive_data(stream[start:stop])
        while number >= len(hears) or hears[number]:
            was_drained = made.is_drained
            if (event := made.next_event()) is None:
                break
            assert not was_drained
            take(event)
    assert heard + heard_from(made) == frames
