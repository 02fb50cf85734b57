"""Subscriptions over a lost connection: what is restored and what is not, and what credit still counts."""

import asyncio

import pytest
from faults import Proxy

import mycelium
from mycelium import AuthError, MyceliumClient, events
from mycelium.bus.clientstate import ClientState
from mycelium.wire.frames import encode_frame
from peers import CORE, SECONDS, answer, of, serving, sessions, until

pytestmark = pytest.mark.usefixtures("quick")


async def test_p60_what_was_unsubscribed_offline_is_not_restored_and_what_was_subscribed_is_added(contracts, listen):
    got = []
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        leaving = await client.subscribe(print, contracts.Ping)
        await client.subscribe(got.append, contracts.Pong)
    await until(lambda: client.state is ClientState.RECONNECTING)
    await leaving.unsubscribe()
    adding = asyncio.ensure_future(client.subscribe(got.append, contracts.CounterUpdate))
    await asyncio.sleep(0)
    assert not adding.done()
    async with serving(contracts, listen) as (bus, _):
        await adding
        assert [len(bus.router.takers(type_id)) for type_id in (1010, 1011)] == [0, 1]
        await bus.publish(contracts.CounterUpdate(1, 2, 3))
        await until(lambda: got)
        await client.close()


async def test_subscribing_while_there_is_no_bridge_takes_as_long_as_the_timeout_and_leaves_nothing(contracts, listen):
    client = MyceliumClient(contracts, timeout=0.1)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    with pytest.raises(TimeoutError):
        await client.subscribe(print, contracts.Ping)
    with pytest.raises(TimeoutError):
        await client.flush()
    assert not client._inbox.dispatcher.subscriptions
    await client.close()


async def test_a_subscription_that_the_bridge_refuses_after_a_reconnect_ends_and_the_others_go_on(contracts):
    async def first(session):
        await session.welcome(contracts.schema)
        for _ in range(2):
            await answer(session, until_name="Subscribe")

    async def second(session):
        await session.welcome(contracts.schema)
        refused = await session.next()
        session.send(CORE.Error(code=10, message="not any more", request=refused.request, fatal=False))
        kept = await session.next()
        session.send(CORE.Ack(request=kept.request), encode_frame(1011, contracts.Pong(value="x").to_bytes()))
        await answer(session)

    got = []
    async with sessions(first, second) as bridge:
        client = MyceliumClient(contracts)
        stream = client.events()
        await client.connect(bridge.url)
        async with client.messages(contracts.Ping) as messages:
            await client.subscribe(got.append, contracts.Pong)
            with pytest.raises(AuthError, match="not any more"):
                await messages.next(SECONDS)
        await until(lambda: got)
        while not isinstance(event := await stream.next(SECONDS), events.SubscriptionRefused):
            pass
        assert event == events.SubscriptionRefused("an iterator", ("Ping",), 10, "not any more")
        await client.close()


async def test_credit_of_an_old_connection_is_not_given_to_the_new_one(contracts):
    heard, frame = [], encode_frame(1010, contracts.Ping(value="x").to_bytes())

    async def first(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")
        session.send(*[frame] * 4)
        await session.writer.drain()
        await gone.wait()

    async def second(session):
        await session.welcome(contracts.schema)
        await answer(session, heard, "Subscribe")
        again.set()
        await answer(session, heard)

    gone, again, gate, got = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def slow(message):
        await gate.wait()
        got.append(message)

    async with sessions(first, second) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(slow, contracts.Ping, window=4)
        await until(lambda: client.stats().matched == 4)
        gone.set()
        await again.wait()
        await until(lambda: client.state is ClientState.CONNECTED)
        gate.set()
        await until(lambda: len(got) == 4)
        await client.flush()
        client._inbox.settle()
        await client.flush()
        assert of("Credit", heard) == []
        await client.close()


async def test_unsubscribes_that_a_lost_connection_leaves_unanswered_leave_nothing(contracts):
    async def serve(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Goodbye")

    async def deaf(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")
        while type(await session.next()).__name__ != "Unsubscribe":
            pass

    async with sessions(*[deaf] * 3, serve) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        for _ in range(3):
            subscription = await client.subscribe(print, contracts.Ping)
            await subscription.unsubscribe()
            await until(lambda: client.state is ClientState.RECONNECTING)
            await until(lambda: client.state is ClientState.CONNECTED)
        carriage = client._inbox._carriage
        assert (carriage._credits, carriage._confirmations) == ({}, {})
        await client.close()


async def test_what_handlers_still_have_of_earlier_connections_is_taken_off_the_window(contracts):
    bus, client, got, gate = mycelium.MessageBus(contracts), MyceliumClient(contracts), [], asyncio.Event()

    async def slow(message):
        await gate.wait()
        got.append(message.value)

    async with bus.serve("tcp://127.0.0.1:0") as bridge, Proxy(bridge.urls[0]) as proxy:
        await client.connect(proxy.url)
        await client.subscribe(slow, contracts.Ping, window=8)
        for epoch in range(1, 5):
            for number in range(20):
                await bus.publish(contracts.Ping(value=f"{epoch}:{number}"))
            await client.flush()
            assert client.stats().matched == 8 + epoch - 1  # a window has at least one
            await proxy.cut()
            await until(lambda epoch=epoch: client.stats().reconnects == epoch)
        gate.set()
        await until(lambda: client.stats().delivered == 11)
        await until(lambda: [one.outbox.window for each in bridge.sessions for one in each.subscriptions] == [8])
        gate.clear()
        got.clear()
        for number in range(20):
            await bus.publish(contracts.Ping(value=str(number)))
        await until(lambda: client.stats().matched == 11 + 8)
        gate.set()
        await until(lambda: len(got) == 20)
        assert got == list(map(str, range(20)))
        assert client._inbox._carriage._backlogs == {}
        await client.close()
    await bus.close()


async def test_who_asked_to_be_disconnected_when_too_slow_is_and_the_others_come_back(contracts, listen):
    gate, got = asyncio.Event(), []

    async def slow(_):
        await gate.wait()

    async with serving(contracts, listen) as (bus, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        slow_one = await client.subscribe(slow, contracts.Ping, on_lag="disconnect", queue=2, window=1)
        await client.subscribe(got.append, contracts.Pong)
        for _ in range(10):
            bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: client._life.epoch == 2)
        assert slow_one.closed
        await bus.publish(contracts.Pong(value="x"))
        await until(lambda: got)
        assert len(bus.router.takers(1010)) == 0
        gate.set()
        await client.close()
