"""A client over real sockets, TCP and Unix: what it publishes and gets, of any size, and when it may not be used."""

import asyncio
import gc
import logging
import threading
import time

import pytest

import mycelium
from mycelium import ClosedError, EncodeError, MyceliumClient, RuleError, UsageError
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
