"""Delivery over sockets, frame by frame: policies, flow, receipts, last values, requests, groups, memory."""

import asyncio
import contextlib
import gc
import resource
import socket
import time
from pathlib import Path

import pytest

import mycelium
from mycelium import MessageBus
from mycelium.bus.session import Session
from mycelium.bus.urls import parse_url
from mycelium.events import Recovered, SlowConsumer
from mycelium.schema.document import document_bytes
from mycelium.wire.buffer import Batch
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, SECONDS, Peer, peer_at, serving, until

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


@pytest.fixture
def types():
    return mycelium.load(TEXT)


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


# --- the six policies ---


@pytest.mark.parametrize(
    ("on_lag", "reason", "left", "told"),
    [
        (0, 0, [6, 7, 8, 9], []),
        (None, 0, [6, 7, 8, 9], []),
        (1, 1, [0, 1, 2, 3], []),
        (2, 2, [9], []),
        (4, 3, [0, 1, 2, 3], [error(11, REFUSES)]),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_p44_each_policy_to_the_frame(types, on_lag, reason, left, told, *, together):
    lost = 10 - len(left)
    async with pair(types) as (bus, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, on_lag)
        frames = [frame(types.Job(number)) for number in range(10)]
        for each in [b"".join(frames)] if together else frames:
            publisher.send(each)
            await publisher.writer.drain()
        assert plain(types, await publisher.barrier()) == told
        name = ["dropped_oldest", "dropped_newest", "conflated", "rejected"][reason]
        assert counters(bus) == (11, 0, {name: lost}, len(left), 1)
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, len(left)) == [lagged(lost, reason), *left]
        assert counters(bus) == (11, 1 + len(left), {name: lost}, 0, 0)


async def test_p44_latest_keeps_one_of_each_key(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await subscriber.subscribe(1, [1001], on_lag=2, queue=4, window=1)
        publisher.send(frame(types.Tick(9, 100)))
        await subscriber.next()
        publisher.send(*(frame(types.Tick(key, number)) for number, key in enumerate([1, 2, 1, 3, 2, 1, 1, 3, 2, 1])))
        await publisher.barrier()
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, 3) == [lagged(7, 2, 1001), 9, 8, 7]
        assert counters(bus) == (11, 4, {"conflated": 7}, 0, 0)


async def test_p44_disconnect_sends_the_client_away_and_nobody_else_notices(types):
    async with pair(types) as (bus, bridge, publisher, subscriber), peer_at(bridge.urls[0]) as other:
        await other.subscribe(1, [1000])
        await stuck(publisher, subscriber, types, 5)
        await other.next()
        publisher.send(b"".join(frame(types.Job(number)) for number in range(10)))
        assert await publisher.barrier() == []
        last = (await subscriber.ending())[-1]
        assert (last.code, last.fatal, last.message) == (14, True, "the queue of subscription 1 is full")
        got = []
        while len(got) < 10:
            got += plain(types, [await other.next()])
        assert got == [*range(10)]
        await subscriber.close()
        await until(lambda: bridge.closed)
        assert (bridge.closed[-1].client, bridge.closed[-1].reason) == ("subscriber", "slow_consumer")
        # four were queued and one was out; of the fifth the policy disposed, and what came after had no taker
        assert counters(bus) == (11 + 6, 11, {"disconnected": 6}, 0, 0)
        assert bus.exchange.ledger.used == 0


async def test_p51_an_episode_over_a_socket_is_told_once(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        events = bus.events()
        await stuck(publisher, subscriber, types)
        publisher.send(*(frame(types.Job(number)) for number in range(54)))
        await publisher.barrier()
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, 4) == [lagged(50, 0), 50, 51, 52, 53]
        told = [await events.next(1), await events.next(1)]
        assert isinstance(told[0], SlowConsumer)
        assert told[0].subscriber == "subscriber#1"
        assert told[1] == Recovered("subscriber#1", ("Job",), 50)


async def test_drops_are_told_within_a_second_though_no_message_comes(types):
    async with pair(types) as (_, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, queue=1)
        publisher.send(*(frame(types.Job(number)) for number in range(3)))
        start = time.monotonic()
        assert await subscriber.next() == lagged(2, 0)
        assert time.monotonic() - start < 1


# --- block ---


async def test_p45_block_pauses_its_type_and_loses_nothing(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3)
        publisher.send(b"".join(frame(types.Job(number)) for number in range(10)))
        assert await publisher.barrier() == [paused(1000)]
        assert counters(bus) == (11, 0, {}, 10, 1)
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, 10) == [*range(10)]
        assert await publisher.next() == resumed(1000)
        assert counters(bus) == (11, 11, {}, 0, 0)
        assert bus.stats().blocked_seconds > 0


async def test_p45_the_type_goes_on_when_the_queue_is_half_empty(types):
    async with pair(types) as (_, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3, queue=4)
        publisher.send(*(frame(types.Job(number)) for number in range(5)))
        assert await publisher.barrier() == [paused(1000)]
        for _ in range(2):
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            await subscriber.next()
            assert await publisher.barrier() == []
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        await subscriber.next()
        assert await publisher.barrier() == [resumed(1000)]


async def test_p45_a_queue_that_is_full_by_its_bytes_is_half_empty_by_its_bytes(types):
    async with pair(types, queue_bytes=100_000) as (_, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3, queue=100)
        publisher.send(*(frame(types.Job(number, bytes(30_000))) for number in range(5)))
        assert await publisher.barrier() == [paused(1000)]
        for number in range(4):
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            assert plain(types, [await subscriber.next()]) == [number]
            assert await publisher.barrier() == ([resumed(1000)] if number == 3 else [])


async def test_p45_without_room_in_time_messages_are_given_up_and_the_publisher_is_told(types):
    async with pair(types, block_seconds=0.2) as (bus, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 3, queue=1)
        publisher.send(*(frame(types.Job(number)) for number in range(3)))
        events = []
        while len(events) < 5:
            events.append(await publisher.next())
        assert [type(one).__name__ for one in events] == ["Receipt", "Flow", "Receipt", "Error", "Receipt"]
        assert events[-2:] == [error(12, TIMEOUT, sequence=3), receipt(3, 4, 1, 0, 1, 12)]
        assert counters(bus) == (4, 0, {"block_timeout": 2}, 1, 1)
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, 1) == [lagged(2, 4), 0]
        assert await publisher.next() == resumed(1000)


async def test_p45_a_mebibyte_sent_before_the_flow_was_read_is_taken_and_the_rest_rejected(types):
    count, size = 3000, 1024
    async with pair(types) as (bus, bridge, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 3, queue=1)
        frames = [frame(types.Job(number, bytes(size))) for number in range(count)]
        publisher.send(b"".join(frames))
        events = await publisher.barrier()
        errors = [one for one in events if type(one).__name__ == "Error"]
        rejected = bus.stats().dropped["rejected"]
        taken = count - rejected
        held = sum(map(len, frames[1:taken]))
        assert 1024 * 1024 <= held <= 1024 * 1024 + 64 * 1024 + len(frames[0])
        assert errors == [error(11, REFUSES, sequence=2 + taken)]
        (session,) = [one for one in bridge.sessions if one.client == "publisher"]
        assert session.intake.flow.held_bytes == held
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        got = [one for one in await handled(subscriber, types, taken) if isinstance(one, int)]
        assert got == [*range(taken)]
        events += await publisher.barrier()
        answered = [
            (number, one.code)
            for one in events
            if type(one).__name__ == "Receipt"
            for number in range(one.first, one.last + 1)
        ]
        assert len(answered) == count + 1
        assert dict(answered) == {number: None if number < 2 + taken else 11 for number in range(1, count + 2)}


async def test_p45_the_mebibyte_counts_each_frame_once_however_many_queues_it_waits_for(types):
    async with pair(types) as (bus, bridge, publisher, subscriber), peer_at(bridge.urls[0]) as second:
        await second.subscribe(1, [1000], on_lag=3, queue=1, window=1)
        await stuck(publisher, subscriber, types, 3, queue=1)
        publisher.send(b"".join(frame(types.Job(number, bytes(10_000))) for number in range(100)))
        assert await publisher.barrier() == [paused(1000)]
        assert counters(bus) == (202, 0, {}, 200, 2)


async def test_p45_a_publisher_that_leaves_has_what_it_sent_delivered(types):
    async with pair(types) as (bus, bridge, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3, queue=1)
        publisher.send(*(frame(types.Job(number)) for number in range(3)))
        await publisher.barrier()
        await publisher.close()
        await until(lambda: len(bridge.sessions) == 1)
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert await handled(subscriber, types, 3) == [0, 1, 2]
        assert counters(bus) == (4, 4, {}, 0, 0)


async def test_p45_a_subscriber_that_leaves_lets_its_publishers_go_on(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 3, queue=1)
        publisher.send(*(frame(types.Job(number)) for number in range(3)))
        events = await publisher.barrier()
        await subscriber.close()
        while len(events) < 5:
            events.append(await publisher.next())
        assert resumed(1000) in events
        # the one that was taken is the second frame; those that waited for room are dropped without a code
        assert receipt(3, 4, 1, 0, 1) in events
        await until(lambda: counters(bus) == (4, 0, {"disconnected": 4}, 0, 0))


async def test_p52_a_blocked_type_stops_neither_credit_nor_pong_nor_other_types(types):
    async with pair(types) as (_, bridge, publisher, subscriber), peer_at(bridge.urls[0]) as other:
        await other.subscribe(1, [1001])
        await stuck(publisher, subscriber, types, 3, queue=1)
        publisher.send(*(frame(types.Job(number)) for number in range(3)), frame(types.Tick(1, 7)))
        assert await publisher.barrier() == [paused(1000)]
        assert plain(types, [await other.next()]) == [7]
        subscriber.send(frame(types.Tick(1, 8)))
        assert await subscriber.barrier() == []
        assert plain(types, [await other.next()]) == [8]
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        assert plain(types, [await subscriber.next()]) == [0]


async def test_p45_a_handler_of_the_bridges_own_process_holds_socket_publishers_too(types):
    async with pair(types) as (bus, _, publisher, _):
        async with bus.messages(types.Job, on_lag="block", queue=2) as stream:
            publisher.send(*(frame(types.Job(number)) for number in range(5)))
            assert await publisher.barrier() == [paused(1000)]
            assert [(await stream.next(1)).number for _ in range(3)] == [0, 1, 2]
            assert await publisher.barrier() == []
            assert [(await stream.next(1)).number for _ in range(2)] == [3, 4]
            assert await publisher.barrier() == [resumed(1000)]
            publisher.send(*(frame(types.Job(number)) for number in range(5)))
            assert await publisher.barrier() == [paused(1000)]
        assert await publisher.next() == resumed(1000)


# --- receipts ---


async def test_receipts_number_frames_from_the_first_confirm_on_and_answer_each_once(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(frame(types.Job(0)), CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await publisher.barrier() == [receipt(1, 1, 0, 0)]
        await subscriber.subscribe(1, [1000])
        publisher.send(b"".join(frame(types.Job(number)) for number in range(5)))
        assert await publisher.barrier() == [receipt(2, 6, 1, 1)]
        publisher.send(CORE.Confirm(enabled=False), frame(types.Job(2)))
        assert await publisher.barrier() == []
        publisher.send(CORE.Confirm(enabled=True), frame(types.Job(3)))
        assert await publisher.barrier() == [receipt(7, 7, 1, 1)]


async def test_neighbours_with_other_outcomes_get_receipts_of_their_own(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 4, queue=2)
        got = []
        await bus.subscribe(got.append, types.Tick)
        bad = encode_frame(1000, b"\1")
        publisher.send(b"".join([*(frame(types.Job(n)) for n in range(4)), frame(types.Tick(1, 1)), bad]))
        events = await publisher.barrier()
        receipts = [one for one in events if type(one).__name__ == "Receipt"]
        assert receipts[1:] == [
            receipt(2, 3, 1, 1),
            receipt(4, 5, 1, 0, 1, 11),
            receipt(6, 6, 1, 1),
            receipt(7, 7, 0, 0, 0, 9),
        ]
        errors = [one for one in events if type(one).__name__ == "Error"]
        assert [(one.code, one.sequence) for one in errors] == [(11, 4), (9, 7)]


async def test_without_confirm_an_error_carries_no_number_and_comes_once_a_second(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, 4, queue=1)
        for _ in range(3):
            publisher.send(*(frame(types.Job(number)) for number in range(3)))
        assert await publisher.barrier() == [error(11, REFUSES)]
        assert counters(bus)[2] == {"rejected": 8}


# --- last values ---


async def test_last_values_are_announced_and_come_before_anything_newer(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        for number, key in enumerate([1, 2, 1, 3]):
            publisher.send(frame(types.State(key, number)))
        await publisher.barrier()
        await subscriber.subscribe(1, [1002, 1000], window=2)
        publisher.send(frame(types.State(9, 10)), frame(types.Job(11)))
        await publisher.barrier()
        assert await handled(subscriber, types, 5) == [CORE.Retained(subscription=1, messages=3), 1, 2, 3, 10, 11]
        assert counters(bus) == (5, 5, {}, 0, 0)


async def test_without_last_values_nothing_is_announced_and_a_second_subscribe_gets_new_types_only(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await subscriber.subscribe(1, [1002])
        assert await subscriber.barrier() == []
        bus.publish_nowait(types.State(1, 5))
        assert plain(types, [await subscriber.next()]) == [5]
        await subscriber.subscribe(1, [1002, 1000])
        assert await subscriber.barrier() == []
        await subscriber.subscribe(1, [1000])
        await subscriber.subscribe(1, [1000, 1002])
        assert await handled(subscriber, types, 1) == [CORE.Retained(subscription=1, messages=1), 5]
        await publisher.subscribe(7, [])
        assert await handled(publisher, types, 1) == [CORE.Retained(subscription=7, messages=1), 5]


async def test_last_values_wait_for_credit_and_count_when_they_are_taken(types):
    async with pair(types) as (bus, _, _, subscriber):
        for key in range(5):
            bus.publish_nowait(types.State(key, key))
        await subscriber.subscribe(1, [1002], window=2, queue=1)
        got = []
        while len(got) < 3:
            got += plain(types, [await subscriber.next()])
        assert (got, counters(bus)) == ([CORE.Retained(subscription=1, messages=5), 0, 1], (2, 0, {}, 0, 2))
        await subscriber.close()
        await until(lambda: counters(bus) == (2, 0, {"disconnected": 2}, 0, 0))
        assert bus.exchange.ledger.used == bus.exchange.retained.bytes


async def test_last_values_are_sent_as_announced_whatever_is_published_meanwhile(types):
    async with pair(types) as (bus, _, _, subscriber):
        for key in range(5):
            bus.publish_nowait(types.State(key, key))
        await subscriber.subscribe(1, [1002], window=1)
        for key in range(5):
            bus.publish_nowait(types.State(key, 10 + key))
        subscriber.send(CORE.Subscribe(request=9, subscription=1, type_ids=[1002]))
        got = []
        while len(got) < 12:
            got += [one for one in plain(types, [await subscriber.next()]) if type(one).__name__ != "Ack"]
        numbers = [one for one in got if isinstance(one, int)]
        assert numbers == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert [one.messages for one in got if one not in numbers] == [5, 4]
        assert bus.exchange.ledger.used == bus.exchange.retained.bytes


# --- requests ---

ID = b"0123456789abcdef"


async def test_a_reply_reaches_the_asking_session_alone_whether_or_not_it_subscribed(types):
    async with pair(types) as (bus, bridge, asking, answering), peer_at(bridge.urls[0]) as other:
        await other.subscribe(1, [1005])
        await answering.subscribe(1, [1004], window=1)
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        request = await answering.next()
        assert Metadata.from_tags(_tags(types, request)).reply_to == asking.session
        reply = frame(types.Answer(2), correlation=ID, deliver_to=asking.session)
        answering.send(reply)
        got = await asking.next()
        assert got.to_bytes() == reply
        assert await answering.barrier() == []
        answering.send(reply)
        (refused,) = await answering.barrier()
        assert (refused.code, refused.type_id, refused.fatal) == (10, 1005, False)
        assert await other.barrier() == []
        assert (bus.stats().replies, bus.stats().replies_dropped, bus.stats().matched) == (1, {"late": 1}, 1)


def _tags(types, batch):
    tags = {}
    types.registry.by_id[batch.type_ids[0]].codec.decode(batch.payload(0), tags)
    return tags


async def test_replies_to_nobody_are_denied_or_counted(types):
    async with pair(types) as (bus, bridge, asking, answering):
        await answering.subscribe(1, [1004])
        answering.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        (refused,) = await answering.barrier()
        assert refused.code == 10
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        await answering.next()
        await asking.close()
        await until(lambda: len(bridge.sessions) == 1)
        answering.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        assert await answering.barrier() == []
        assert bus.stats().replies_dropped == {"disconnected": 1}


async def test_a_request_that_nobody_wants_is_answered_so_and_its_reply_is_denied(types):
    async with pair(types) as (_, _, asking, other):
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        assert await asking.barrier() == [CORE.NoResponders(correlation=ID)]
        other.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        (refused,) = await other.barrier()
        assert refused.code == 10


async def test_a_requester_must_not_ask_in_the_name_of_another(types):
    async with pair(types) as (_, _, asking, other):
        await other.subscribe(1, [1004])
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=other.session))
        (refused,) = await asking.barrier()
        assert (refused.code, await other.barrier()) == (10, [])


async def test_the_bridges_own_process_asks_as_session_0_and_answers_clients(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        request = asyncio.ensure_future(bus.request(types.Ask(1), types.Answer, timeout=SECONDS))
        metadata = Metadata.from_tags(_tags(types, await answering.next()))
        assert metadata.reply_to == 0
        reply = frame(types.Answer(2), correlation=metadata.correlation, deliver_to=0)
        answering.send(reply)
        assert (await request).number == 2
        answering.send(reply)
        (refused,) = await answering.barrier()
        assert (refused.code, refused.fatal, refused.message) == (10, False, "somebody has replied to this already")
        assert (bus.stats().replies, bus.stats().replies_dropped) == (1, {"late": 1})
        await answering.close()

        @bus.reply(types.Ask)
        def answer(ask):
            return types.Answer(ask.number + 10)

        asking.send(frame(types.Ask(5), correlation=ID, reply_to=asking.session))
        got = await asking.next()
        assert plain(types, [got]) == [15]
        assert Metadata.from_tags(_tags(types, got)) == Metadata(correlation=ID, deliver_to=asking.session)


async def test_handlers_of_the_process_that_answer_too_late_or_nobody_are_counted(types):
    async with pair(types) as (bus, bridge, asking, leaving):
        gates = {1: asyncio.Event(), 2: asyncio.Event()}

        async def answer(ask, delivery: mycelium.Delivery):
            await gates[ask.number].wait()
            await delivery.reply(types.Answer(ask.number))

        for _ in range(2):
            await bus.subscribe(answer, types.Ask, concurrency=2)
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        leaving.send(frame(types.Ask(2), correlation=ID, reply_to=leaving.session))
        assert (await asking.barrier(), await leaving.barrier()) == ([], [])
        gates[1].set()
        assert plain(types, [await asking.next()]) == [1]
        assert await asking.barrier() == []
        await leaving.close()
        await until(lambda: len(bridge.sessions) == 1)
        gates[2].set()
        await until(lambda: counters(bus) == (4, 4, {}, 0, 0))
        assert (bus.stats().replies, bus.stats().replies_dropped) == (1, {"late": 1, "disconnected": 2})


async def test_a_reply_passes_no_queue_and_no_credit(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        await asking.subscribe(1, [1005], window=1, queue=1)
        for number in range(3):
            bus.publish_nowait(types.Answer(number))
        await asking.next()
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        await answering.next()
        answering.send(frame(types.Answer(99), correlation=ID, deliver_to=asking.session))
        assert 99 in plain(types, [await asking.next(), *(await asking.barrier())])


# --- groups and echoes ---


async def test_one_of_a_group_over_two_connections_and_this_process_gets_each_message(types):
    async with pair(types) as (bus, bridge, publisher, one), peer_at(bridge.urls[0]) as two:
        local = []
        await bus.subscribe(lambda job: local.append(job.number), types.Job, group="g")
        await one.subscribe(1, [1000], group="g")
        await two.subscribe(1, [], group="g")
        publisher.send(CORE.Confirm(enabled=True))
        for number in range(9):
            publisher.send(frame(types.Job(number)))
            assert await publisher.barrier() == [receipt(number + 1, number + 1, 1, 1)]
        got = [plain(types, await peer.barrier()) for peer in (one, two)]
        assert sorted([*local, *got[0], *got[1]]) == [*range(9)]
        assert (len(local), len(got[0])) == (3, 3)
        await one.close()
        await until(lambda: len(bridge.sessions) == 2)
        for number in range(4):
            publisher.send(frame(types.Job(number)))
            await publisher.barrier()
        assert len(local) == 5
        assert counters(bus) == (13, 13, {}, 0, 0)


async def test_p30_a_client_with_no_echo_gets_others_messages_only(types):
    async with pair(types) as (_, _, publisher, one):
        await one.subscribe(1, [1000], no_echo=True)
        await publisher.subscribe(1, [1000])
        one.send(CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await one.barrier() == [receipt(1, 1, 1, 1)]
        publisher.send(frame(types.Job(2)))
        assert plain(types, [await one.next()]) == [2]
        assert plain(types, [*await publisher.barrier(), *await publisher.barrier()]) == [1, 2]


async def test_p30_a_member_of_a_group_with_no_echo_leaves_its_own_messages_to_the_others(types):
    async with pair(types) as (_, _, one, two):
        await one.subscribe(1, [1000], group="g", no_echo=True)
        one.send(CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await one.barrier() == [receipt(1, 1, 0, 0)]
        await two.subscribe(1, [1000], group="g")
        one.send(*(frame(types.Job(number)) for number in (2, 3)))
        assert plain(types, await one.barrier()) == [receipt(2, 3, 1, 1)]
        assert plain(types, await two.barrier()) == [2, 3]


# --- memory ---


@contextlib.asynccontextmanager
async def small(types, max_memory, **limits):
    bus = MessageBus(types, max_memory=max_memory)
    async with bus.serve("tcp://127.0.0.1:0", limits=mycelium.Limits(**limits)) as bridge:
        yield bus, bridge
    await bus.close()


@pytest.mark.parametrize("flooder", ["a peer", "this process"])
async def test_p49_over_the_ceiling_the_oldest_go_and_publishers_are_asked_to_wait(types, flooder):
    limit = 512 * 1024
    async with (
        small(types, limit) as (bus, bridge),
        peer_at(bridge.urls[0]) as publisher,
        peer_at(bridge.urls[0]) as subscriber,
    ):
        await stuck(publisher, subscriber, types, 3)
        await subscriber.subscribe(1, [1000], window=1, on_lag=0)
        for number in range(200):
            job = types.Job(number, bytes(10_000))
            if flooder == "a peer":
                publisher.send(frame(job))
                await publisher.writer.drain()
            else:
                bus.publish_nowait(job)
            assert bus.exchange.ledger.used <= limit + 64 * 1024
        told = await publisher.until("Flow")
        assert (told.type_ids, told.paused, told.reason) == ([], True, "memory")
        await publisher.barrier()
        assert bus.stats().memory_used <= limit
        dropped = counters(bus)[2]
        assert dropped.keys() == {"memory"}
        late = Peer(*await asyncio.open_connection("127.0.0.1", parse_url(bridge.urls[0]).port))
        await late.hello()
        assert (await late.until("Flow")).paused
        await late.close()
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        left = 200 - dropped["memory"]
        got = await handled(subscriber, types, left)
        told = [one for one in got if type(one).__name__ == "Lagged"]
        assert sum(one.dropped for one in told) == dropped["memory"]
        assert {one.reason for one in told} == {5}
        assert [one for one in got if isinstance(one, int)] == [*range(200 - left, 200)]
        again = await publisher.until("Flow")
        assert (again.paused, bus.exchange.ledger.used) == (False, 0)


async def test_p50_a_frame_that_many_wait_for_is_held_once(types):
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(20)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        await asyncio.gather(*(peer.barrier() for peer in peers))
        bus.publish_nowait(types.Job(0))
        for peer in peers:
            await peer.next()
        for number in range(10):
            bus.publish_nowait(types.Job(number, bytes(48 * 1024)))
        assert counters(bus) == (220, 0, {}, 200, 20)
        assert bus.exchange.ledger.used == 10 * len(frame(types.Job(1, bytes(48 * 1024))))


# --- clients that do not read ---

FORTY = mycelium.load(
    "messages:\n"
    + "".join(f"  Blob{n}: {{tlv_type: {1000 + n}, fields: {{data: {{type: bytes}}}}}}\n" for n in range(40)),
)


@contextlib.asynccontextmanager
async def deaf_peer(url, types, **options):
    """A peer with a tiny receive buffer and forty subscriptions, that reads only when it is asked to."""
    made = socket.socket(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128)
    made.setblocking(False)  # noqa: FBT003
    address = parse_url(url)
    await asyncio.get_running_loop().sock_connect(made, (address.host, address.port))
    peer = Peer(*await asyncio.open_connection(sock=made, limit=256))
    await peer.hello()
    for number in range(40):
        await peer.subscribe(number + 1, [1000 + number], **options)
    try:
        yield peer
    finally:
        await peer.close()


async def last_words(peer):
    """Read everything after all, with a larger buffer, since it would take seconds."""
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return (await peer.ending())[-1]


async def test_p46_a_peer_with_too_much_outstanding_is_closed_and_both_sides_know_why():
    async with small(FORTY, 1 << 30) as (bus, bridge), deaf_peer(bridge.urls[0], FORTY, window=1000) as peer:
        (session,) = bridge.sessions
        blob = bytes(1024 * 1024 - 64)
        start = time.monotonic()
        for number in range(100):
            bus.publish_nowait(FORTY[f"Blob{number % 40}"](blob))
        async with asyncio.timeout(2):
            await until(lambda: session.reason)
        assert time.monotonic() - start < 2
        last = await last_words(peer)
        assert (last.code, last.fatal, session.reason) == (14, True, "slow_consumer")
        assert "bytes wait for it, over 33554432" in last.message
        await peer.close()
        await until(lambda: bridge.closed)
        assert bridge.closed[-1].reason == "slow_consumer"
        stats = bus.stats()
        assert (stats.balanced, stats.matched, stats.queued, stats.in_flight) == (True, 100, 0, 0)
        assert bus.exchange.ledger.used == 0


async def test_p47_a_peer_that_takes_nothing_is_closed_after_its_time():
    async with (
        small(FORTY, 1 << 30, stall_seconds=0.5) as (bus, bridge),
        deaf_peer(bridge.urls[0], FORTY, window=1000) as peer,
    ):
        (session,) = bridge.sessions
        start = time.monotonic()
        for number in range(8):
            bus.publish_nowait(FORTY[f"Blob{number}"](bytes(1024 * 1024)))
        await until(lambda: session.reason)
        assert 0.5 <= time.monotonic() - start < 1.5
        last = await last_words(peer)
        assert (last.code, last.message) == (14, "it has read nothing for 0.5 s")


async def test_p47_what_waits_for_credit_is_nobodys_fault():
    async with (
        small(FORTY, 1 << 30, stall_seconds=0.3, outbound_bytes=100_000) as (bus, bridge),
        deaf_peer(bridge.urls[0], FORTY, window=1) as peer,
    ):
        for number in range(50):
            bus.publish_nowait(FORTY.Blob0(bytes(10_000 + number)))
        assert len(await peer.next()) == 1
        await asyncio.sleep(0.8)
        assert await peer.barrier() == []
        assert bus.stats().queued == 49


async def test_p43_one_stuck_among_twenty_has_an_exact_count_and_stays(types):
    count = 1000
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(20)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=10, queue=20 if peer is peers[0] else 2000)
        readers = [asyncio.ensure_future(handled(peer, types, count)) for peer in peers[1:]]
        for number in range(count):
            await bus.publish(types.Job(number))
            if number == 9:  # these are out before there is more than the queue holds
                await until(lambda: counters(bus)[3] == 0)
        for got in await asyncio.gather(*readers):
            assert (
                len(got),
                [one for one in got if not isinstance(one, int)][:5],
                sorted(one for one in got if isinstance(one, int)) == [*range(count)],
            ) == (count, [], True)
            assert got == [*range(count)]
        events = plain(types, await peers[0].barrier())
        assert [one for one in events if isinstance(one, int)] == [*range(10)]
        lost = sum(one.dropped for one in [*events, *await peers[0].barrier()] if not isinstance(one, int))
        assert counters(bus) == (20 * count, 19 * count, {"dropped_oldest": count - 30}, 20, 10)
        if lost < count - 30:  # the rest is told with the next tick
            lost += (await peers[0].until("Lagged")).dropped
        assert lost == count - 30


async def test_p48_a_flooder_takes_nothing_from_a_pair_of_bystanders(types):
    asyncio.get_running_loop().set_debug(False)
    async with (
        small(types, 1 << 30) as (bus, bridge),
        peer_at(bridge.urls[0]) as flooder,
        peer_at(bridge.urls[0]) as sink,
        peer_at(bridge.urls[0]) as speaker,
        peer_at(bridge.urls[0]) as listener,
    ):
        await sink.subscribe(1, [1000], window=1)
        await listener.subscribe(1, [1001], window=100)

        async def flood():
            chunk = b"".join(frame(types.Job(number)) for number in range(1000))
            while True:
                flooder.send(chunk)
                await flooder.writer.drain()
                await asyncio.sleep(0)

        async def talk(count):
            times = []
            for number in range(count):
                start = time.perf_counter()
                speaker.send(frame(types.Tick(1, number)))
                assert plain(types, [await listener.next()]) == [number]
                listener.send(CORE.Credit(subscription=1, messages=1))
                times.append(time.perf_counter() - start)
            return sorted(times)

        quiet = await talk(100)
        flooding = asyncio.ensure_future(flood())
        busy = await talk(100)
        flooding.cancel()
        await asyncio.wait([flooding])
        assert busy[98] < max(3 * quiet[98], quiet[98] + 0.25)  # 10 ms on a machine of its own
        assert bus.stats().published > 10_000


# --- what others must not notice, and what must not stay ---


async def test_publishers_that_come_and_go_are_forgotten_while_their_subscriber_stays_stuck(types):
    async with pair(types, block_seconds=0.05) as (bus, bridge, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3, queue=1)
        for number in range(20):
            async with peer_at(bridge.urls[0]) as visitor:
                visitor.send(*(frame(types.Job(number)) for _ in range(3)))
                await visitor.barrier()
        await until(lambda: len(bridge.sessions) == 2 and bus.stats().queued == 1)
        await until(lambda: not bridge._holding)
        gc.collect()
        assert sum(type(one) is Session and one._host is bridge for one in gc.get_objects()) == 2
        assert counters(bus) == (61, 0, {"block_timeout": 59}, 1, 1)


async def test_what_a_client_gave_up_by_replacing_its_types_is_not_sent_though_it_waited_for_room(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await subscriber.subscribe(1, [1000, 1001], on_lag=3, queue=1, window=1)
        publisher.send(*(frame(types.Job(number)) for number in range(4)), frame(types.Tick(1, 50)))
        assert await publisher.barrier() == [paused(1000), paused(1001)]
        assert plain(types, await subscriber.barrier()) == [0]
        await subscriber.subscribe(1, [1001], on_lag=3, queue=1, window=5)
        assert await handled(subscriber, types, 1) == [lagged(2, 8), 50]
        assert sorted(one.type_ids[0] for one in await publisher.barrier()) == [1000, 1001]
        assert counters(bus) == (5, 1, {"disconnected": 3}, 0, 1)


async def test_a_receipt_comes_as_soon_as_the_last_queue_has_decided(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 3, queue=1)
        waits = []
        for number in range(6):
            publisher.send(frame(types.Job(number)), frame(types.Job(number)))
            await publisher.barrier()
            start = time.perf_counter()
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            await subscriber.next()
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            await publisher.until("Receipt")
            waits.append(time.perf_counter() - start)
            await subscriber.next()
            await publisher.barrier()
        assert sorted(waits)[3] < 0.1  # a tick comes four times a second


async def test_the_first_error_of_a_type_that_a_client_declares_carries_the_number_of_its_frame():
    own = mycelium.load(TEXT + "  Extra: {tlv_type: 1500, fields: {number: {type: u32}}}\n")
    async with serving(mycelium.load(TEXT)) as (_, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        digest = bytes.fromhex(own.schema.digest)
        hello = CORE.Hello(protocol=1, client="own", schema_digest=digest)
        peer.send(peer._connection.send(hello))
        await peer.until("NeedContracts")
        again = CORE.Hello(protocol=1, client="own", schema_digest=digest, contracts=document_bytes(own.schema))
        peer.send(peer._connection.send(again))
        await peer.until("Welcome")
        peer.send(CORE.Confirm(enabled=True), frame(own.Job(1)), frame(own.Extra(1)), frame(own.Extra(2)))
        events = await peer.barrier()
        errors = [one for one in events if type(one).__name__ == "Error"]
        assert [(one.code, one.type_id, one.sequence) for one in errors] == [(8, 1500, 2)]
        assert [one for one in events if one not in errors] == [receipt(1, 1, 0, 0), receipt(2, 3, 0, 0, 0, 8)]


async def test_a_last_value_of_a_client_says_who_published_it_and_asks_nobody(types):
    async with pair(types) as (bus, _, publisher, _):
        publisher.send(frame(types.State(1, 5), published_at=77, origin=(publisher.session, 3)))
        publisher.send(frame(types.State(2, 6), correlation=ID, reply_to=publisher.session))
        await publisher.barrier()
        got = []

        def handler(state, delivery: mycelium.Delivery):
            got.append((state.number, delivery.retained, delivery.publisher, delivery.sequence, delivery.published_at))
            assert not delivery.is_request

        await bus.subscribe(handler, types.State)
        assert got == [(5, True, publisher.session, 3, 77), (6, True, None, None, None)]


async def test_a_last_value_that_forced_contracts_cannot_read_breaks_no_subscribe(types):
    async with pair(types) as (bus, _, publisher, _):
        publisher.send(frame(types.State(1, 5)))
        await publisher.barrier()
        fields = "fields: {id: {type: u8}, number: {type: %s}}}\n  Ask"
        types.apply(mycelium.load(TEXT.replace(fields % "u32", fields % "u64")).schema)
        got = []
        await bus.subscribe(lambda one: got.append(one.number), types.State)
        bus.publish_nowait(types.State(1, 1 << 40))
        assert got == [1 << 40]


async def test_last_values_that_forced_contracts_cannot_read_are_there_again_with_those_that_can(types):
    schema = types.schema
    fields = "fields: {id: {type: u8}, number: {type: %s}}}\n  Ask"
    async with pair(types) as (bus, bridge, _, _):

        async def announced(number):
            async with peer_at(bridge.urls[0]) as peer:
                await peer.subscribe(number, [1002])
                events = await peer.barrier()
                return [one.messages for one in events if type(one).__name__ == "Retained"]

        bus.publish_nowait(types.State(1, 1))
        bus.publish_nowait(types.State(2, 2))
        types.apply(mycelium.load(TEXT.replace(fields % "u32", fields % "u64")).schema)
        assert await announced(1) == []
        bus.publish_nowait(types.State(1, 1 << 40))
        assert await announced(1) == [1]
        types.apply(schema)
        assert await announced(1) == [1]
        bus.publish_nowait(types.State(3, 3))
        got = []
        await bus.subscribe(lambda one: got.append(one.number), types.State)
        assert got == [2, 3]
        assert bus.stats().retained == 3


# --- at full size ---


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
async def test_p49_fifty_stopped_subscribers_and_a_flood_stay_under_the_ceiling(types):
    asyncio.get_running_loop().set_debug(False)
    limit = 64 * 1024 * 1024
    async with small(types, limit) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(50)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        publisher = await stack.enter_async_context(peer_at(bridge.urls[0]))
        pads = [bytes([number]) * 10_000 for number in range(50)]
        before = resident()
        for number in range(30_000):  # 300 MB
            publisher.send(frame(types.Job(number, pads[number % 50])))
            await publisher.writer.drain()
        await publisher.barrier()
        assert resident() - before <= limit * 1.1 + 16 * 1024 * 1024
        assert bus.stats().memory_used <= limit
        assert bus.stats().balanced


@pytest.mark.slow
async def test_p50_a_large_message_for_thousands_is_one_buffer(types):
    asyncio.get_running_loop().set_debug(False)
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(bus.messages(types.Job)) for _ in range(5000)]
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(200)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        bus.publish_nowait(types.Job(0))
        for peer in peers:
            await peer.next()
        before = resident()
        bus.publish_nowait(types.Job(1, bytes(48 * 1024)))  # copies would be 250 MB
        assert resident() - before <= before * 0.1
        assert len(streams) * 2 + len(peers) * 2 == bus.stats().matched


async def test_replies_that_come_second_never_send_a_session_away(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        asked = bytes(15) + b"\1"
        asking.send(frame(types.Ask(1), correlation=asked, reply_to=asking.session))
        reply = frame(types.Answer(2), correlation=asked, deliver_to=asking.session)
        await answering.next()
        answering.send(*[reply] * 200)
        told = await answering.barrier()
        assert [one.message for one in told] == ["somebody has replied to this already"]
        assert bus.stats().replies_dropped == {"late": 199}
        await answering.barrier()  # it is still there


async def test_last_values_that_new_contracts_cannot_read_are_not_sent(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(frame(types.State(id=1, number=7)))
        await publisher.barrier()
        types.apply(mycelium.load(TEXT.replace("id: {type: u8}, number", "id: {type: u16}, number")).schema)
        await subscriber.subscribe(1, [1002])
        assert await subscriber.barrier() == []


async def test_a_bridge_that_closes_sends_the_last_values_that_it_has_announced(types):
    async with pair(types) as (_, bridge, publisher, subscriber):
        for number in range(3):
            publisher.send(frame(types.State(id=number, number=number)))
        await publisher.barrier()
        await subscriber.subscribe(1, [1002], window=1)
        assert await subscriber.next() == CORE.Retained(subscription=1, messages=3)
        closing = asyncio.ensure_future(bridge.close(SECONDS))
        got = []
        while (event := await subscriber.next()) is not None:
            if isinstance(event, Batch):
                got += plain(types, [event])
                subscriber.send(CORE.Credit(subscription=1, messages=1))
            elif type(event).__name__ == "Goodbye":
                subscriber.send(event)
                publisher.send(event)
        assert got == [0, 1, 2]
        await closing
