"""A client over real sockets, TCP and Unix: interest, confirmation, credit, back-pressure, sizes, refusals."""

import asyncio
import contextlib
import gc
import itertools
import logging
import threading
import time

import pytest

import mycelium
from mycelium import (
    BufferFull,
    ClosedError,
    ConnectError,
    ConnectionLost,
    EncodeError,
    MyceliumClient,
    Refused,
    RuleError,
    SchemaMismatch,
    UsageError,
)
from mycelium.wire.frames import encode_frame
from peers import CORE, SECONDS, BareBridge, peer_at, serving, until


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/bus.sock"


async def answer_until_goodbye(session):
    """What a bridge does at the least."""
    while (event := await session.next()) is not None:
        name = type(event).__name__
        if name in ("Subscribe", "Unsubscribe"):
            session.send(CORE.Ack(request=event.request))
        elif name == "Ping":
            session.send(CORE.Pong(nonce=event.nonce))
        elif name == "Goodbye":
            return


# --- publish and subscribe ---


async def test_what_is_published_reaches_subscribers_in_order(contracts, listen):
    got = []
    async with serving(contracts, listen) as (_, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts) as subscriber, mycelium.connect(url, contracts) as publisher:
            await subscriber.subscribe(got.append, contracts.Ping, contracts.Pong)
            for number in range(500):
                await publisher.publish((contracts.Ping, contracts.Pong)[number % 2](value=str(number)))
            await publisher.flush()
            await until(lambda: len(got) == 500)
    assert [message.value for message in got] == [str(number) for number in range(500)]


async def test_a_client_gets_what_its_bus_publishes_and_the_bus_what_a_client_does(contracts, listen):
    here, there = [], []
    async with serving(contracts, listen) as (bus, bridge):
        await bus.subscribe(lambda message, delivery: here.append((message, delivery.publisher)), contracts.Ping)
        async with mycelium.connect(bridge.urls[0], contracts) as client:
            await client.subscribe(there.append, contracts.Pong)
            await bus.publish(contracts.Pong(value="down"))
            await client.publish(contracts.Ping(value="up"))
            await client.flush()
            await until(lambda: there)
    assert here == [(contracts.Ping(value="up"), None)]
    assert there == [contracts.Pong(value="down")]


async def test_nobody_receives_what_it_did_not_subscribe_to(contracts):
    async with (
        serving(contracts) as (_, bridge),
        peer_at(bridge.urls[0]) as pings,
        peer_at(bridge.urls[0]) as nothing,
        mycelium.connect(bridge.urls[0], contracts) as publisher,
    ):
        await pings.subscribe(1, [1010])
        for number in range(10):
            await publisher.publish(contracts.Ping(value=str(number)))
            await publisher.publish(contracts.Pong(value=str(number)))
        await publisher.flush()
        batches = await pings.barrier()
        while sum(map(len, batches)) < 10:
            batches.append(await pings.next())
        assert {type_id for batch in batches for type_id in batch.type_ids} == {1010}
        assert await nothing.barrier() == []


async def test_subscribe_returns_when_the_bridge_has_confirmed(contracts, listen):
    async with serving(contracts, listen) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        for number in range(20):
            got = []
            subscription = await client.subscribe(got.append, contracts.Ping)
            assert len(bus.router.takers(1010)) == 1
            bus.publish_nowait(contracts.Ping(value=str(number)))
            await until(lambda got=got: got)
            await subscription.unsubscribe()
            assert bus.router.takers(1010) == ()


async def test_nothing_follows_unsubscribe(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        got, stop = [], False

        async def publish():
            while not stop:
                await bus.publish(contracts.Ping(value="x"))
                await asyncio.sleep(0)

        publishing = asyncio.ensure_future(publish())
        subscription = await client.subscribe(got.append, contracts.Ping)
        await until(lambda: len(got) > 20)
        await subscription.unsubscribe()
        count = len(got)
        await client.flush()
        await client.flush()
        stop = True
        await publishing
        assert len(got) == count


async def test_several_handlers_of_a_type_share_one_frame_and_its_credit(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        one, two, both = [], [], []
        await client.subscribe(one.append, contracts.Ping, window=4)
        await client.subscribe(two.append, contracts.Ping)
        leaving = await client.subscribe(both.append, contracts.Ping, contracts.Pong)
        (session,) = bridge.sessions
        assert [sorted(each.type_ids) for each in session.subscriptions] == [[1010], [1011]]
        for number in range(100):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: len(both) == 100)
        assert one == two == both
        await leaving.unsubscribe()
        assert [sorted(each.type_ids) for each in session.subscriptions] == [[1010]]
        bus.publish_nowait(contracts.Ping(value="more"))
        await until(lambda: len(two) == 101)
        assert len(both) == 100


async def test_a_second_subscription_with_other_options_is_refused_in_one_line(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await client.subscribe(print, contracts.Ping, window=4)
        with pytest.raises(UsageError, match="type id 1010 is subscribed already, with window=4"):
            await client.subscribe(print, contracts.Ping, window=8)
        assert len(client._inbox.dispatcher.subscriptions) == 1


async def test_messages_are_iterated(contracts, listen):
    async with serving(contracts, listen) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        async with client.messages(contracts.Ping) as stream:
            for number in range(3):
                bus.publish_nowait(contracts.Ping(value=str(number)))
            assert [(await stream.next(timeout=SECONDS)).value for _ in range(3)] == ["0", "1", "2"]
            with pytest.raises(TimeoutError):
                await stream.next(timeout=0.01)
        assert bus.router.takers(1010) == ()


async def test_a_plain_loop_unsubscribes_at_the_bridge_when_it_is_left(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:

        async def publish():
            await until(lambda: bus.router.takers(1010))
            bus.publish_nowait(contracts.Ping(value="x"))

        publishing = asyncio.ensure_future(publish())
        async for _ in client.messages(contracts.Ping):
            break
        await publishing
        gc.collect()
        await until(lambda: not bus.router.takers(1010))


async def test_topics_are_resolved_by_the_client(contracts):
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        got = []
        await client.subscribe(got.append, topic="examples")
        bus.publish_nowait(contracts.CounterUpdate(1, 2, 3))
        await until(lambda: got)
        assert got == [contracts.CounterUpdate(1, 2, 3)]


async def test_flush_means_that_the_bridge_has_everything(contracts, listen):
    got = []
    async with serving(contracts, listen) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await bus.subscribe(got.append, contracts.CounterUpdate)
        for burst in range(10):
            for number in range(200):
                client.publish_nowait(contracts.CounterUpdate(burst, number, 0))
            await client.flush()
            assert len(got) == 200 * (burst + 1)


async def test_stamped_messages_tell_who_published_them_when_and_which(contracts):
    got = []
    async with serving(contracts) as (bus, bridge):
        url = bridge.urls[0]
        async with (
            mycelium.connect(url, contracts, stamp=True) as publisher,
            mycelium.connect(url, contracts) as client,
        ):
            await client.subscribe(lambda _, delivery: got.append(delivery), contracts.Ping)
            await bus.subscribe(lambda _, delivery: got.append(delivery), contracts.Ping)
            before = time.time_ns()
            for _ in range(2):
                await publisher.publish(contracts.Ping(value="x"))
            with pytest.raises(EncodeError):
                await publisher.publish(contracts.Ping(value=1))
            await publisher.publish(contracts.Ping(value="x"))
            await until(lambda: len(got) == 6)
    assert {delivery.publisher for delivery in got} == {publisher.session}
    assert sorted(delivery.sequence for delivery in got) == [1, 1, 2, 2, 3, 3]
    assert all(before <= delivery.published_at <= time.time_ns() for delivery in got)


# --- credit and back-pressure ---


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


# --- sizes ---


async def test_a_payload_of_4_mib_goes_through_both_ways(contracts, listen):
    got = []
    big = contracts.Ping(value="x" * (4 * 1024 * 1024 - 6))
    async with serving(contracts, listen) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await client.subscribe(got.append, contracts.Ping)
        await client.publish(big)
        await bus.publish(big)
        await until(lambda: len(got) == 2)
        assert got == [big, big]
        with pytest.raises(EncodeError, match="a payload of 4194305 bytes"):
            await client.publish(contracts.Ping(value="x" * (4 * 1024 * 1024 - 5)))


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_p14_a_payload_over_the_bridges_limit_is_refused_before_it_is_sent(contracts, over):
    most = 8192
    message = contracts.Ping(value="x" * (most - 6 + over))
    got = []
    async with serving(contracts, max_payload=most) as (bus, bridge):
        async with mycelium.connect(bridge.urls[0], contracts) as client:
            await client.subscribe(got.append, contracts.Ping)
            if over > 0:
                for publish in (client, bus):
                    with pytest.raises(EncodeError, match="a payload of 8193 bytes; the other side takes at most 8192"):
                        await publish.publish(message)
            else:
                await client.publish(message)
                await bus.publish(message)
                await until(lambda: len(got) == 2)
            await client.flush()
            (session,) = bridge.sessions
            assert (session.intake.received, session.reason) == (int(over <= 0), None)


async def test_p14_a_raw_peer_over_the_limit_is_ended(contracts):
    async with serving(contracts, max_payload=8192) as (_, bridge), peer_at(bridge.urls[0]) as peer:
        peer.send(encode_frame(1010, bytes.fromhex("0100 fa1f0000") + b"x" * 8186))
        assert await peer.barrier() == []
        peer.send(encode_frame(1010, bytes.fromhex("0100 fb1f0000") + b"x" * 8187))
        (error,) = await peer.ending()
        assert (error.code, error.message) == (3, "a payload of 8193 bytes; at most 8192 are taken")


# --- contracts ---


async def test_a_client_without_a_file_takes_the_bridges_contracts(contracts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MYCELIUM_CONTRACTS", raising=False)
    got = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient()
        with pytest.raises(ClosedError, match="not connected, and there is no contracts file"):
            _ = client.types
        await client.connect(bridge.urls[0])
        async with client:
            assert client.types.schema.digest == contracts.schema.digest
            assert client.types.Ping is not contracts.Ping
            await client.subscribe(got.append, client.types.Ping)
            bus.publish_nowait(contracts.Ping(value="x"))
            await until(lambda: got)
            assert got == [client.types.Ping(value="x")]
            with pytest.raises(UsageError, match="is not of <Contracts"):
                await client.publish(contracts.Ping(value="x"))


async def test_a_client_with_a_file_may_take_the_bridges_contracts_all_the_same(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], from_bridge=True) as client:
        assert client.types.schema.source.startswith("<contracts of ")


OTHER = "schema: {id: 7}\nmessages:\n  Ping: {tlv_type: 1010, fields: {value: {type: u8}}}\n"


async def test_p20_contracts_that_cannot_talk_to_each_other_are_refused(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(mycelium.load(OTHER))
        with pytest.raises(SchemaMismatch, match="schema_incompatible"):
            await client.connect(bridge.urls[0])
        await client.close()
        await until(lambda: not bridge.sessions)


async def test_a_bridge_that_sends_no_contracts_to_a_client_without_any_is_no_use(contracts, monkeypatch, tmp_path):
    async def serve(session):
        await session.welcome(contracts.schema)
        await session.next()

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(from_bridge=True)
        with pytest.raises(Refused, match="give the client a contracts file"):
            await client.connect(bridge.url)
        await client.close()


# --- what the bridge refuses later ---


async def test_a_refused_publish_is_told_to_on_error_whatever_that_raises(contracts, caplog):
    refused = []

    def on_error(error):
        refused.append(error)
        raise ValueError

    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, on_error=on_error) as client:
            client._outlet.enter(encode_frame(4242, b""))
            await client.flush()
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            assert [(type(one), one.code) for one in refused] == [(Refused, 8)]
            assert str(refused[0]) == "the bridge refused (unknown_type): the bridge's contracts have no type id 4242"
    assert "on_error of" in caplog.text


async def test_what_the_bridge_refuses_is_logged_without_the_messages_values(contracts, caplog):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        client._outlet.enter(encode_frame(1001, bytes.fromhex("0100 00000000 0200 09000000") + b"canary999"))
        await client.flush()
    assert "the bridge refused (invalid_payload) a TextMessage" in caplog.text
    assert "canary" not in caplog.text


async def test_forged_metadata_is_denied(contracts):
    refused = []
    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, stamp=True, on_error=refused.append) as client:
            client._outlet.buffer._session = client.session + 1
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            assert [one.code for one in refused] == [10]


async def test_a_refused_subscription_raises_and_leaves_nothing(contracts):
    async with serving(contracts, types=1) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(Refused, match="limit"):
            await client.subscribe(print, contracts.Ping, contracts.Pong)
        assert not client._inbox.dispatcher.subscriptions
        got = []
        await client.subscribe(got.append, contracts.Ping)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: got)


async def test_a_subscription_that_is_not_answered_times_out_and_leaves_nothing(contracts):
    asked = []

    async def say_nothing(session):
        await session.welcome(contracts.schema)
        while (event := await session.next()) is not None:
            asked.append(type(event).__name__)

    async with BareBridge(say_nothing) as bridge:
        client = MyceliumClient(contracts, timeout=0.1)
        await client.connect(bridge.url)
        with pytest.raises(TimeoutError):
            await client.subscribe(print, contracts.Ping)
        with pytest.raises(TimeoutError):
            await client.flush()
        cancelled = asyncio.ensure_future(client.subscribe(print, contracts.Pong))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert not client._inbox.dispatcher.subscriptions
        await until(lambda: asked == ["Subscribe", "Unsubscribe", "Ping", "Subscribe", "Unsubscribe"])
        client._life.conversation.abort("enough")
        await client.close()


# --- connecting to what is no bridge ---


async def test_nobody_there_is_a_connect_error_in_the_systems_own_words(contracts, tmp_path):
    async with BareBridge(lambda _: None) as gone:
        url = gone.url
    for place, reason in ((url, "connection refused"), (f"unix://{tmp_path}/none", "no such file or directory")):
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError) as caught:
            await client.connect(place)
        assert caught.value.reason == reason
        await client.close()


@pytest.mark.parametrize("url", ["tcp://" + "a" * 70 + ".example:1", "tcp://host.invalid:1"])
async def test_a_host_that_is_none_is_a_connect_error(contracts, url):
    client = MyceliumClient(contracts)
    with pytest.raises(ConnectError):
        await client.connect(url)
    await client.close()


async def test_a_silent_listener_is_a_connect_error_in_time(contracts):
    async def silent(session):
        await session.reader.read()

    async with BareBridge(silent) as bridge:
        client = MyceliumClient(contracts, timeout=0.2)
        start = time.monotonic()
        with pytest.raises(ConnectError, match="no answer within 0.2 s"):
            await client.connect(bridge.url)
        assert time.monotonic() - start < 2
        await client.close()


async def test_p23_an_http_server_is_a_connect_error_that_says_so(contracts):
    async def http(session):
        await session.reader.read(1)
        session.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await session.writer.drain()

    async with BareBridge(http) as bridge:
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError, match="it does not speak Mycelium's protocol"):
            await client.connect(bridge.url)
        await client.close()


@pytest.mark.parametrize("after", [0, 10, 60, -1])
async def test_p59_a_connection_that_ends_during_the_handshake_is_a_connect_error(contracts, after):
    async def cut(session):
        await session.next()
        schema = contracts.schema
        welcome = CORE.encode(
            CORE.Welcome(
                protocol=1,
                server="bare!",
                session=1,
                schema_id=schema.id,
                schema_version=1,
                schema_digest=bytes.fromhex(schema.digest),
                max_payload=1,
                heartbeat_ms=1000,
            )
        )
        session.send(welcome[:after])
        await session.writer.drain()

    async with BareBridge(cut) as bridge:
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError):
            await client.connect(bridge.url)
        await client.close()


async def test_a_client_that_failed_to_connect_may_try_again(contracts, tmp_path):
    client = MyceliumClient(contracts)
    with pytest.raises(ConnectError):
        await client.connect(f"unix://{tmp_path}/bus.sock")
    async with serving(contracts, f"unix://{tmp_path}/bus.sock") as (_, bridge):
        await client.connect(bridge.urls[0])
        await client.flush()
        with pytest.raises(UsageError, match="connected already"):
            await client.connect(bridge.urls[0])
        await client.close()


# --- use at the wrong time and place ---


async def test_before_connecting_nothing_works_and_says_so(contracts):
    client = MyceliumClient(contracts)
    for call in (client.publish(contracts.Ping(value="x")), client.subscribe(print, contracts.Ping), client.flush()):
        with pytest.raises(ClosedError, match="not connected; call `await client.connect"):
            await call
    with pytest.raises(ClosedError):
        await client.closed()
    assert " connecting, <Inbox of 0 subscriptions>" in repr(client)


async def test_p84_a_publish_from_another_thread_is_a_clear_error(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        errors = []

        def publish():
            try:
                client.publish_nowait(contracts.Ping(value="x"))
            except UsageError as error:
                errors.append(str(error))

        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()
        assert errors == ["a client belongs to one thread; use asyncio.run_coroutine_threadsafe from others"]


@pytest.mark.parametrize(
    "message", [("Ping", {"value": 1}), ("TextMessage", {"sender": "", "content": "x", "timestamp": 1})]
)
async def test_messages_are_checked_before_they_are_sent_with_the_same_errors_as_on_a_bus(contracts, message):
    name, fields = message
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        errors = []
        for publisher in (client, bus):
            with pytest.raises((EncodeError, RuleError)) as caught:
                await publisher.publish(contracts[name](**fields))
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1]
        await client.flush()
        assert bridge.sessions[0].intake.received == 0


async def test_messages_of_the_bridge_that_cannot_be_read_are_skipped_and_counted_without_their_values(
    contracts, caplog
):
    async def serve(session):
        await session.welcome(contracts.schema)
        subscribe = await session.next()
        session.send(CORE.Ack(request=subscribe.request))
        bad = encode_frame(1010, bytes.fromhex("0100 0a000000") + b"\xffcanary777")
        good = encode_frame(1010, bytes.fromhex("0100 01000000 78"))
        session.send(bad, bad, good)
        await answer_until_goodbye(session)

    got = []
    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        with caplog.at_level(logging.DEBUG, "mycelium"):
            await client.subscribe(got.append, contracts.Ping)
            await until(lambda: got)
        assert client._inbox.skipped == 2
        assert "cannot be read: Ping.value" in caplog.text
        assert "canary" not in caplog.text
        await client.close()
