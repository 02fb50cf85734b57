"""Lag policies over sockets, frame by frame: the six of them, and the flow of a publisher that has to wait."""

import time

import pytest
from deliveries import (
    REFUSES,
    TEXT,
    TIMEOUT,
    counters,
    error,
    frame,
    handled,
    lagged,
    pair,
    paused,
    plain,
    receipt,
    resumed,
    stuck,
)

import mycelium
from mycelium.events import Recovered, SlowConsumer
from peers import CORE, peer_at, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


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
