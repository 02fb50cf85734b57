"""Requests of clients, replies of their handlers, groups, echoes, last values: what crosses a socket for them."""

import asyncio

import pytest

import mycelium
from mycelium import ConnectionLost, MyceliumClient, NoResponders, UsageError, events
from mycelium.bus.clientstate import ClientState
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, SECONDS, BareBridge, peer_at, serving, until


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/bus.sock"


def frame(message, **metadata):
    """A message's frame with metadata."""
    return encode_frame(message.TYPE_ID, message.to_bytes() + Metadata(**metadata).encode())


def metadata_of(batch, index=0):
    """What a frame carries beside its message."""
    tags = {}
    payload = batch.payload(index)
    position = 0
    while position < len(payload):
        tag = int.from_bytes(payload[position : position + 2], "little")
        size = int.from_bytes(payload[position + 2 : position + 6], "little")
        tags[tag] = payload[position + 6 : position + 6 + size]
        position += 6 + size
    return Metadata.from_tags({tag: value for tag, value in tags.items() if tag >= 0xFF01})


# --- requests ---


async def test_a_request_is_answered_by_a_handler_of_another_client(contracts, listen):
    async with serving(contracts, listen) as (_, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts) as asking, mycelium.connect(url, contracts) as answering:

            @answering.reply(contracts.Ping)
            async def shout(message):
                return contracts.Pong(value=message.value.upper())

            await until(lambda: bridge.sessions[1].subscriptions)
            await answering.flush()
            replies = await asyncio.gather(
                *(asking.request(contracts.Ping(value=f"n{n}"), contracts.Pong, timeout=SECONDS) for n in range(50))
            )
            assert [one.value for one in replies] == [f"N{n}" for n in range(50)]
            assert repr(asking._correspondence) == "<Correspondence, <Awaited, 0 requests>>"


async def test_nobody_to_answer_is_said_at_once(contracts, listen):
    async with serving(contracts, listen) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        async with asyncio.timeout(1):
            with pytest.raises(NoResponders, match="nobody answers Ping"):
                await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=30)


async def test_the_frames_of_a_request_and_its_reply(contracts):
    asked = []

    async def serve(session):
        await session.welcome(contracts.schema, session=42)
        asked.append(await session.next())
        found = metadata_of(asked[0])
        session.send(frame(contracts.Pong(value="late"), correlation=bytes(16), deliver_to=42))
        session.send(frame(contracts.Pong(value="yes"), correlation=found.correlation, deliver_to=42))
        session.send(frame(contracts.Pong(value="twice"), correlation=found.correlation, deliver_to=42))
        while (event := await session.next()) is not None:
            if type(event).__name__ == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif type(event).__name__ == "Goodbye":
                return

    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        assert await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS) == contracts.Pong("yes")
        await client.flush()
        assert client.stats().late_replies == 2
    found = metadata_of(asked[0])
    assert (found.reply_to, found.deliver_to, len(found.correlation)) == (42, None, 16)


async def test_a_reply_is_given_to_no_handler_and_costs_no_credit(contracts):
    heard = []

    async def serve(session):
        await session.welcome(contracts.schema, session=42)
        while (event := await session.next()) is not None:
            name = type(event).__name__
            heard.append(name)
            if name in ("Subscribe", "Unsubscribe"):
                session.send(CORE.Ack(request=event.request))
            elif name == "Batch":
                reply = contracts.Pong(value="yes")
                session.send(frame(reply, correlation=metadata_of(event).correlation, deliver_to=42))
            elif name == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif name == "Goodbye":
                return

    got = []
    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        await client.subscribe(got.append, contracts.Pong, window=1)
        await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS)
        await client.flush()
        assert got == []
        assert "Credit" not in heard


async def test_a_reply_that_does_not_come_is_a_timeout_and_a_wrong_one_an_error(contracts):
    async def serve(session):
        await session.welcome(contracts.schema, session=42)
        await session.next()
        found = metadata_of(await session.next())
        session.send(frame(contracts.Ping(value="no"), correlation=found.correlation, deliver_to=42))
        await session.next()

    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        with pytest.raises(TimeoutError, match="no Pong came within 0.05 s"):
            await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=0.05)
        with pytest.raises(UsageError, match="Ping came as the reply, not Pong"):
            await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS)
        client._life.conversation.abort("enough")


async def test_a_connection_lost_under_a_request_is_said_and_one_that_waits_goes_through_the_next(contracts):
    connections = 0

    async def serve(session):
        nonlocal connections
        connections += 1
        await session.welcome(contracts.schema, session=connections)
        event = await session.next()
        if connections == 1:
            return
        found = metadata_of(event)
        assert found.reply_to == connections
        session.send(frame(contracts.Pong(value="yes"), correlation=found.correlation, deliver_to=connections))
        await session.next()

    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        with pytest.raises(ConnectionLost):
            await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS)
        assert client.state is ClientState.RECONNECTING
        assert await client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS) == contracts.Pong("yes")


async def test_a_cancelled_request_leaves_nothing(contracts, tmp_path):
    listen = f"unix://{tmp_path}/bus.sock"
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (bus, bridge):
        await client.connect(bridge.urls[0])
        await bus.subscribe(lambda _: None, contracts.Ping)
        asking = asyncio.ensure_future(client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS))
        await client.flush()
        asking.cancel()
        await asyncio.wait([asking])
        assert (len(client._correspondence._awaited), client._correspondence._out) == (0, {})
    await until(lambda: client.state is ClientState.RECONNECTING)
    asking = asyncio.ensure_future(client.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS))
    await until(lambda: client.stats().buffered == 1)
    asking.cancel()
    await asyncio.wait([asking])
    assert client.stats().buffered == 0
    await client.close()


async def test_a_handler_replies_to_the_session_that_asked(contracts):
    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts) as client, peer_at(bridge.urls[0]) as peer:

            async def answer(message, delivery: mycelium.Delivery):
                await delivery.reply(contracts.Pong(value=message.value))

            await client.subscribe(answer, contracts.Ping)
            peer.send(frame(contracts.Ping(value="?"), correlation=b"c" * 16, reply_to=peer.session))
            reply = await peer.next()
            found = metadata_of(reply)
            assert (reply.type_ids, found.correlation, found.deliver_to) == ([1011], b"c" * 16, peer.session)


# --- options ---


async def test_the_options_of_a_subscription_are_the_bridges(contracts):
    asked = []

    async def serve(session):
        await session.welcome(contracts.schema)
        while type(event := await session.next()).__name__ == "Subscribe":
            asked.append(event)
            session.send(CORE.Ack(request=event.request))

    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        await client.subscribe(print, contracts.Ping)
        await client.subscribe(
            print, contracts.Pong, on_lag="block", queue=7, window=3, no_echo=True, group="g", concurrency=2
        )
        client._life.conversation.abort("enough")
    plain, full = (
        {name: getattr(one, name) for name in ("type_ids", "on_lag", "window", "queue", "no_echo", "group")}
        for one in asked
    )
    assert plain == {
        "type_ids": [1010], "on_lag": None, "window": 1024, "queue": None, "no_echo": None, "group": None
    }  # fmt: skip
    assert full == {"type_ids": [1011], "on_lag": 3, "window": 3, "queue": 7, "no_echo": True, "group": "g"}


async def test_p85_a_second_handler_takes_the_options_that_there_are_or_is_refused_in_one_line(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await client.subscribe(print, contracts.Ping, on_lag="latest", group="g", no_echo=True)
        await client.subscribe(print, contracts.Ping, group="g", no_echo=True)
        await client.subscribe(print, contracts.Ping, on_lag="latest", group="g", no_echo=True)
        for options, text in (
            ({"on_lag": "block", "group": "g", "no_echo": True}, "on_lag='latest'"),
            ({"group": "h", "no_echo": True}, "group='g'"),
            ({"no_echo": True}, "group='g'"),
            ({"group": "g"}, "no_echo=True"),
            ({"queue": 5, "group": "g", "no_echo": True}, "queue=None"),
        ):
            with pytest.raises(UsageError, match=text):
                await client.subscribe(print, contracts.Ping, **options)
        assert len(client._inbox.dispatcher.subscriptions) == 3
        with pytest.raises(UsageError, match="no option colour"):
            await client.subscribe(print, contracts.Pong, colour=1)


async def test_handlers_of_a_group_take_turns_here_and_over_clients(contracts, listen):
    got = {"a": [], "b": [], "c": []}
    async with serving(contracts, listen) as (bus, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts) as one, mycelium.connect(url, contracts) as two:
            await one.subscribe(got["a"].append, contracts.Ping, group="workers")
            await one.subscribe(got["b"].append, contracts.Ping, group="workers")
            await two.subscribe(got["c"].append, contracts.Ping, group="workers")
            for number in range(40):
                await bus.publish(contracts.Ping(value=str(number)))
                await until(lambda number=number: sum(map(len, got.values())) == number + 1)
    assert sorted(int(one.value) for each in got.values() for one in each) == list(range(40))
    assert abs(len(got["a"]) - len(got["b"])) <= 1
    assert min(map(len, got.values())) >= 5


async def test_p30_no_echo_leaves_out_what_the_client_published_itself(contracts, listen):
    got = []
    async with serving(contracts, listen) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await client.subscribe(lambda message: got.append(message.value), contracts.Ping, no_echo=True)
        await client.publish(contracts.Ping(value="own"))
        await client.flush()
        await bus.publish(contracts.Ping(value="other"))
        await until(lambda: got)
    assert got == ["other"]


# --- what the bridge has dropped ---


async def test_lagged_is_counted_once_with_each_handler_of_its_subscription_and_of_a_group_with_one(contracts):
    async def serve(session):
        await session.welcome(contracts.schema)
        for _ in range(2):
            subscribe = await session.next()
            session.send(CORE.Ack(request=subscribe.request))
        session.send(CORE.Lagged(subscription=1, type_id=1010, dropped=3, reason=0))
        session.send(CORE.Lagged(subscription=9, type_id=1010, dropped=50, reason=0))
        session.send(CORE.Lagged(subscription=2, type_id=1011, dropped=4, reason=1))
        session.send(CORE.Lagged(subscription=1, type_id=1010, dropped=2, reason=200))
        session.send(CORE.Lagged(subscription=1, type_id=4242, dropped=2, reason=0))
        while type(event := await session.next()).__name__ != "Goodbye":
            if type(event).__name__ == "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            elif type(event).__name__ == "Unsubscribe":
                session.send(CORE.Ack(request=event.request))

    gaps = []
    async with BareBridge(serve) as bridge, mycelium.connect(bridge.url, contracts) as client:
        async with client.messages(contracts.Ping, gaps=True) as stream:
            both = [await client.subscribe(print, contracts.Ping, on_gap=gaps.append)]
            workers = [await client.subscribe(print, contracts.Pong, group="g") for _ in range(2)]
            await client.flush()
            assert [one.stats().dropped for one in both] == [{"dropped_oldest": 3, "reason_200": 2}]
            assert sorted(one.stats().matched for one in workers) == [0, 4]
            assert await stream.next(SECONDS) == events.Gap(("Ping",), 3, "dropped_oldest", "an iterator")
            assert all(one.stats().balanced for one in (*both, *workers))
            stats = client.stats()
            assert stats.dropped == {"dropped_oldest": 6, "reason_200": 4, "dropped_newest": 4}
            assert stats.matched == 14
            assert stats.balanced
    assert gaps == [events.Gap(("Ping",), 3, "dropped_oldest", "print")]


# --- last values ---

LAST = """
messages:
  Price: {tlv_type: 1000, retain: last, key: [name], fields: {name: {type: String}, value: {type: u32}}}
"""


async def test_last_values_are_marked_and_later_handlers_see_them_too(listen):
    contracts = mycelium.load(LAST)
    got, later = [], []

    def take(into):
        return lambda message, delivery: into.append((message.name, message.value, delivery.retained))

    async with serving(contracts, listen) as (bus, bridge):
        for name, value in (("a", 1), ("b", 2), ("a", 3)):
            await bus.publish(contracts.Price(name=name, value=value))
        async with mycelium.connect(bridge.urls[0], contracts) as client:
            await client.subscribe(take(got), contracts.Price)
            await bus.publish(contracts.Price(name="c", value=4))
            await until(lambda: len(got) == 3)
            await client.subscribe(take(later), contracts.Price)
            await until(lambda: len(later) == 3)
            await bus.publish(contracts.Price(name="a", value=5))
            await until(lambda: len(later) == len(got) == 4)
            assert client.stats().balanced
    assert got == [("b", 2, True), ("a", 3, True), ("c", 4, False), ("a", 5, False)]
    assert later == [("b", 2, True), ("a", 3, True), ("c", 4, True), ("a", 5, False)]
