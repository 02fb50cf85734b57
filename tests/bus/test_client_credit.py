"""Credit and back-pressure of a client: windows, gaps, a full buffer, and publishers that wait for room."""

import asyncio
import contextlib
import itertools
import time

import pytest

import mycelium
from mycelium import BufferFull, ConnectionLost, MyceliumClient, RuleError
from peers import CORE, BareBridge, peer_at, serving, until


async def test_a_slow_handler_loses_nothing_while_others_go_on_and_pongs_are_read(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        gate, slow, fast = asyncio.Event(), [], []

        async def handler(message):
            await gate.wait()
            slow.append(message.counter_id)

        await client.subscribe(handler, contracts.CounterUpdate, window=4)
        await client.subscribe(fast.append, contracts.Ping, window=4)
        for number in range(1000):
            bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: len(fast) == 1000)
        for _ in range(3):
            await client.flush()
        (session,) = bridge.sessions
        waiting, done = [one.outbox.stats() for one in session.subscriptions]
        assert (waiting.in_flight, waiting.queued, waiting.dropped) == (4, 996, {})
        assert waiting.balanced
        assert done.queued == 0
        gate.set()
        await until(lambda: len(slow) == 1000)
        assert slow == list(range(1000))


async def test_credit_is_given_back_to_the_last_message_when_all_is_quiet(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        got = []
        await client.subscribe(got.append, contracts.Ping, window=100)
        for _ in range(7):
            bus.publish_nowait(contracts.Ping(value=""))
        (session,) = bridge.sessions
        (subscription,) = session.subscriptions
        await until(lambda: subscription.outbox.stats().delivered == 7)
        assert subscription.outbox.stats().in_flight == 0


async def test_types_that_come_and_go_leave_the_window_whole(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        got = []
        await client.subscribe(got.append, contracts.Ping)
        both = await client.subscribe(lambda _: None, contracts.Ping, contracts.Pong, contracts.CounterUpdate)
        keeping = await client.subscribe(got.append, contracts.CounterUpdate)
        for number in range(50):
            for _ in range(5):
                bus.publish_nowait(contracts.Pong(value=""))
                bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
            await both.unsubscribe()
            both = await client.subscribe(lambda _: None, contracts.Pong, contracts.CounterUpdate)
        await until(lambda: len(got) == 250)
        (session,) = bridge.sessions

        def stats():
            return [one.outbox.stats() for one in session.subscriptions]

        await until(lambda: all(one.in_flight == 0 for one in stats()))
        assert all(one.balanced for one in stats())
        await keeping.unsubscribe()


async def test_drops_at_the_bridge_are_visible_at_the_client(contracts, caplog):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        gate, got = asyncio.Event(), []

        async def handler(message):
            await gate.wait()
            got.append(message.counter_id)

        subscription = await client.subscribe(handler, contracts.CounterUpdate, window=1, queue=2)
        for number in range(10):
            bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
            await client.flush()
        gate.set()
        await until(lambda: len(got) == 3)
        await until(lambda: subscription.stats().dropped == {"dropped_oldest": 7})
        assert got == [0, 8, 9]
        assert (subscription.stats().matched, subscription.stats().dropped) == (10, {"dropped_oldest": 7})
        assert subscription.stats().balanced
    assert "messages of CounterUpdate (dropped_oldest)" in caplog.text


async def test_lag_is_told_within_a_second_when_nothing_else_comes(contracts):
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        await peer.subscribe(1, [1010], window=1, queue=1)
        for _ in range(5):
            bus.publish_nowait(contracts.Ping(value=""))
        start = time.monotonic()
        assert await peer.until("Lagged") == CORE.Lagged(subscription=1, type_id=1010, dropped=4, reason=0)
        assert time.monotonic() - start < 1


async def test_publish_waits_and_publish_nowait_raises_when_the_bridge_stops_reading(contracts):
    release = asyncio.Event()
    received = 0

    async def stop_reading(session):
        nonlocal received
        await session.welcome(contracts.schema)
        await release.wait()
        while (event := await session.next()) is not None:
            if type(event).__name__ == "Goodbye":
                return
            if type(event).__name__ == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            else:
                received += len(event)

    big = contracts.Ping(value="x" * 200_000)
    async with BareBridge(stop_reading) as bridge, mycelium.connect(bridge.url, contracts) as client:
        published = 0

        async def publish():
            nonlocal published
            while published < 100:
                await client.publish(big)
                published += 1

        publishing = asyncio.ensure_future(publish())
        await until(lambda: client.stats().buffered_bytes > 8_000_000)
        await asyncio.sleep(0)
        waiting_at = published
        assert waiting_at < 100
        assert client.stats().buffered_bytes <= 8 * 1024 * 1024
        with pytest.raises(BufferFull, match="await publish.. instead, which waits for room"):
            client.publish_nowait(big)
        stuck = asyncio.ensure_future(client.publish(big))
        await asyncio.sleep(0)
        stuck.cancel()  # P82: it takes nothing with it
        with pytest.raises(RuleError):
            await client.publish(contracts.TextMessage(sender="", content="x", timestamp=1))
        release.set()
        await publishing
        await client.flush()
    assert received == published


async def test_small_messages_fill_the_buffer_to_its_last_place_and_no_further(contracts):
    async def stop_reading(session):
        await session.welcome(contracts.schema)
        await asyncio.Event().wait()

    small = contracts.CounterUpdate(counter_id=1, value=2, delta=3)
    async with BareBridge(stop_reading) as bridge, mycelium.connect(bridge.url, contracts) as client:
        with contextlib.suppress(BufferFull):
            for number in itertools.count():
                client.publish_nowait(small)
                if number % 1000 == 0:  # the socket takes what it can, and then no more
                    await asyncio.sleep(0)
        assert client.stats().buffered == 65_536


async def test_a_publish_that_waits_learns_that_the_connection_is_gone(contracts):
    async def hang_up(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.writer.transport.abort()

    async with BareBridge(hang_up) as bridge:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.url)
        publishing = asyncio.gather(*(client.publish(contracts.Ping(value="x" * 100_000)) for _ in range(200)))
        with pytest.raises(ConnectionLost):
            await publishing
        await client.close()


async def test_p83_many_publishers_on_one_client_keep_their_own_order(contracts):
    asyncio.get_running_loop().set_debug(False)
    got = []
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await bus.subscribe(lambda message: got.append((message.counter_id, message.value)), contracts.CounterUpdate)

        async def publish(task):
            for number in range(10):
                await client.publish(contracts.CounterUpdate(task, number, 0))
                await asyncio.sleep(0)

        await asyncio.gather(*map(publish, range(1000)))
        await client.flush()
    assert len(got) == 10_000
    for task in (0, 1, 499, 999):
        assert [number for publisher, number in got if publisher == task] == list(range(10))


async def test_a_loop_of_publishes_lets_the_loop_turn(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        turned = 0

        async def count():
            nonlocal turned
            while True:
                turned += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        for _ in range(5000):
            await client.publish(contracts.Ping(value="x" * 50))
        counting.cancel()
        await asyncio.wait([counting])
        assert turned > 3
