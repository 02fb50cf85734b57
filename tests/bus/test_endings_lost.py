"""A connection that ends by itself: silence, faults and errors of either side, and who is told of the reason."""

import asyncio

import pytest

import mycelium
from mycelium import ConnectionLost, MyceliumClient
from mycelium.wire.frames import encode_frame
from peers import CORE, PING, BareBridge, peer_at, serving, sockets, until


async def test_iterators_give_out_what_they_have_and_then_say_that_the_connection_is_gone(contracts, caplog):
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        async with client.messages(contracts.Ping) as stream, client.messages(contracts.Pong) as waiting:
            taking = asyncio.ensure_future(waiting.next())
            for number in range(3):
                bus.publish_nowait(contracts.Ping(value=str(number)))
            await until(lambda: stream.stats().queued == 3)
            bridge.abort()
            got = []

            async def take():
                async for message in stream:
                    got.append(message.value)  # noqa: PERF401  what came before the error counts

            with pytest.raises(ConnectionLost, match="the connection to the bridge ended"):
                await take()
            assert got == ["0", "1", "2"]
            with pytest.raises(ConnectionLost):
                await taking
        assert "the connection of" in caplog.text
        await client.close()


async def test_calls_under_way_learn_that_the_connection_is_gone(contracts):
    async def hang_up(session):
        await session.welcome(contracts.schema)
        await session.next()

    async with BareBridge(hang_up) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        calls = [client.flush(), client.subscribe(print, contracts.Ping), client.closed()]
        lost, refused, reason = await asyncio.gather(*calls, return_exceptions=True)
        assert (type(lost), type(refused), reason) == (ConnectionLost, ConnectionLost, "the bridge closed it")
        assert not client._inbox.dispatcher.subscriptions
        await client.close()


async def test_a_bridge_that_breaks_the_protocol_is_left_with_a_reason(contracts, caplog):
    heard = []

    async def break_it(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.send(encode_frame(0, b""))
        heard.append(await session.next())

    async with BareBridge(break_it) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        await client.publish(contracts.Ping(value="x"))
        reason = await client.closed()
        assert reason == "it does not speak Mycelium's protocol (protocol: a frame of type id 0)"
        await until(lambda: heard)
        assert (heard[0].code, heard[0].fatal) == (1, True)
        await client.close()


async def test_a_fatal_error_of_the_bridge_is_told_and_ends_the_connection(contracts):
    refused = []

    async def throw_out(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.send(CORE.Error(code=14, message="too slow", fatal=True))
        await session.reader.read()

    async with BareBridge(throw_out) as bare:
        client = MyceliumClient(contracts, reconnect=False, on_error=refused.append)
        await client.connect(bare.url)
        await client.publish(contracts.Ping(value="x"))
        assert await client.closed() == "the bridge refused (slow_consumer): too slow"
        assert [error.code for error in refused] == [14]
        await client.close()


async def test_p31_a_bridge_that_falls_silent_is_given_up_after_three_heartbeats(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)

    async def fall_silent(session):
        await session.welcome(contracts.schema, heartbeat_ms=50)
        await asyncio.Event().wait()

    async with BareBridge(fall_silent) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        assert await client.closed() == "nothing heard for three heartbeats"
        await client.close()


async def test_p34_heartbeats_keep_an_idle_connection(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)
    pings = 0

    async def answer(session):
        nonlocal pings
        await session.welcome(contracts.schema, heartbeat_ms=50)
        while (event := await session.next()) is not None:
            if type(event).__name__ == "Ping":
                pings += 1
                session.send(CORE.Pong(nonce=event.nonce))
            else:
                return

    async with BareBridge(answer) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        await until(lambda: pings >= 8)
        assert not client._life.conversation.lost.done()
        await client.close()


@pytest.mark.parametrize("fault", ["receive", "settle"])
async def test_p58_a_fault_of_the_client_ends_the_connection_and_leaves_no_zombie(
    contracts, caplog, monkeypatch, fault
):
    def broken(*_):
        raise TypeError("injected")

    monkeypatch.setattr(f"mycelium.bus.inbox.Inbox.{fault}", broken)
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        if fault == "receive":
            await client.subscribe(print, contracts.Ping)
            bus.publish_nowait(contracts.Ping(value="x"))
        assert await client.closed() == "a fault of this client; its log has more"
        assert "TypeError: injected" in caplog.text
        with pytest.raises(ConnectionLost):
            await client.publish(contracts.Ping(value="x"))
        await client.close()


@pytest.mark.parametrize("fault", ["take_output", "tick"])
async def test_a_fault_of_the_bridge_ends_that_session_alone(contracts, caplog, monkeypatch, fault):
    monkeypatch.setattr("mycelium.bus.bridge._SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.bridge._TICK_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.heartbeat._LEAST_MS", 50)
    real = getattr(mycelium.bus.session.Session, fault)

    def broken(session, now):
        if session.client == "victim" and session.intake.received:
            raise TypeError("injected")
        return real(session, now)

    monkeypatch.setattr(mycelium.bus.session.Session, fault, broken)
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0]) as other:
        async with peer_at(bridge.urls[0], client="victim", heartbeat_ms=50) as victim:
            victim.send(PING, CORE.Ping(nonce=1))
            await victim.ending()
        await until(lambda: len(bridge.sessions) == 1)
        await other.barrier()
    assert "session 2 of victim ends by a fault of the bridge" in caplog.text


async def test_a_connect_that_is_cancelled_leaves_nothing(contracts):
    async def silent(session):
        await session.next()
        await session.reader.read()

    before = sockets()
    async with BareBridge(silent) as bare:
        client = MyceliumClient(contracts)
        for turns in range(12):
            connecting = asyncio.ensure_future(client.connect(bare.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        await client.close()
    await until(lambda: sockets() == before)


async def test_two_connects_at_once_are_one_too_many(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts)
        results = await asyncio.gather(*(client.connect(bridge.urls[0]) for _ in range(2)), return_exceptions=True)
        assert [type(one) for one in results] == [type(None), mycelium.UsageError]
        await client.close()


async def test_each_connection_ends_for_one_reason_that_is_logged_and_kept(contracts, caplog):
    caplog.set_level("INFO", logger="mycelium.bridge")
    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, name="leaver"):
            pass
        async with peer_at(bridge.urls[0], client="breaker") as peer:
            peer.send(bytes(6))
            await peer.ending()
        await until(lambda: len(bridge.closed) == 2)
        assert [(one.client, one.reason) for one in bridge.closed] == [("leaver", "client"), ("breaker", "protocol")]
    told = [record.getMessage() for record in caplog.records if "closed: " in record.getMessage()]
    assert told == ["client leaver, session 1: closed: client", "client breaker, session 2: closed: protocol"]
