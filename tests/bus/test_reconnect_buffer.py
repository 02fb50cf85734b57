"""What is published while there is no connection: kept in order, refused when there is no room, and expired."""

import asyncio

import pytest

import mycelium
from mycelium import BufferFull, ConnectionLost, MyceliumClient, events
from mycelium.bus.clientstate import ClientState
from peers import SECONDS, answer, of, serving, sessions, until

pytestmark = pytest.mark.usefixtures("quick")


async def test_p54_what_was_published_meanwhile_comes_after_the_subscriptions_and_before_anything_newer(contracts):
    heard = []

    async def hang_up(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")

    async def second(session):
        await session.welcome(contracts.schema, session=2)
        await answer(session, heard)

    gate = asyncio.Event()

    async def gated(session):
        await gate.wait()
        await second(session)

    async with sessions(hang_up, gated) as bridge:
        client = MyceliumClient(contracts)
        stream = client.events()
        await client.connect(bridge.url)
        await client.subscribe(print, contracts.Ping)
        await until(lambda: client.state is ClientState.RECONNECTING)
        for number in range(1000):
            await client.publish(contracts.CounterUpdate(number, 0, 0))
        assert client.stats().buffered == 1000
        gate.set()
        while not isinstance(await stream.next(SECONDS), events.Connected):
            pass
        while not isinstance(event := await stream.next(SECONDS), events.Connected):
            pass
        assert (event.session, event.epoch, client.stats().buffered) == (2, 2, 0)
        await client.publish(contracts.CounterUpdate(1000, 0, 0))
        await client.flush()
        await client.close()
    names = [type(event).__name__ for event in heard]
    assert names.index("Subscribe") < names.index("Batch")
    payloads = [batch.payload(index) for batch in of("Batch", heard) for index in range(len(batch))]
    assert [contracts.CounterUpdate.from_bytes(each).counter_id for each in payloads] == list(range(1001))


async def test_p54_a_full_buffer_is_refused_at_once_while_there_is_no_connection(contracts, listen):
    client = MyceliumClient(contracts, buffer=10_000)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    message = contracts.Ping(value="x" * 88)  # a frame of 100 bytes
    for _ in range(100):
        await client.publish(message)
    assert client.stats().buffered_bytes == 10_000
    for publish in (lambda: client.publish(message), lambda: _now(client, message)):
        with pytest.raises(BufferFull, match="10000 bytes wait for a connection"):
            await publish()
    await close_now(client)


async def _now(client, message):
    client.publish_nowait(message)


async def close_now(client):
    """Close without the patience that unsent messages are worth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.05)
        await client.close()


async def test_without_a_buffer_publishing_fails_while_there_is_no_connection(contracts, listen):
    client = MyceliumClient(contracts, buffer=0)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        await client.publish(contracts.Ping(value="x"))
        await client.flush()
    await until(lambda: client.state is ClientState.RECONNECTING)
    with pytest.raises(ConnectionLost):
        await client.publish(contracts.Ping(value="x"))
    with pytest.raises(ConnectionLost):
        client.publish_nowait(contracts.Ping(value="x"))
    await client.close()


async def test_a_stamped_message_that_waited_carries_the_new_session(contracts):
    heard, gate = [], asyncio.Event()

    async def first(session):
        await session.welcome(contracts.schema, session=5)
        await answer(session, until_name="Ping")

    async def second(session):
        await gate.wait()
        await session.welcome(contracts.schema, session=6)
        await answer(session, heard)

    async with sessions(first, second) as bridge:
        client = MyceliumClient(contracts, stamp=True)
        await client.connect(bridge.url)
        await client.flush()
        await until(lambda: client.state is ClientState.RECONNECTING)
        await client.publish(contracts.Ping(value="x"))
        gate.set()
        await until(lambda: of("Batch", heard))
        await client.close()
    payload = of("Batch", heard)[0].payload(0)
    assert payload.hex().endswith("03ff10000000" + "0600000000000000" + "0100000000000000")


async def test_a_confirmed_publish_that_waits_for_a_connection_learns_that_there_will_be_none(contracts, listen):
    client = MyceliumClient(contracts, max_reconnect_seconds=0.1)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    with pytest.raises(ConnectionLost, match="no connection within"):
        await client.publish(contracts.Ping(value="x"), confirm=True)
    await client.close()


async def test_p54_a_message_that_waited_for_30_s_is_counted_and_not_sent(contracts, listen, monkeypatch):
    monkeypatch.setattr("mycelium.bus.sendbuffer._LIVE_SECONDS", 0.05)
    got, client = [], MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    await client.publish(contracts.Ping(value="old"))
    await until(lambda: client.stats().expired == 1)
    assert client.stats().buffered == 0
    bus = mycelium.MessageBus(contracts)
    await bus.subscribe(got.append, contracts.Ping)
    async with bus.serve(listen):
        await until(lambda: client.state is ClientState.CONNECTED)
        await client.publish(contracts.Ping(value="new"))
        await client.flush()
        assert [one.value for one in got] == ["new"]
        await client.close()


@pytest.mark.parametrize("stamp", [False, True])
async def test_messages_that_expire_are_told_by_one_event(contracts, listen, monkeypatch, stamp):
    monkeypatch.setattr("mycelium.bus.sendbuffer._LIVE_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.expiry._LOOK_SECONDS", 0.1)
    client = MyceliumClient(contracts, stamp=stamp)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    stream = client.events()
    for _ in range(100):
        await client.publish(contracts.Ping(value="old"))
    await until(lambda: client.stats().expired == 100)
    await client.close()
    told = [one async for one in stream if isinstance(one, events.PublishExpired)]
    assert told == [events.PublishExpired(100)]


@pytest.mark.parametrize("call", ["confirm", "request"])
async def test_a_call_whose_message_will_never_be_sent_learns_so_at_once(contracts, listen, monkeypatch, call):
    monkeypatch.setattr("mycelium.bus.sendbuffer._LIVE_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.expiry._LOOK_SECONDS", 0.01)
    client = MyceliumClient(contracts, confirm_timeout=60)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    ping = contracts.Ping(value="old")
    with pytest.raises(ConnectionLost, match="was not sent"):
        await (client.publish(ping, confirm=True) if call == "confirm" else client.request(ping, contracts.Pong, 60))
    await client.close()
