"""Confirmed publishes: one answer each, never none; and what is held back by Flow."""

import asyncio

import pytest

import mycelium
from mycelium import (
    AuthError,
    BackpressureTimeout,
    ConfirmTimeout,
    ConnectionLost,
    MyceliumClient,
    NoSubscribers,
    QueueFull,
    Receipt,
    Refused,
    WouldDeadlock,
    events,
)
from mycelium.bus.clientstate import ClientState
from peers import CORE, SECONDS, BareBridge, serving, until


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/bus.sock"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("mycelium.bus.backoff._FIRST_SECONDS", 0.001)


def bare(contracts, on_message, log=None):
    """A bridge that answers Pings and Subscribes, and calls a function with each message's number."""

    async def serve(session):
        await session.welcome(contracts.schema)
        number = 0
        while (event := await session.next()) is not None:
            name = type(event).__name__
            if log is not None:
                log.append(event)
            if name == "Batch":
                for _ in range(len(event)):
                    number += 1
                    on_message(session, number)
            elif name == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif name in ("Subscribe", "Unsubscribe"):
                session.send(CORE.Ack(request=event.request))
            elif name == "Goodbye":
                return

    return BareBridge(serve)


def receipt(first, last=None, *, matched=1, enqueued=1, dropped=0, code=None):
    last = first if last is None else last
    return CORE.Receipt(first=first, last=last, matched=matched, enqueued=enqueued, dropped=dropped, code=code)


# --- receipts ---


async def test_a_receipt_says_who_has_taken_the_message(contracts, listen):
    async with serving(contracts, listen) as (bus, bridge):
        async with mycelium.connect(bridge.urls[0], contracts) as client:
            await client.publish(contracts.Ping(value="uncounted"))
            assert await client.publish(contracts.Ping(value="1"), confirm=True) == Receipt(1, 0, 0, 0)
            await bus.subscribe(lambda _: None, contracts.Ping)
            await client.subscribe(lambda _: None, contracts.Ping)
            await client.publish(contracts.Ping(value="2"))
            assert await client.publish(contracts.Ping(value="3"), confirm=True) == Receipt(3, 2, 2, 0)
            assert client.stats().unconfirmed == 0


async def test_p64_mandatory_needs_somebody_who_has_subscribed_to_it(contracts, listen):
    async with serving(contracts, listen) as (bus, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts) as client, mycelium.connect(url, contracts) as unrelated:
            await unrelated.subscribe(lambda _: None, contracts.Pong)
            with pytest.raises(NoSubscribers, match="nobody has subscribed to Ping"):
                await client.publish(contracts.Ping(value="x"), mandatory=True)
            await bus.subscribe(lambda _: None, contracts.Ping)
            assert (await client.publish(contracts.Ping(value="x"), mandatory=True)).matched == 1


async def test_neighbours_share_a_receipt_and_each_gets_its_own_number(contracts):
    log = []

    def on_message(session, number):
        if number == 3:
            session.send(receipt(1, 3))

    async with bare(contracts, on_message, log) as bridge, mycelium.connect(bridge.url, contracts) as client:
        got = await asyncio.gather(*(client.publish(contracts.Ping(value="x"), confirm=True) for _ in range(3)))
        assert [one.sequence for one in got] == [1, 2, 3]
    assert sum(type(event).__name__ == "Confirm" for event in log) == 1


@pytest.mark.parametrize(
    ("code", "kind", "attributes"),
    [
        (11, QueueFull, {"enqueued": 1}),
        (12, BackpressureTimeout, {"enqueued": 1, "seconds": 5.0}),
        (10, AuthError, {"code": 10, "text": "because"}),
        (9, Refused, {"code": 9, "text": "because"}),
        (13, Refused, {"code": 13}),
        (99, Refused, {"name": "99"}),
    ],
)
async def test_the_code_of_a_receipt_is_raised_with_what_the_error_before_it_says(contracts, code, kind, attributes):
    def on_message(session, number):
        session.send(CORE.Error(code=min(code, 13), message="because", fatal=False, sequence=number))
        session.send(receipt(number, matched=2, enqueued=1, dropped=1, code=code))

    refused = []
    async with bare(contracts, on_message) as bridge:
        async with mycelium.connect(bridge.url, contracts, on_error=refused.append) as client:
            with pytest.raises(kind) as caught:
                await client.publish(contracts.Ping(value="x"), confirm=True)
            assert {name: getattr(caught.value, name) for name in attributes} == attributes
            assert client.stats().refused == 0
    assert refused == []


async def test_what_nobody_waits_for_is_counted_once_and_told(contracts):
    def on_message(session, number):
        if number == 1:
            session.send(CORE.Error(code=9, message="no", fatal=False, type_id=1010))  # before Confirm
        elif number > 2:
            session.send(CORE.Error(code=11, message="full", fatal=False, type_id=1010, sequence=number - 1))
            session.send(receipt(number - 1, code=11))
        else:
            session.send(receipt(1))

    refused = []
    async with bare(contracts, on_message) as bridge:
        async with mycelium.connect(bridge.url, contracts, on_error=refused.append) as client:
            stream = client.events()
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            await client.publish(contracts.Ping(value="x"), confirm=True)
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            assert client.stats().refused == 2
            assert await stream.next(SECONDS) == events.PublishRefused(9, "invalid_payload", 1010)
            assert await stream.next(SECONDS) == events.PublishRefused(11, "queue_full", 1010)
    assert [one.code for one in refused] == [9, 11]


async def test_no_receipt_in_time_is_a_timeout_of_its_own(contracts):
    async with bare(contracts, lambda *_: None) as bridge:
        async with mycelium.connect(bridge.url, contracts, confirm_timeout=0.05) as client:
            with pytest.raises(ConfirmTimeout, match="no receipt for Ping within 0.05 s"):
                await client.publish(contracts.Ping(value="x"), confirm=True)
            assert client.stats().unconfirmed == 0


async def test_a_connection_lost_under_it_leaves_the_outcome_unknown(contracts):
    def on_message(session, _):
        session.writer.transport.abort()

    async with bare(contracts, on_message) as bridge:
        async with mycelium.connect(bridge.url, contracts) as client:
            with pytest.raises(ConnectionLost):
                await client.publish(contracts.Ping(value="x"), confirm=True)


async def test_p53_one_that_waited_for_a_connection_is_confirmed_there(contracts, tmp_path):
    listen = f"unix://{tmp_path}/bus.sock"
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        await client.publish(contracts.Ping(value="x"), confirm=True)
    await until(lambda: client.state is ClientState.RECONNECTING)
    publishing = asyncio.ensure_future(client.publish(contracts.Ping(value="y"), confirm=True))
    await until(lambda: client.stats().buffered == 1)
    async with serving(contracts, listen):
        assert await publishing == Receipt(1, 0, 0, 0)
        await client.close()


async def test_p82_a_cancelled_one_that_was_not_sent_is_not_sent(contracts, tmp_path):
    listen = f"unix://{tmp_path}/bus.sock"
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    publishing = asyncio.ensure_future(client.publish(contracts.Ping(value="y"), confirm=True))
    await until(lambda: client.stats().buffered == 1)
    publishing.cancel()
    await asyncio.wait([publishing])
    assert (client.stats().buffered, client.stats().buffered_bytes, client.stats().published) == (0, 0, 0)
    await client.close()


# --- Flow ---


async def test_flow_holds_back_a_type_and_no_other(contracts):
    received = []

    def on_message(session, number):
        received.append(number)
        if number == 1:
            session.send(CORE.Flow(type_ids=[1010], paused=True, reason="block"))
        if number == 2:
            session.send(CORE.Flow(type_ids=[1010], paused=False, reason="block"))

    async with bare(contracts, on_message) as bridge, mycelium.connect(bridge.url, contracts) as client:
        await client.publish(contracts.Ping(value="x"))
        await client.flush()
        with pytest.raises(QueueFull) as caught:
            client.publish_nowait(contracts.Ping(value="x"))
        assert caught.value.enqueued == 0
        waiting = asyncio.ensure_future(client.publish(contracts.Ping(value="x")))
        await client.flush()
        assert not waiting.done()
        await client.publish(contracts.Pong(value="x"))
        await waiting
        await client.flush()
    assert received == [1, 2, 3]


async def test_p45_a_publish_that_is_held_back_for_too_long_raises_and_one_that_is_cancelled_is_not_sent(contracts):
    received = []

    def on_message(session, number):
        received.append(number)
        session.send(CORE.Flow(type_ids=[], paused=True, reason="memory"))

    async with bare(contracts, on_message) as bridge:
        async with mycelium.connect(bridge.url, contracts, block_timeout=0.1) as client:
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            with pytest.raises(BackpressureTimeout, match=r"no room within 0.1 s"):
                await client.publish(contracts.Pong(value="x"))
            cancelled = asyncio.ensure_future(client.publish(contracts.Pong(value="x")))
            await client.flush()
            cancelled.cancel()
            await asyncio.wait([cancelled])
            await client.flush()
            assert client.stats().published == 1
    assert received == [1]


def is_held_back(client, message):
    """Whether the bridge's Flow has been read."""
    try:
        client.publish_nowait(message)
    except QueueFull:
        return True
    return False


async def test_flow_is_forgotten_with_its_connection(contracts):
    connections, gone = 0, asyncio.Event()

    async def serve(session):
        nonlocal connections
        connections += 1
        await session.welcome(contracts.schema)
        if connections == 1:
            session.send(CORE.Flow(type_ids=[], paused=True, reason="memory"))
            await gone.wait()
            return
        while (event := await session.next()) is not None:
            if type(event).__name__ == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif type(event).__name__ == "Goodbye":
                return

    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        await until(lambda: is_held_back(client, contracts.Ping(value="x")))
        gone.set()
        await client.publish(contracts.Ping(value="x"))
        await client.flush()
        assert connections == 2


async def test_a_handler_that_publishes_into_its_own_full_queue_is_told_at_once(contracts):
    async with serving(contracts) as (bus, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, block_timeout=10.0) as client:
            raised = asyncio.get_running_loop().create_future()

            async def feed_itself(message):
                try:
                    while not raised.done():
                        await client.publish(message)
                        await client.flush()
                except WouldDeadlock as error:
                    if not raised.done():
                        raised.set_result(error)

            await client.subscribe(feed_itself, contracts.Ping, on_lag="block", queue=2, window=1)
            await bus.publish(contracts.Ping(value="x"))
            async with asyncio.timeout(SECONDS):
                assert (await raised).message == "Ping"


@pytest.mark.parametrize("size", [10, 1_000, 50_000])
async def test_a_pipeline_under_block_loses_nothing_and_nothing_is_refused(contracts, listen, size):
    asyncio.get_running_loop().set_debug(False)
    got, count = [], 3_000_000 // (size + 1_000)
    async with serving(contracts, listen) as (_, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts) as publisher, mycelium.connect(url, contracts) as worker:

            async def work(message):
                if len(got) % 50 == 0:
                    await asyncio.sleep(0.001)
                got.append(int(message.value[:8]))

            await worker.subscribe(work, contracts.Ping, on_lag="block", queue=20, window=10)
            for number in range(count):
                await publisher.publish(contracts.Ping(value=f"{number:08}" + "x" * size))
            await publisher.flush()
            await until(lambda: len(got) == count)
            assert publisher.stats().refused == 0
            assert worker.stats().dropped == {}
    assert got == list(range(count))
