"""Messages to be delivered over sockets, as frames, and what bridge and peers say of them."""

import contextlib

import mycelium
from mycelium import MessageBus
from mycelium.wire.buffer import Batch
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, peer_at, serving

TEXT = """
messages:
  Job: {tlv_type: 1000, fields: {number: {type: u32}, pad: {type: bytes, default: "0x"}}}
  Tick: {tlv_type: 1001, key: symbol, fields: {symbol: {type: u8}, number: {type: u32}}}
  State: {tlv_type: 1002, key: id, retain: last, fields: {id: {type: u8}, number: {type: u32}}}
  Ask: {tlv_type: 1004, fields: {number: {type: u32}}}
  Answer: {tlv_type: 1005, fields: {number: {type: u32}}}
"""
FULL = "a subscriber's queue is full"
ROOM = "there is room again"
REFUSES = "a subscriber's queue is full, and its lag policy refuses more"
TIMEOUT = "a subscriber had no room in time"


def frame(message, **metadata):
    """A message as a frame, with metadata if there is any."""
    extra = Metadata(**metadata).encode() if metadata else b""
    return encode_frame(message.TYPE_ID, message.to_bytes() + extra)


def paused(*type_ids):
    return CORE.Flow(type_ids=list(type_ids), paused=True, reason=FULL)


def resumed(*type_ids):
    return CORE.Flow(type_ids=list(type_ids), paused=False, reason=ROOM)


def lagged(dropped, reason, type_id=1000):
    return CORE.Lagged(subscription=1, type_id=type_id, dropped=dropped, reason=reason)


def error(code, message, *, sequence=None, type_id=1000):
    return CORE.Error(code=code, message=message, type_id=type_id, fatal=False, sequence=sequence)


def receipt(first, last, matched, enqueued, dropped=0, code=None):  # noqa: PLR0917  in the order of the wire
    return CORE.Receipt(first=first, last=last, matched=matched, enqueued=enqueued, dropped=dropped, code=code)


def plain(types, events):
    """Events with the numbers of messages in place of batches."""
    out = []
    for event in events:
        if isinstance(event, Batch):
            out += [types.decode(type_id, event.payload(index)).number for index, type_id in enumerate(event.type_ids)]
        else:
            out.append(event)
    return out


async def handled(peer, types, count, subscription=1):
    """What comes until so many messages have come, each given back at once; and what comes with them."""
    events = []
    while count > 0:
        event = await peer.next()
        assert event is not None, plain(types, events)
        events.append(event)
        if isinstance(event, Batch):
            count -= len(event)
            peer.send(CORE.Credit(subscription=subscription, messages=len(event)))
    for _ in range(2):  # the answer to a Ping goes before what is queued
        events += await peer.barrier()
    return plain(types, events)


@contextlib.asynccontextmanager
async def pair(types, *, hello=(), **limits):
    """A bus, its bridge, a publisher and a subscriber, which has not subscribed yet."""
    async with (
        serving(types, **limits) as (bus, bridge),
        peer_at(bridge.urls[0], client="publisher") as publisher,
        peer_at(bridge.urls[0], client="subscriber") as subscriber,
    ):
        yield bus, bridge, publisher, subscriber


async def stuck(publisher, subscriber, types, on_lag=None, queue=4, **options):
    """Subscribe with a window of one, which is out."""
    await subscriber.subscribe(1, [1000], on_lag=on_lag, queue=queue, window=1, **options)
    publisher.send(frame(types.Job(100)))
    assert plain(types, [await subscriber.next()]) == [100]


def counters(bus):
    stats = bus.stats()
    assert stats.balanced
    return stats.matched, stats.delivered, stats.dropped, stats.queued, stats.in_flight


ID = b"0123456789abcdef"


@contextlib.asynccontextmanager
async def small(types, max_memory, **limits):
    bus = MessageBus(types, max_memory=max_memory)
    async with bus.serve("tcp://127.0.0.1:0", limits=mycelium.Limits(**limits)) as bridge:
        yield bus, bridge
    await bus.close()
