"""Draining a client: everything it has is finished and everything it published is sent, or it is said what was not."""

import asyncio
import time

import pytest

import mycelium
from mycelium import ClosedError, DrainingError, DrainTimeout, MyceliumClient
from mycelium.bus.clientstate import ClientState
from peers import CORE, SECONDS, BareBridge, serving, until


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/bus.sock"


async def connected(contracts, bridge, **options):
    client = MyceliumClient(contracts, **options)
    await client.connect(bridge.urls[0])
    return client


async def test_p86_everything_queued_is_handled_every_reply_is_out_and_drains_share_one_end(contracts, listen):
    replies = []
    async with serving(contracts, listen) as (bus, bridge):
        await bus.subscribe(lambda message: replies.append(message.value), contracts.Pong)
        client = await connected(contracts, bridge)
        stream = client.events()
        gate = asyncio.Event()

        async def reply(message):
            await gate.wait()
            await client.publish(contracts.Pong(value=message.value))

        subscription = await client.subscribe(reply, contracts.Ping)
        for number in range(1000):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.stats().matched == 1000)
        drains = [asyncio.ensure_future(client.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        assert client.state is ClientState.DRAINING
        with pytest.raises(DrainingError):
            await client.subscribe(print, contracts.Ping)
        gate.set()
        assert await asyncio.gather(*drains) == [None] * 3
        await client.drain()
        assert client.state is ClientState.CLOSED
        assert client.stats().balanced
    assert replies == [str(number) for number in range(1000)]
    assert [type(event).__name__ async for event in stream] == ["Draining", "Closed"]


async def test_p87_a_handler_that_is_stuck_is_a_timeout_with_counts_and_it_is_closed_in_time(contracts):
    async with serving(contracts) as (bus, bridge):
        client = await connected(contracts, bridge)

        async def stuck(_):
            await asyncio.Event().wait()

        subscription = await client.subscribe(stuck, contracts.Ping)
        for _ in range(5):
            bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: subscription.stats().matched == 5)
        start = time.monotonic()
        results = await asyncio.gather(client.drain(0.2), client.drain(0.2), return_exceptions=True)
        assert time.monotonic() - start < 1.5
        assert [(type(one), one.undelivered, one.unconfirmed) for one in results] == [(DrainTimeout, 5, 0)] * 2
        assert client.state is ClientState.CLOSED
        assert client.stats().balanced


async def test_p88_after_a_drain_nothing_hangs_and_everything_says_why(contracts):
    async with serving(contracts) as (_, bridge):
        client = await connected(contracts, bridge)
        await client.drain()
        for call in (
            lambda: client.publish(contracts.Ping(value="x")),
            lambda: client.publish(contracts.Ping(value="x"), confirm=True),
            lambda: client.subscribe(print, contracts.Ping),
            lambda: client.request(contracts.Ping(value="x"), contracts.Pong),
            client.flush,
            client.connect,
        ):
            with pytest.raises(ClosedError, match="the client is closed; make a new one"):
                await call()
        await client.close()
        await client.drain()


async def test_p89_with_the_bridge_away_a_drain_ends_at_its_timeout_and_says_what_was_not_sent(contracts, tmp_path):
    listen = f"unix://{tmp_path}/bus.sock"
    async with serving(contracts, listen) as (_, bridge):
        client = await connected(contracts, bridge)
    await until(lambda: client.state is ClientState.RECONNECTING)
    for _ in range(3):
        await client.publish(contracts.Ping(value="x"))
    start = time.monotonic()
    with pytest.raises(DrainTimeout) as caught:
        await client.drain(0.3)
    assert 0.25 < time.monotonic() - start < 1.3
    assert (caught.value.undelivered, caught.value.unconfirmed) == (0, 3)
    assert client.state is ClientState.CLOSED


async def test_p89_a_drain_sends_what_waits_if_the_bridge_comes_back_in_time(contracts, tmp_path):
    listen, got = f"unix://{tmp_path}/bus.sock", []
    async with serving(contracts, listen) as (_, bridge):
        client = await connected(contracts, bridge)
    await until(lambda: client.state is ClientState.RECONNECTING)
    await client.publish(contracts.Ping(value="x"))
    draining = asyncio.ensure_future(client.drain(SECONDS))
    bus = mycelium.MessageBus(contracts)
    await bus.subscribe(got.append, contracts.Ping)
    async with bus.serve(listen):
        await draining
    assert got == [contracts.Ping(value="x")]


async def test_a_drain_waits_for_receipts(contracts):
    async def serve(session):
        await session.welcome(contracts.schema)
        while (event := await session.next()) is not None:
            name = type(event).__name__
            if name == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif name == "Batch":
                asyncio.get_running_loop().call_later(
                    0.1, session.send, CORE.Receipt(first=1, last=1, matched=3, enqueued=3, dropped=0)
                )
            elif name == "Goodbye":
                return

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        publishing = asyncio.ensure_future(client.publish(contracts.Ping(value="x"), confirm=True))
        await asyncio.sleep(0)
        await client.drain()
        assert (await publishing).matched == 3


async def test_p80_a_drain_inside_a_handler_returns(contracts):
    async with serving(contracts) as (bus, bridge):
        client = await connected(contracts, bridge)
        seconds = asyncio.get_running_loop().create_future()

        async def handler(_):
            start = time.monotonic()
            await client.drain()
            seconds.set_result(time.monotonic() - start)

        await client.subscribe(handler, contracts.Ping)
        bus.publish_nowait(contracts.Ping(value="x"))
        async with asyncio.timeout(SECONDS):
            assert await seconds < 1
        await client.close()


async def test_a_close_cuts_a_drain_short(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    async with serving(contracts) as (bus, bridge):
        client = await connected(contracts, bridge)

        async def stuck(_):
            await asyncio.Event().wait()

        subscription = await client.subscribe(stuck, contracts.Ping)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: subscription.stats().in_flight == 1)
        draining = asyncio.ensure_future(client.drain(60))
        await until(lambda: client.state is ClientState.DRAINING)
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 2
        with pytest.raises(DrainTimeout):
            await draining


async def test_closing_while_reconnecting_is_quick_when_nothing_waits(contracts, tmp_path):
    async with serving(contracts, f"unix://{tmp_path}/bus.sock") as (_, bridge):
        client = await connected(contracts, bridge)
    await until(lambda: client.state is ClientState.RECONNECTING)
    start = time.monotonic()
    await client.close()
    assert time.monotonic() - start < 0.5
