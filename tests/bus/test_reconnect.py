"""A lost connection is made again: states, subscriptions, what was published meanwhile, and when it is given up."""

import asyncio
import gc
import itertools
import time

import pytest
from faults import Proxy

import mycelium
from mycelium import (
    AuthError,
    BufferFull,
    ClosedError,
    ConnectError,
    ConnectionLost,
    MyceliumClient,
    Refused,
    SchemaMismatch,
    events,
)
from mycelium.bus.clientstate import ClientState
from mycelium.wire.frames import encode_frame
from peers import CORE, SECONDS, BareBridge, serving, until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Attempts follow each other a hundred times as fast."""
    monkeypatch.setattr("mycelium.bus.backoff._FIRST_SECONDS", 0.001)
    monkeypatch.setattr("mycelium.bus.backoff._MOST_SECONDS", 0.1)


@pytest.fixture
def listen(tmp_path):
    return f"unix://{tmp_path}/bus.sock"


async def answer(session, log=None, until_name="Goodbye"):
    """What a bridge does at the least; what it hears is kept."""
    while (event := await session.next()) is not None:
        name = type(event).__name__
        if log is not None:
            log.append(event)
        if name in ("Subscribe", "Unsubscribe"):
            session.send(CORE.Ack(request=event.request))
        elif name == "Ping":
            session.send(CORE.Pong(nonce=event.nonce))
        if name == until_name:
            return


def of(kind, log):
    return [event for event in log if type(event).__name__ == kind]


def sessions(*steps):
    """A bridge whose n-th connection is served by the n-th step, and all later ones by the last."""
    numbers = itertools.count()

    async def serve(session):
        await steps[min(next(numbers), len(steps) - 1)](session)

    return BareBridge(serve)


# --- states and order ---


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


# --- subscriptions ---


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


# --- the first connection ---


async def told(stream, kind):
    """Wait for an event of a kind."""
    while not isinstance(await stream.next(SECONDS), kind):
        pass


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


# --- what breaks is a lost connection ---


async def test_p58_a_fault_in_reading_is_a_lost_connection_and_the_next_one_works(
    contracts, listen, monkeypatch, caplog
):
    got, real = [], mycelium.bus.inbox.Inbox.receive

    def broken(inbox, batch, registry):
        monkeypatch.setattr(mycelium.bus.inbox.Inbox, "receive", real)
        raise TypeError("injected")

    async with serving(contracts, listen) as (bus, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        await client.subscribe(got.append, contracts.Ping)
        monkeypatch.setattr(mycelium.bus.inbox.Inbox, "receive", broken)
        bus.publish_nowait(contracts.Ping(value="1"))
        await until(lambda: client._life.epoch == 2)
        bus.publish_nowait(contracts.Ping(value="2"))
        await until(lambda: got)
        assert [one.value for one in got] == ["2"]
        await client.close()
    assert "TypeError: injected" in caplog.text


async def test_p55_callbacks_that_raise_do_not_keep_it_from_reconnecting(contracts, listen):
    def broken(*_):
        raise ValueError("mine")

    client = MyceliumClient(contracts, on_error=broken)
    async with serving(contracts, listen) as (bus, bridge):
        await client.connect(bridge.urls[0])
        await client.subscribe(broken, contracts.Ping, on_gap=broken, on_error=broken)
        bus.publish_nowait(contracts.Ping(value="x"))
        client._outlet.enter(encode_frame(4242, b""))
        await client.flush()
    async with serving(contracts, listen) as (bus, _):
        await until(lambda: client._life.epoch == 2)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: client.stats().delivered == 2)
        await client.close()


async def test_a_goodbye_of_the_bridge_is_answered_and_what_comes_later_is_for_the_next_one(contracts):
    heard, later = [], []

    async def first(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.send(CORE.Goodbye(reason="shutdown"))
        await answer(session, heard)
        parted.set()
        await published.wait()
        session.send(CORE.Ping(nonce=9))  # a Pong is still said
        while type(await session.next()).__name__ != "Pong":
            pass

    async def second(session):
        await session.welcome(contracts.schema)
        await answer(session, later)

    parted, published = asyncio.Event(), asyncio.Event()
    async with sessions(first, second) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.publish(contracts.Ping(value="before"))
        await parted.wait()
        await client.publish(contracts.Ping(value="after"))
        published.set()
        await until(lambda: of("Batch", later))
        await client.close()
    assert [type(event).__name__ for event in heard] == ["Goodbye"]
    assert contracts.Ping.from_bytes(of("Batch", later)[0].payload(0)) == contracts.Ping(value="after")


async def test_a_bridge_that_lets_everybody_in_and_falls_over_is_not_asked_without_a_pause(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.backoff._FIRST_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.backoff._MOST_SECONDS", 10.0)
    connections = 0

    async def fall_over(session):
        nonlocal connections
        connections += 1
        await session.welcome(contracts.schema)
        await answer(session, until_name="Subscribe")

    async with BareBridge(fall_over) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(print, contracts.Ping)
        await asyncio.sleep(0.5)
        assert connections < 30
        await client.close()


async def test_reconnect_off_is_over_with_the_first_loss(contracts, listen):
    client = MyceliumClient(contracts, reconnect=False)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    assert await client.closed() == "the bridge said goodbye: shutdown"
    for call in (
        client.publish(contracts.Ping(value="x")),
        client.subscribe(print, contracts.Ping),
        client.flush(),
    ):
        with pytest.raises(ConnectionLost, match="shutdown"):
            await call
    assert client.state is ClientState.CLOSED
    await client.close()


def test_refusals_are_picklable_with_their_values():
    import pickle

    error = pickle.loads(pickle.dumps(SchemaMismatch(7, "text", ("Ping",))))
    assert (error.code, error.text, error.types) == (7, "text", ("Ping",))
    assert isinstance(error, Refused)


# --- what was told once is not told twice ---

GROWN = """
schema: {id: 9, version: 2}
messages:
  Ping: {tlv_type: 1010, domain: examples, fields: {value: {type: String}, more: {type: u8, default: 1}}}
  Extra: {tlv_type: 1012, domain: examples, fields: {value: {type: u8}}}
"""
SMALL = """
schema: {id: 9, version: 1}
messages:
  Ping: {tlv_type: 1010, domain: examples, fields: {value: {type: String}}}
"""


async def test_contracts_that_have_changed_meanwhile_are_gone_along_with(listen):
    got, client = [], MyceliumClient(from_bridge=True)
    async with serving(mycelium.load(SMALL), listen) as (_, bridge):
        await client.connect(bridge.urls[0])
        ping = client.types.Ping
        await client.subscribe(got.append, topic="examples")
    stream = client.events()
    grown = mycelium.load(GROWN)
    async with serving(grown, listen) as (bus, _):
        await until(lambda: client._life.epoch == 2)
        await bus.publish(grown.Extra(value=1))
        await bus.publish(grown.Ping(value="x", more=7))
        await until(lambda: len(got) == 2)
        assert (type(got[0]).__name__, got[1].more, isinstance(got[1], ping)) == ("Extra", 7, True)
    async with serving(grown, listen):
        await until(lambda: client._life.epoch == 3)
        await client.close()
    told = [type(event).__name__ async for event in stream]
    assert told.count("SchemaChanged") == 1


async def test_a_confirmed_publish_that_waits_for_a_connection_learns_that_there_will_be_none(contracts, listen):
    client = MyceliumClient(contracts, max_reconnect_seconds=0.1)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    with pytest.raises(ConnectionLost, match="no connection within"):
        await client.publish(contracts.Ping(value="x"), confirm=True)
    await client.close()


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


# --- under load ---


async def test_p53_cuts_under_load_double_nothing_reorder_nothing_and_lose_only_what_was_under_way(contracts):
    asyncio.get_running_loop().set_debug(False)
    got, down = [], []
    async with serving(contracts) as (bus, bridge), Proxy(bridge.urls[0]) as proxy:
        await bus.subscribe(lambda message: got.append(message.counter_id), contracts.CounterUpdate)
        client = MyceliumClient(contracts)
        await client.connect(proxy.url)
        await client.subscribe(lambda message: down.append(message.counter_id), contracts.CounterUpdate, no_echo=False)
        confirmed, unknown = set(), set()

        async def confirm(number):
            try:
                await client.publish(contracts.CounterUpdate(number, 0, 0), confirm=True)
            except ConnectionLost:
                unknown.add(number)
            else:
                confirmed.add(number)

        number, calls = 0, []
        for epoch in range(1, 9):
            await until(lambda epoch=epoch: client._life.epoch == epoch)
            for _ in range(100):
                if number % 10 == 0:
                    calls.append(asyncio.ensure_future(confirm(number)))
                    await asyncio.sleep(0)
                else:
                    await client.publish(contracts.CounterUpdate(number, 0, 0))
                number += 1
            await proxy.cut(reset=True)
        await until(lambda: client._life.epoch == 9)
        await asyncio.gather(*calls)
        await client.flush()
        assert client.stats().buffered == client.stats().unconfirmed == 0
        await client.close()
    assert got == sorted(set(got))
    assert confirmed <= set(got)
    assert confirmed.isdisjoint(unknown)
    assert len(confirmed) + len(unknown) == 80
    assert down == sorted(set(down))
