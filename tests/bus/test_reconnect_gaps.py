"""A lost connection is a gap for each subscription: who is told of it, when, and how often."""

import asyncio

import pytest

from mycelium import MyceliumClient, events
from mycelium.bus.clientstate import ClientState
from mycelium.wire.frames import encode_frame
from peers import SECONDS, answer, serving, sessions, until

pytestmark = pytest.mark.usefixtures("quick")


async def test_p53_after_a_restart_everything_is_subscribed_again_with_one_gap_each(contracts, listen):
    got, gaps = [], []
    client = MyceliumClient(contracts)
    stream = client.events()
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        await client.subscribe(got.append, contracts.Ping, on_gap=gaps.append)
        await client.subscribe(got.append, contracts.Pong, on_gap=gaps.append)
        first = client.session
    await until(lambda: client.state is ClientState.RECONNECTING)
    async with serving(contracts, listen) as (bus, _):
        await until(lambda: client.state is ClientState.CONNECTED)
        assert len(bus.router.takers(1010)) == len(bus.router.takers(1011)) == 1
        await bus.publish(contracts.Ping(value="again"))
        await until(lambda: got)
        assert sorted(gaps, key=lambda gap: gap.types) == [
            events.Gap(("Ping",), None, "reconnect", "list.append"),
            events.Gap(("Pong",), None, "reconnect", "list.append"),
        ]
        assert client.stats().reconnects == 1
        second = client.session
        await client.close()
    assert client.state is ClientState.CLOSED
    told = [event async for event in stream]
    names = [type(event).__name__ for event in told if not isinstance(event, events.Reconnecting)]
    assert names == ["Connecting", "Connected", "Disconnected", "Gap", "Gap", "Connected", "Draining", "Closed"]
    joined = [event for event in told if isinstance(event, events.Connected)]
    assert joined == [events.Connected(listen, first, 1), events.Connected(listen, second, 2)]


async def test_an_iterator_gives_out_the_gap_of_a_reconnect_if_it_is_asked_to(contracts, listen):
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        stream = await client.messages(contracts.Ping, gaps=True).__aenter__()
    async with serving(contracts, listen) as (bus, _):
        assert await stream.next(SECONDS) == events.Gap(("Ping",), None, "reconnect", "an iterator")
        await until(lambda: client.state is ClientState.CONNECTED)
        await bus.publish(contracts.Ping(value="x"))
        assert await stream.next(SECONDS) == contracts.Ping(value="x")
        await client.close()


async def test_gaps_of_a_reconnect_come_in_the_order_of_subscription_and_behind_what_waits(contracts):
    ping, pong = (encode_frame(one.TYPE_ID, one(value="x").to_bytes()) for one in (contracts.Ping, contracts.Pong))
    seen, told, there, gate, gone = [], [], asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def first(session):
        await session.welcome(contracts.schema)
        for _ in range(2):
            await answer(session, until_name="Subscribe")
        await there.wait()
        session.send(*[ping] * 3, pong)
        await session.writer.drain()
        await gone.wait()

    async def second(session):
        await session.welcome(contracts.schema)
        for _ in range(2):
            await answer(session, until_name="Subscribe")
        session.send(ping)
        await answer(session)

    async def slow(message):
        await gate.wait()
        seen.append(message)

    async with sessions(first, second) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(slow, contracts.Ping, on_gap=seen.append)
        for number in range(8):
            await client.subscribe(lambda _: None, contracts.Pong, on_gap=lambda _, n=number: told.append(n))
        stream = await client.messages(contracts.Ping, gaps=True).__aenter__()
        there.set()
        await until(lambda: client.stats().matched == 3 + 8 + 3)
        gone.set()
        await until(lambda: client.stats().matched == 3 + 8 + 3 + 2)
        assert told == list(range(8))
        assert seen == []
        gate.set()
        await until(lambda: len(seen) == 5)
        assert [type(one).__name__ for one in seen] == ["Ping", "Ping", "Ping", "Gap", "Ping"]
        taken = [type(await stream.next(SECONDS)).__name__ for _ in range(5)]
        assert taken == ["Ping", "Ping", "Ping", "Gap", "Ping"]
        await client.close()


async def test_a_connection_that_broke_before_it_carried_everything_is_a_gap_for_all_that_were_told_of_it(contracts):
    ping = encode_frame(1010, contracts.Ping(value="x").to_bytes())
    gaps, gone = [], asyncio.Event()

    async def first(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")
        await answer(session, until_name="Subscribe")
        await gone.wait()

    async def second(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")
        session.send(ping)
        await session.writer.drain()

    async def third(session):
        await session.welcome(contracts.schema)
        await answer(session)

    async with sessions(first, second, third) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(gaps.append, contracts.Ping, on_gap=gaps.append)
        await client.subscribe(gaps.append, contracts.Pong, on_gap=gaps.append)
        gone.set()
        await until(lambda: client.stats().reconnects == 1)
        assert gaps == [
            events.Gap(("Ping",), None, "reconnect", "list.append"),
            events.Gap(("Pong",), None, "reconnect", "list.append"),
            contracts.Ping(value="x"),
            events.Gap(("Ping",), None, "reconnect", "list.append"),
            events.Gap(("Pong",), None, "reconnect", "list.append"),
        ]
        await client.close()


async def test_a_handler_that_stands_still_is_told_of_a_reconnect_all_the_same(contracts, listen):
    client, gaps, gate = MyceliumClient(contracts), [], asyncio.Event()

    async def stuck(_):
        await gate.wait()

    async with serving(contracts, listen) as (bus, bridge):
        await client.connect(bridge.urls[0])
        await client.subscribe(stuck, contracts.Ping, on_gap=gaps.append)
        for _ in range(3):
            await bus.publish(contracts.Ping(value="x"))
        await client.flush()
    async with serving(contracts, listen):
        await until(lambda: client.state is ClientState.CONNECTED)
        assert gaps == []
        await until(lambda: [one.reason for one in gaps] == ["reconnect"])
        gate.set()
        await client.close()


async def test_gaps_that_an_iterator_does_not_take_are_one(contracts, listen):
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        stream = await client.messages(contracts.Ping, gaps=True).__aenter__()
    for _ in range(3):
        async with serving(contracts, listen):
            await until(lambda: client.state is ClientState.CONNECTED)
        await until(lambda: client.state is ClientState.RECONNECTING)
    assert type(await stream.next(SECONDS)) is events.Gap
    with pytest.raises(TimeoutError):
        await stream.next(0.01)
    await client.close()
