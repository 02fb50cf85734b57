"""Handlers that fail, block or never return, and calls that are cancelled or made in the wrong place, over sockets."""

import asyncio
import contextlib
import random
import re
import time
from types import SimpleNamespace

import pytest
from faults import Proxy
from invariants import bystanders, harmless
from processes import bridge as bridge_process

import mycelium
from mycelium import ClosedError, ConnectionLost, MessageBus, MyceliumClient, UsageError
from peers import SECONDS, serving, until


def outboxes(bridge, number):
    """What waits at the bridge for a client."""
    (session,) = [one for one in bridge.sessions if one.number == number]
    return [one.outbox for one in session.subscriptions]


# --- handlers ---


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_p77_a_clients_handler_that_always_raises_keeps_subscription_order_and_credit(contracts, kind, caplog):
    got = []

    def fail(message):
        got.append(message.counter_id)
        raise ValueError("no")

    async def fail_slowly(message):
        fail(message)

    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        subscription = await client.subscribe(
            fail if kind == "sync" else fail_slowly, contracts.CounterUpdate, window=4
        )
        for number in range(200):
            bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
        await until(lambda: len(got) == 200)
        (outbox,) = outboxes(bridge, client.session)
        await until(lambda: outbox.stats().in_flight == 0)
        assert (subscription.stats().delivered, subscription.stats().balanced) == (200, True)
        assert (outbox.stats().delivered, outbox.stats().balanced) == (200, True)
    assert got == list(range(200))
    assert subscription.failures == 200
    assert "failed on CounterUpdate" in caplog.text


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_p78_a_handler_that_blocks_the_loop_for_two_heartbeats_is_named_and_its_connection_survives(
    contracts, kind, caplog
):
    got = []

    def block(message):
        time.sleep(2)
        got.append(message.value)

    async def block_async(message):
        block(message)

    async def program(url):
        async with (
            mycelium.connect(url, contracts, heartbeat=1.0) as client,
            mycelium.connect(url, contracts, heartbeat=1.0) as publisher,
        ):
            await client.subscribe(block if kind == "sync" else block_async, contracts.Ping)
            await publisher.publish(contracts.Ping(value="x"))
            await until(lambda: got)
            await asyncio.gather(client.flush(), publisher.flush())
            assert (await client.query("sessions"))[0]

    with bridge_process() as (_, url):
        asyncio.run(program(url))
    assert got == ["x"]
    name = {"sync": block, "async": block_async}[kind].__qualname__
    (warning,) = [record.getMessage() for record in caplog.records if "held" in record.getMessage()]
    assert re.match(rf"handler {name} held the event loop for 2\.\d\d s, in which nothing else", warning)


async def test_p78_a_handler_that_waits_is_not_blamed_and_one_that_blocks_again_and_again_once_a_second(
    contracts, caplog
):
    bus, got = MessageBus(contracts), []

    async def wait(message):
        await asyncio.sleep(0.15)
        got.append(message)

    async def block(message):
        await asyncio.sleep(0)
        time.sleep(0.11)  # noqa: ASYNC251  that is the fault
        got.append(message)

    await bus.subscribe(wait, contracts.Ping)
    await bus.subscribe(block, contracts.Pong)
    await bus.publish(contracts.Ping(value=""))
    await until(lambda: len(got) == 1)
    assert caplog.text == ""
    for _ in range(3):
        await bus.publish(contracts.Pong(value=""))
    await until(lambda: len(got) == 4)
    assert caplog.text.count("held the event loop for 0.1") == 1
    await bus.close()


async def test_p79_a_handler_that_never_returns_fills_its_own_queue_only(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    async with serving(contracts) as (bus, bridge), harmless(contracts, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        got = []

        async def stuck(_):
            await asyncio.Event().wait()

        await client.subscribe(stuck, contracts.Ping, window=4, queue=8)
        await client.subscribe(got.append, contracts.Pong)
        outbox, _ = outboxes(bridge, client.session)
        for number in range(100):
            bus.publish_nowait(contracts.Ping(value=str(number)))
            bus.publish_nowait(contracts.Pong(value=str(number)))
            await until(lambda number=number: outbox.stats().in_flight == min(number + 1, 4))
        await until(lambda: len(got) == 100)
        await client.flush()
        waiting, done = (outbox.stats() for outbox in outboxes(bridge, client.session))
        assert (waiting.in_flight, waiting.queued, waiting.dropped) == (4, 8, {"dropped_oldest": 88})
        assert (done.queued, done.dropped) == (0, {})
        assert waiting.balanced
        assert done.balanced
        await client.close()


# --- calls that are cancelled ---


async def test_p81_ten_thousand_cancel_races_over_a_socket_lose_nothing_and_double_nothing(contracts):
    asyncio.get_running_loop().set_debug(False)  # it would take ten times as long
    got, sent, rng = [], 0, random.Random(1)
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        async with client.messages(contracts.CounterUpdate, window=16) as stream:
            while sent < 10_000:
                waiting = asyncio.ensure_future(stream.next(timeout=rng.choice([0, 0.0001, SECONDS])))
                for _ in range(rng.randrange(6)):
                    bus.publish_nowait(contracts.CounterUpdate(sent, 0, 0))
                    sent += 1
                    await asyncio.sleep(0)
                if rng.randrange(4):
                    waiting.cancel()
                elif not stream.stats().queued and not waiting.done():
                    bus.publish_nowait(contracts.CounterUpdate(sent, 0, 0))
                    sent += 1
                (result,) = await asyncio.gather(waiting, return_exceptions=True)
                if isinstance(result, contracts.CounterUpdate):
                    got.append(result.counter_id)
            while len(got) < sent:
                got.append((await stream.next(SECONDS)).counter_id)
            assert stream.stats().balanced
    assert got == list(range(sent))


async def test_p81_an_async_for_that_is_cancelled_leaves_the_next_message_for_the_next_one(contracts):
    got = []
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        async with client.messages(contracts.CounterUpdate) as stream:

            async def take():
                async for message in stream:
                    got.append(message.counter_id)
                    await asyncio.sleep(0)

            for number in range(500):
                taking = asyncio.ensure_future(take())
                bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                taking.cancel()
                await asyncio.wait([taking])
            taking = asyncio.ensure_future(take())
            await until(lambda: len(got) == 500)
            taking.cancel()
            await asyncio.wait([taking])
    assert got == list(range(500))


async def test_p82_publishes_that_are_cancelled_at_any_point_leave_the_stream_whole(contracts):
    """Each was sent whole or not at all; those that returned were sent, in their order."""
    rng, done, got, all_sizes = random.Random(2), [], [], [10, 1000, 70_000]
    async with serving(contracts) as (bus, bridge), Proxy(bridge.urls[0]) as proxy:
        await bus.subscribe(lambda message: got.append(message.value), contracts.Ping)
        async with mycelium.connect(proxy.url, contracts) as client:

            async def publish(number):
                value = f"{number}:".ljust(rng.choice(all_sizes), "x")
                await client.publish(contracts.Ping(value=value))
                done.append(value)

            for _ in range(10):
                proxy.half_open()
                tasks = [asyncio.ensure_future(publish(number)) for number in range(200)]
                for _ in range(5):
                    await asyncio.sleep(0)
                for task in rng.sample(tasks, 100):
                    task.cancel()
                proxy.heal()
                await asyncio.gather(*tasks, return_exceptions=True)
            await client.flush()
    assert len(done) > 1000
    assert len(got) <= 2000
    sent = iter(got)
    assert all(value in sent for value in done)


async def test_p82_a_cancelled_publish_that_waits_for_room_is_not_sent(contracts):
    async with serving(contracts) as (bus, bridge), Proxy(bridge.urls[0]) as proxy:
        got = []
        await bus.subscribe(lambda message: got.append(message.value.strip()), contracts.Ping)
        async with mycelium.connect(proxy.url, contracts) as client:
            proxy.half_open()
            sent = 0
            with contextlib.suppress(mycelium.BufferFull):
                while True:
                    client.publish_nowait(contracts.Ping(value="fill".ljust(100_000)))
                    sent += 1
                    await asyncio.sleep(0)
            large = [contracts.Ping(value=word.ljust(100_000)) for word in ("out", "in")]
            waiting = [asyncio.ensure_future(client.publish(each)) for each in large]
            await asyncio.sleep(0)
            waiting[0].cancel()
            proxy.heal()
            first, second = await asyncio.gather(*waiting, return_exceptions=True)
            assert (type(first), second) == (asyncio.CancelledError, None)
            await client.flush()
        assert got == ["fill"] * sent + ["in"]


async def test_p83_a_thousand_publishers_of_all_sizes_do_not_interleave(contracts):
    asyncio.get_running_loop().set_debug(False)
    sizes, got = random.Random(3), [[] for _ in range(1000)]
    async with (
        serving(contracts) as (bus, bridge),
        Proxy(bridge.urls[0]) as proxy,
        bystanders(contracts, bridge.urls[0]),
    ):

        def take(message):
            task, number, rest = message.value.split(":", 2)
            assert set(rest) <= {"x"}
            got[int(task)].append(int(number))

        await bus.subscribe(take, contracts.Ping)
        proxy.up.split = lambda: sizes.randint(1, 50_000)
        async with mycelium.connect(proxy.url, contracts) as client:

            async def publish(task):
                for number in range(5):
                    await client.publish(contracts.Ping(value=f"{task}:{number}:" + "x" * (task * 7 % 5000)))

            await asyncio.gather(*map(publish, range(1000)))
            await client.flush()
    assert got == [list(range(5))] * 1000


# --- calls in the wrong place ---

ELSEWHERE = {
    "client publish": lambda of: of.client.publish(of.ping),
    "client flush": lambda of: of.client.flush(),
    "client subscribe": lambda of: of.client.subscribe(print, type(of.ping)),
    "client messages": lambda of: of.client.messages(type(of.ping)).next(),
    "client closed": lambda of: of.client.closed(),
    "client close": lambda of: of.client.close(),
    "client next": lambda of: of.stream.next(),
    "client unsubscribe": lambda of: of.subscription.unsubscribe(),
    "client aclose": lambda of: of.stream.aclose(),
    "bus publish": lambda of: of.bus.publish(of.ping),
    "bus messages": lambda of: of.bus.messages(type(of.ping)).next(),
    "bus next": lambda of: of.local.next(),
    "bus close": lambda of: of.bus.close(),
    "bus serve": lambda of: of.bus.serve("tcp://127.0.0.1:0").start(),
    "bridge close": lambda of: of.bridge.close(),
}


async def test_p84_every_call_from_another_thread_is_a_clear_error_and_corrupts_nothing(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        async with client.messages(contracts.Ping) as stream, bus.messages(contracts.Ping) as local:
            got = []
            subscription = await client.subscribe(got.append, contracts.Pong)
            ping = contracts.Ping(value="x")
            bus.publish_nowait(ping)
            await until(lambda: stream.stats().queued)
            of = SimpleNamespace(**locals())

            def refused(call):
                with pytest.raises(UsageError, match="belongs to one thread; use "):
                    asyncio.run(asyncio.wait_for(call(of), SECONDS))

            for call in ELSEWHERE.values():
                await asyncio.to_thread(refused, call)
            assert (await stream.next(SECONDS), await local.next(SECONDS)) == (ping, ping)
            await client.publish(contracts.Pong(value="y"))
            await until(lambda: got)
            assert bus.router.takers(1010) != ()


def test_p84_after_its_loop_a_client_says_that_it_is_closed_and_may_be_closed(contracts):
    client = MyceliumClient(contracts)

    async def begin(url):
        await client.connect(url)
        subscription = await client.subscribe(print, contracts.Ping)
        stream = client.messages(contracts.Pong)
        with contextlib.suppress(TimeoutError):
            await stream.next(timeout=0)
        return subscription, stream

    async def go_on(url, subscription, stream):
        for call in (
            client.connect(url),
            client.publish(contracts.Ping(value="x")),
            client.subscribe(print, contracts.Ping),
            client.flush(),
            stream.next(),
        ):
            with pytest.raises((ClosedError, ConnectionLost)):
                await call
        await subscription.unsubscribe()
        await stream.aclose()
        await client.close()

    with bridge_process() as (_, url):
        begun = asyncio.run(begin(url))
        asyncio.run(go_on(url, *begun))


def test_p84_a_bus_goes_on_in_the_next_loop_of_its_thread(contracts):
    bus, got = MessageBus(contracts), []

    async def handler(message):
        await asyncio.sleep(0)
        got.append(message.value)

    async def begin():
        await bus.subscribe(handler, contracts.Ping)
        await publish("1")

    async def publish(value):
        await bus.publish(contracts.Ping(value=value))
        await until(lambda: got[-1:] == [value])

    asyncio.run(begin())
    asyncio.run(publish("2"))
    asyncio.run(bus.close())
    assert got == ["1", "2"]


@pytest.mark.parametrize("group", ["", "g" * 129, "two\nlines"])
async def test_a_group_that_a_bridge_would_refuse_is_refused_by_the_client_before_anything_is_sent(contracts, group):
    async with (
        mycelium.MessageBus(contracts).serve("tcp://127.0.0.1:0") as bridge,
        mycelium.connect(bridge.urls[0], contracts) as client,
    ):
        await client.flush()
        [connection] = bridge.connections
        before = connection.received_bytes
        with pytest.raises(UsageError, match="a group has a name of 1 to 128 printable characters"):
            await client.subscribe(print, contracts.Ping, group=group)
        assert client._life.conversation._requests._waiting == {}
        assert connection.received_bytes == before
