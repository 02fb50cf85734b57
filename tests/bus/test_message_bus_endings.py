"""How subscriptions and the bus inside a process end: from inside handlers, twice, cancelled, and for who waits."""

import asyncio

import pytest

from mycelium import ClosedError, MessageBus
from peers import SECONDS, turns, until


@pytest.fixture
def bus(contracts):
    return MessageBus(contracts)


@pytest.fixture
def types(contracts):
    return contracts


# --- unsubscribing ---


async def test_nothing_follows_unsubscribe(bus, types):
    got = []
    subscription = await bus.subscribe(got.append, types.Ping)
    bus.publish_nowait(types.Ping(value="1"))
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    bus.publish_nowait(types.Ping(value="2"))
    assert [message.value for message in got] == ["1"]
    assert subscription.closed


async def test_a_handler_finishes_the_message_that_it_has_and_gets_no_other(bus, types):
    gate, got = asyncio.Event(), []

    async def handler(message):
        await gate.wait()
        got.append(message.value)

    subscription = await bus.subscribe(handler, types.Ping)
    for number in range(3):
        bus.publish_nowait(types.Ping(value=str(number)))
    await turns()
    leaving = asyncio.ensure_future(subscription.unsubscribe())
    await turns()
    assert not leaving.done()
    gate.set()
    await leaving
    assert got == ["0"]
    stats = subscription.stats()
    assert (stats.delivered, stats.dropped) == (1, {"disconnected": 2})
    assert stats.balanced


async def test_a_handler_that_unsubscribes_another_keeps_it_from_the_message_at_hand(bus, types):
    got = []
    subscriptions = []

    def first(_):
        subscriptions[0].close()

    await bus.subscribe(first, types.Ping)
    subscriptions.append(await bus.subscribe(got.append, types.Ping))
    bus.publish_nowait(types.Ping(value="x"))
    assert got == []
    assert subscriptions[0].stats().matched == 0


async def test_p80_unsubscribe_close_and_subscribe_inside_a_handler_return(bus, types):
    done = []

    async def handler(_):
        await bus.subscribe(done.append, types.Pong)
        await subscription.unsubscribe()
        done.append("unsubscribed")
        await bus.close()
        done.append("closed")

    subscription = await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value="x"))
    async with asyncio.timeout(1):
        await until(lambda: done[-1:] == ["closed"])
        await bus.close()
    assert done == ["unsubscribed", "closed"]


async def test_p80_two_handlers_that_both_close_the_bus_return(bus, types):
    done = []

    async def handler(message):
        await bus.close()
        done.append(message.value)

    await bus.subscribe(handler, types.Ping)
    await bus.subscribe(handler, types.Pong)
    bus.publish_nowait(types.Ping(value="1"))
    bus.publish_nowait(types.Pong(value="2"))
    async with asyncio.timeout(1):
        await until(lambda: len(done) == 2)


# --- the end ---


async def test_close_lets_handlers_finish_what_they_have_and_publish_meanwhile(bus, types):
    got = []

    async def relay(message):
        await turns()
        bus.publish_nowait(types.Pong(value=message.value))

    async def take(message):
        await turns()
        got.append(message.value)

    await bus.subscribe(relay, types.Ping)
    await bus.subscribe(take, types.Pong)
    for number in range(10):
        bus.publish_nowait(types.Ping(value=str(number)))
    closing = asyncio.ensure_future(bus.close())
    await turns(1)
    with pytest.raises(ClosedError):
        bus.publish_nowait(types.Ping(value="late"))
    with pytest.raises(ClosedError):
        await bus.subscribe(print, types.Ping)
    await asyncio.gather(closing, bus.close())
    assert got == [str(number) for number in range(10)]


async def test_p88_a_closed_bus_refuses_everything_and_may_be_closed_again(bus, types):
    stream = bus.messages(types.Ping)
    await bus.close()
    await bus.close()
    for refused in (bus.publish(types.Ping(value="x")), bus.subscribe(print, types.Ping), stream.next()):
        with pytest.raises(ClosedError):
            await refused


async def test_close_gives_out_what_an_iterator_has_and_ends_it(bus, types):
    async with bus.messages(types.Ping) as stream:
        bus.publish_nowait(types.Ping(value="x"))
        await bus.close()
        assert [message.value async for message in stream] == ["x"]
        with pytest.raises(ClosedError, match="nothing more comes"):
            await stream.next(timeout=SECONDS)


async def test_close_ends_those_who_wait(bus, types):
    async with bus.messages(types.Ping) as stream:
        waiting = [asyncio.ensure_future(stream.next()) for _ in range(3)]
        await turns()
        await bus.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in results] == [ClosedError] * 3


async def test_a_handler_that_never_returns_is_cancelled_by_close(bus, types, monkeypatch):
    monkeypatch.setattr("mycelium.bus.bus._CLOSE_SECONDS", 0.05)
    cancelled = []

    async def stuck(_):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    subscription = await bus.subscribe(stuck, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    bus.publish_nowait(types.Ping(value=""))
    await turns()
    await bus.close()
    assert cancelled == [True]
    assert subscription.stats().balanced


async def test_a_close_that_is_cancelled_goes_on(bus, types):
    gate = asyncio.Event()

    async def handler(_):
        await gate.wait()

    await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    await turns()
    closing = asyncio.ensure_future(bus.close())
    await turns()
    closing.cancel()
    await asyncio.wait([closing])
    gate.set()
    await bus.close()
