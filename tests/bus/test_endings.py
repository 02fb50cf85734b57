"""How client and bridge close: in every state, twice, at once, from inside handlers, and with a bound."""

import asyncio
import socket
import time

import pytest

import mycelium
from mycelium import ClosedError, ConnectError, ConnectionLost, MyceliumClient
from peers import CORE, PING, BareBridge, peer_at, serving, sockets, until

# --- a client's close ---


async def test_close_sends_what_was_published_and_says_goodbye(contracts):
    async with serving(contracts) as (bus, bridge):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        for number in range(1000):
            client.publish_nowait(contracts.Ping(value=str(number)))
        (session,) = bridge.sessions
        await client.close()
        assert [message.value for message in got] == [str(number) for number in range(1000)]
        assert session.reason == "client"
        assert " closed, <Inbox of 0 subscriptions>" in repr(client)


async def test_close_in_every_state_returns_and_leaves_nothing(contracts):
    before = sockets()
    await MyceliumClient(contracts, reconnect=False).close()  # never connected
    failed = MyceliumClient(contracts, reconnect=False)
    with pytest.raises(ConnectError):
        await failed.connect("unix:///nowhere/bus.sock")
    await failed.close()
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        await client.close()  # connected
        await client.close()  # closed
        for call in (
            client.connect(),
            client.publish(contracts.Ping(value="x")),
            client.subscribe(print, contracts.Ping),
        ):
            with pytest.raises(ClosedError, match="the client is closed; make a new one"):
                await call
        lost = MyceliumClient(contracts, reconnect=False)
        await lost.connect(bridge.urls[0])
        bridge.abort()
        await lost.closed()
        with pytest.raises(ConnectionLost):
            await lost.publish(contracts.Ping(value="x"))
        await lost.close()  # lost
    assert sockets() == before


@pytest.mark.parametrize("phase", ["nothing", "link", "hello"])
async def test_close_while_connecting_ends_that_at_once(contracts, phase):
    async def silent(session):
        await session.reader.read()

    with socket.socket() as full:  # a listener that accepts nobody
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = []
        for _ in range(3):
            one = socket.socket()
            one.settimeout(0)
            one.connect_ex(full.getsockname())
            held.append(one)
        async with BareBridge(silent) as bare:
            url = bare.url if phase == "hello" else f"tcp://127.0.0.1:{full.getsockname()[1]}"
            client = MyceliumClient(contracts)
            connecting = asyncio.ensure_future(client.connect(url))
            await asyncio.sleep(0 if phase == "nothing" else 0.05)
            async with asyncio.timeout(1):
                await client.close()
                with pytest.raises(ClosedError):
                    await connecting
        for one in held:
            one.close()


async def test_concurrent_closes_share_one_end(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        await asyncio.gather(*(client.close() for _ in range(5)))
        assert bridge.sessions == [] or all(session.is_over for session in bridge.sessions)


async def test_p80_close_unsubscribe_and_subscribe_inside_handlers_return(contracts):
    done = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])

        async def handler(_):
            await client.subscribe(done.append, contracts.Pong)
            await subscription.unsubscribe()
            done.append("unsubscribed")
            await client.publish(contracts.Pong(value="from a handler"))
            await client.close()
            done.append("closed")

        async def other(_):
            await client.close()
            done.append("other")

        subscription = await client.subscribe(handler, contracts.Ping)
        await client.subscribe(other, contracts.CounterUpdate)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: "unsubscribed" in done)
        bus.publish_nowait(contracts.CounterUpdate(1, 2, 3))
        async with asyncio.timeout(2):
            await until(lambda: "closed" in done)
        await client.close()
    assert set(done) >= {"unsubscribed", "closed"}


async def test_close_lets_handlers_finish_and_publish_meanwhile(contracts):
    replies = []
    async with serving(contracts) as (bus, bridge):
        await bus.subscribe(lambda message: replies.append(message.value), contracts.Pong)
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        gate = asyncio.Event()

        async def reply(message):
            await gate.wait()
            await client.publish(contracts.Pong(value=message.value))

        subscription = await client.subscribe(reply, contracts.Ping)
        for number in range(100):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.stats().matched == 100)
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await client.publish(contracts.Ping(value="late"))
        gate.set()
        await closing
    assert replies == [str(number) for number in range(100)]


async def test_close_lets_handlers_finish_what_they_have_when_the_connection_is_gone(contracts):
    got = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        gate = asyncio.Event()

        async def handler(message):
            await gate.wait()
            got.append(message.value)

        subscription = await client.subscribe(handler, contracts.Ping)
        for number in range(5):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.stats().matched == 5)
        bridge.abort()
        await client.closed()
        closing = asyncio.ensure_future(client.close())
        gate.set()
        await closing
    assert got == ["0", "1", "2", "3", "4"]


async def test_close_has_a_bound_even_if_a_handler_is_stuck_and_the_bridge_dead(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("mycelium.bus.ending._CLOSE_SECONDS", 0.3)

    async def dead(session):
        await session.welcome(contracts.schema)
        subscribe = await session.next()
        session.send(CORE.Ack(request=subscribe.request), PING)
        await asyncio.Event().wait()

    cancelled = []

    async def stuck(_):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async with BareBridge(dead) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        subscription = await client.subscribe(stuck, contracts.Ping)
        await until(lambda: subscription.stats().in_flight)
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 1
    assert cancelled == [True]


async def test_close_of_a_client_whose_bridge_reads_nothing_more_has_a_bound(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("mycelium.bus.ending._CLOSE_SECONDS", 0.3)

    async def stop_reading(session):
        await session.welcome(contracts.schema)
        session.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with BareBridge(stop_reading) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        for _ in range(30):
            client.publish_nowait(contracts.Ping(value="x" * 100_000))
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 1


# --- a bridge's close ---


async def test_a_bridge_that_closes_says_goodbye_and_delivers_what_is_queued(contracts, caplog):
    got = []
    bus = mycelium.MessageBus(contracts)
    client = MyceliumClient(contracts, reconnect=False)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        await client.connect(bridge.urls[0])

        async def handler(message):
            await asyncio.sleep(0)
            got.append(message.counter_id)

        await client.subscribe(handler, contracts.CounterUpdate, window=8)
        for number in range(500):
            bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
    assert await client.closed() == "the bridge said goodbye: shutdown"
    with pytest.raises(ConnectionLost, match="the bridge said goodbye: shutdown"):
        await client.publish(contracts.Ping(value="x"))
    await client.close()
    assert got == list(range(500))


async def test_what_clients_publish_until_they_answer_the_goodbye_is_delivered(contracts):
    got = []
    bus = mycelium.MessageBus(contracts)
    await bus.subscribe(got.append, contracts.Ping)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        peer.send(PING)
        await peer.barrier()
        closing = asyncio.ensure_future(bridge.close())
        await peer.until("Goodbye")
        for _ in range(10):
            peer.send(PING)
            await asyncio.sleep(0)
        assert not closing.done()
        peer.send(CORE.Goodbye(reason="shutdown"))
        assert await peer.ending() == []
        await peer.close()
        await closing
    assert len(got) == 11


async def test_a_bridge_that_closes_waits_for_nobody_longer_than_its_grace(contracts):
    bus = mycelium.MessageBus(contracts)
    bridge = bus.serve("tcp://127.0.0.1:0")
    await bridge.start()
    async with peer_at(bridge.urls[0]) as deaf, peer_at(bridge.urls[0], hello=False):
        deaf.send(PING)
        await deaf.barrier()
        sessions = bridge.sessions
        start = time.monotonic()
        await asyncio.gather(bridge.close(0.2), bridge.close(0.2))
        assert 0.1 < time.monotonic() - start < 1.5
        assert {session.reason for session in sessions} == {"shutdown"}
    await bridge.close()


async def test_p92_a_bridge_with_idle_clients_closes_at_once(contracts):
    bus = mycelium.MessageBus(contracts)
    clients = [MyceliumClient(contracts) for _ in range(50)]
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        await asyncio.gather(*(client.connect(bridge.urls[0]) for client in clients))
        start = time.monotonic()
    assert time.monotonic() - start < 4  # the grace is 5
    await asyncio.gather(*(client.close() for client in clients))


async def test_a_client_that_comes_while_the_bridge_closes_is_told(contracts):
    bus = mycelium.MessageBus(contracts)
    bridge = bus.serve("tcp://127.0.0.1:0")
    await bridge.start()
    async with peer_at(bridge.urls[0]) as first, peer_at(bridge.urls[0], hello=False) as second:
        first.send(PING)
        await first.barrier()
        await until(lambda: len(bridge.sessions) == 2)
        closing = asyncio.ensure_future(bridge.close(0.3))
        second._connection.send(CORE.Hello(protocol=1, client="second"))
        assert [type(event).__name__ for event in await second.ending()] == ["Goodbye"]
        first.send(CORE.Goodbye(reason=""))
        await closing
