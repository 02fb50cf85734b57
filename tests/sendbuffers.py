"""Send buffers in virtual time, and the frames that they give out."""

from mycelium.bus.sendbuffer import SendBuffer
from mycelium.wire.buffer import FrameBuffer
from mycelium.wire.frames import encode_frame
from peers import CORE

CONFIRM = CORE.encode(CORE.Confirm(enabled=True))


def ping(nonce):
    return CORE.encode(CORE.Ping(nonce=nonce))


def frame(number, size=10, type_id=1000):
    return encode_frame(type_id, number.to_bytes(4, "little").ljust(size, b"x"))


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make(limit=8 * 1024 * 1024, *, open_=True, receipts=None):
    clock = Clock()
    buffer = SendBuffer(clock, ping, CONFIRM, limit, receipts)
    if open_:
        buffer.attach(7)
        buffer.uncork()
    return buffer, clock


def frames_of(data):
    """Type ids and payloads of whole frames."""
    reading = FrameBuffer()
    reading.feed(data)
    found = []
    while (batch := reading.take()) is not None:
        found += [(type_id, batch.payload(index)) for index, type_id in enumerate(batch.type_ids)]
    assert len(reading) == 0
    return found
