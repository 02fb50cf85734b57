"""Attempts to connect: the first connection, and when it is given up."""

import asyncio
import gc
import time

import pytest

from mycelium import AuthError, ClosedError, ConnectError, ConnectionLost, MyceliumClient, SchemaMismatch, events
from mycelium.bus.clientstate import ClientState
from peers import CORE, SECONDS, answer, serving, sessions, told, until

pytestmark = pytest.mark.usefixtures("quick")


# --- the first connection ---


async def test_the_first_connection_is_tried_until_there_is_one_if_that_is_asked_for(contracts, listen):
    client = MyceliumClient(contracts)
    with pytest.raises(ConnectError):
        await client.connect(listen)
    stream = client.events()
    connecting = asyncio.ensure_future(client.connect(listen, retry_first=True))
    await told(stream, events.Reconnecting)
    assert not connecting.done()
    async with serving(contracts, listen):
        await connecting
        await client.flush()
        await client.close()


async def test_p89_closing_while_the_first_connection_is_tried_ends_that(contracts, listen):
    client = MyceliumClient(contracts)
    stream = client.events()
    connecting = asyncio.ensure_future(client.connect(listen, retry_first=True))
    await told(stream, events.Reconnecting)
    async with asyncio.timeout(1):
        await client.close()
        with pytest.raises(ClosedError):
            await connecting


async def test_handlers_declared_before_connecting_are_subscribed_when_connect_returns(contracts, listen):
    got = []
    client = MyceliumClient(contracts)

    @client.on(contracts.Ping)
    def on_ping(message):
        got.append(message.value)

    async with serving(contracts, listen) as (bus, bridge):
        await client.connect(bridge.urls[0])
        bus.publish_nowait(contracts.Ping(value="1"))
        await until(lambda: got == ["1"])

        @client.on()
        async def on_pong(message: "Pong"):  # noqa: F821  it is found in the contracts
            got.append(message.value)

        await until(lambda: bus.router.takers(1011))
        bus.publish_nowait(contracts.Pong(value="2"))
        await until(lambda: got == ["1", "2"])
        await client.close()
    assert on_ping.__name__ == "on_ping"


# --- giving up ---


async def test_p57_two_refused_authentications_end_it(contracts):
    attempts = []

    async def refuse(session):
        await session.next()
        attempts.append(1)
        session.send(CORE.Error(code=6, message="the token is not known", fatal=True))
        await session.writer.drain()

    async with sessions(first_open(contracts), refuse) as bridge:
        client = MyceliumClient(contracts)
        stream = client.events()
        await client.connect(bridge.url)
        async with client.messages(contracts.Ping) as messages:
            waiting = asyncio.ensure_future(messages.next())
            assert "auth_refused" in await client.closed()
            with pytest.raises(AuthError, match="the token is not known"):
                await waiting
        assert len(attempts) == 2
        assert client.state is ClientState.CLOSED
        with pytest.raises(AuthError):
            await client.publish(contracts.Ping(value="x"))
        assert isinstance([event async for event in stream][-1], events.Closed)
        await client.close()


def first_open(contracts):
    """A connection that confirms one subscription and is gone."""

    async def serve(session):
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")

    return serve


async def test_contracts_that_cannot_talk_any_more_end_it_and_name_the_types(contracts):
    text = "FIELD_TYPE_CHANGED Ping.value: u8 is not String; FIELD_REMOVED messages.Pong.value: gone; VERSION none"

    async def refuse(session):
        await session.next()
        session.send(CORE.Error(code=7, message=text, fatal=True))
        await session.writer.drain()

    async with sessions(first_open(contracts), refuse) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(print, contracts.Ping)
        await client.closed()
        with pytest.raises(SchemaMismatch) as caught:
            await client.publish(contracts.Ping(value="x"))
        assert caught.value.types == ("Ping", "Pong")
        await client.close()


async def test_it_is_given_up_after_max_reconnect_seconds(contracts, listen):
    client = MyceliumClient(contracts, max_reconnect_seconds=0.2)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    start = time.monotonic()
    assert "no connection within 0.2 s" in await client.closed()
    assert time.monotonic() - start < 2
    with pytest.raises(ConnectionLost):
        await client.publish(contracts.Ping(value="x"))
    await client.close()


@pytest.mark.parametrize("attempts", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_p56_failed_attempts_leave_nothing_however_many(contracts, listen, monkeypatch, attempts):
    asyncio.get_running_loop().set_debug(False)
    monkeypatch.setattr("mycelium.bus.backoff._FIRST_SECONDS", 0.0)
    monkeypatch.setattr("mycelium.bus.backoff._MOST_SECONDS", 0.0)
    client = MyceliumClient(contracts)
    stream = client.events()
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])

    async def objects_after(number):
        while True:
            event = await stream.next(SECONDS)
            if isinstance(event, events.Reconnecting) and event.attempt >= number:
                gc.collect()
                return len(gc.get_objects())

    before = await objects_after(500)
    after = await objects_after(attempts)
    assert after - before < 500
    await client.close()
