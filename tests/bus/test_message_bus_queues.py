"""Queues of the bus inside a process: what they drop, iterators that are cancelled, one subscription by itself."""

import asyncio
import gc
import logging

import pytest

import mycelium
from mycelium import ClosedError, Delivery, MessageBus
from mycelium.bus.options import Options
from mycelium.bus.subscription import LocalSubscription
from peers import SECONDS, turns, until


@pytest.fixture
def bus(contracts):
    return MessageBus(contracts)


@pytest.fixture
def types(contracts):
    return contracts


# --- queues ---


async def test_p44_a_full_queue_drops_its_oldest_and_counts_them(bus, types):
    gate, got = asyncio.Event(), []

    async def handler(message):
        got.append(message.value)
        await gate.wait()

    subscription = await bus.subscribe(handler, types.Ping, queue=4)
    bus.publish_nowait(types.Ping(value="in the handler"))
    await until(lambda: got)
    for number in range(10):
        bus.publish_nowait(types.Ping(value=str(number)))
    stats = subscription.stats()
    assert (stats.matched, stats.dropped, stats.queued, stats.in_flight) == (11, {"dropped_oldest": 6}, 4, 1)
    assert stats.balanced
    gate.set()
    await until(lambda: len(got) == 5)
    assert got == ["in the handler", "6", "7", "8", "9"]
    assert subscription.stats().delivered == 5


async def test_an_iterators_queue_is_bounded_too(bus, types):
    async with bus.messages(types.Ping, queue=3) as stream:
        for number in range(5):
            bus.publish_nowait(types.Ping(value=str(number)))
        assert [(await stream.next()).value for _ in range(3)] == ["2", "3", "4"]
        assert stream.stats().dropped == {"dropped_oldest": 2}


async def test_an_idle_subscription_has_no_task(bus, types):
    async def handler(_): ...

    await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    assert len(asyncio.all_tasks()) == 2
    await until(lambda: len(asyncio.all_tasks()) == 1)


# --- iterators ---


async def test_messages_are_iterated_and_the_end_of_the_block_unsubscribes(bus, types):
    async with bus.messages(types.Ping) as stream:
        for number in range(3):
            bus.publish_nowait(types.Ping(value=str(number)))
        got = []
        async for message in stream:
            got.append(message.value)
            if len(got) == 3:
                break
    assert got == ["0", "1", "2"]
    assert repr(bus).endswith(", 0 subscriptions>")
    with pytest.raises(ClosedError):
        await stream.next()
    assert [message async for message in stream] == []


async def test_a_plain_loop_unsubscribes_when_it_is_left(bus, types):
    async def publish():
        await until(lambda: bus._dispatcher.subscriptions)
        bus.publish_nowait(types.Ping(value="x"))

    publishing = asyncio.ensure_future(publish())
    async for message in bus.messages(types.Ping):
        assert message.value == "x"
        break
    await publishing
    gc.collect()
    await turns()
    assert not bus._dispatcher.subscriptions


async def test_next_times_out_and_takes_nothing(bus, types):
    async with bus.messages(types.Ping) as stream:
        with pytest.raises(TimeoutError):
            await stream.next(timeout=0)
        with pytest.raises(TimeoutError):
            await stream.next(timeout=0.01)
        bus.publish_nowait(types.Ping(value="x"))
        assert await stream.next(timeout=0) == types.Ping(value="x")


async def test_p81_ten_thousand_cancel_races_lose_nothing_and_double_nothing(bus, types):
    asyncio.get_running_loop().set_debug(False)  # it would take ten times as long
    got, sent = [], 0
    async with bus.messages(types.CounterUpdate) as stream:
        while sent < 10_000:
            waiting = asyncio.ensure_future(stream.next(timeout=SECONDS if sent % 3 else 0))
            for _ in range(sent % 4):
                await asyncio.sleep(0)
            bus.publish_nowait(types.CounterUpdate(sent, 0, 0))
            sent += 1
            if sent % 5:
                waiting.cancel()
            (result,) = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(result, types.CounterUpdate):
                got.append(result.counter_id)
        while stream.stats().queued:
            got.append((await stream.next()).counter_id)
    assert got == list(range(10_000))


async def test_p81_timeouts_that_race_with_arrivals_take_a_message_or_leave_it(bus, types):
    got = []
    async with bus.messages(types.CounterUpdate) as stream:
        for number in range(300):
            asyncio.get_running_loop().call_later(0.0005, bus.publish_nowait, types.CounterUpdate(number, 0, 0))
            try:
                got.append((await stream.next(timeout=0.0005)).counter_id)
            except TimeoutError:
                got.append((await stream.next(timeout=SECONDS)).counter_id)
    assert got == list(range(300))


async def test_concurrent_callers_of_next_share_the_messages(bus, types):
    stream = bus.messages(types.CounterUpdate)
    takers = [asyncio.ensure_future(stream.next(timeout=SECONDS)) for _ in range(50)]
    await turns(60)
    assert len(bus._dispatcher.subscriptions) == 1
    takers[7].cancel()
    for number in range(49):
        bus.publish_nowait(types.CounterUpdate(number, 0, 0))
    results = await asyncio.gather(*takers, return_exceptions=True)
    assert sorted(one.counter_id for one in results if isinstance(one, types.CounterUpdate)) == list(range(49))
    await stream.aclose()


async def test_several_tasks_on_one_iterator_share_its_messages(bus, types):
    got = []

    async def take(stream):
        async for message in stream:
            got.append(message.counter_id)
            await asyncio.sleep(0)

    async with bus.messages(types.CounterUpdate) as stream:
        tasks = [asyncio.ensure_future(take(stream)) for _ in range(5)]
        for number in range(200):
            await bus.publish(types.CounterUpdate(number, 0, 0))
        await until(lambda: len(got) == 200)
    await asyncio.gather(*tasks)
    assert sorted(got) == list(range(200))


async def test_a_consumer_with_a_full_queue_lets_others_run(bus, types):
    async with bus.messages(types.CounterUpdate) as stream:
        for number in range(1000):
            bus.publish_nowait(types.CounterUpdate(number, 0, 0))
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, True)  # noqa: FBT003
        for number in range(200):
            assert (await stream.next()).counter_id == number
        assert ran


async def test_stats_of_a_stream_need_it_to_have_begun(bus, types):
    with pytest.raises(ClosedError, match="has not begun"):
        bus.messages(types.Ping).stats()


async def test_a_stream_that_was_closed_before_it_began_stays_closed(bus, types):
    stream = bus.messages(types.Ping)
    await stream.aclose()
    with pytest.raises(ClosedError):
        await stream.next()
    assert repr(stream) == "<Stream that has not begun>"


# --- one subscription by itself ---


async def test_a_subscription_says_what_it_is(bus, types):
    async def on_ping(_): ...

    subscription = await bus.subscribe(on_ping, types.Ping)
    assert repr(subscription).endswith("on_ping to [1010], 0 queued>")
    await subscription.unsubscribe()
    assert repr(subscription).endswith("on_ping to [1010], closed>")
    assert repr(LocalSubscription(frozenset([1]), None)) == "<Subscription of an iterator to [1], 0 queued>"


async def test_done_is_called_once_for_each_message_whatever_becomes_of_it(types, caplog):
    caplog.set_level(logging.CRITICAL)
    done = []
    subscription = LocalSubscription(frozenset([1010]), None, Options(queue=2))
    for number in range(5):
        subscription.offer(types.Ping(value=str(number)), Delivery(), lambda _, number=number: done.append(number))
    assert done == [0, 1, 2]
    await subscription.next()
    subscription.close()
    subscription.offer(types.Ping(value="late"), Delivery(), lambda _: done.append("late"))
    assert done == [0, 1, 2, 3, 4, "late"]
    assert await subscription.next() == types.Ping(value="4")
    assert done == [0, 1, 2, 3, 4, "late"]


async def test_an_overflow_is_said_once_until_the_queue_has_been_empty_again(contracts, caplog):
    bus = mycelium.MessageBus(contracts)
    async with bus.messages(contracts.Ping, queue=2) as stream:
        for episode in (1, 2):
            for number in range(10):
                bus.publish_nowait(contracts.Ping(str(number)))
            assert caplog.text.count("an iterator is too slow: 2 messages wait, and drop_oldest acts") == episode
            assert [(await stream.next(1)).value, (await stream.next(1)).value] == ["8", "9"]
    await bus.close()
