"""A lost connection is made again: what counts as lost, what has changed meanwhile, and all of it under load."""

import asyncio

import pytest
from faults import Proxy

import mycelium
from mycelium import ConnectionLost, MyceliumClient, Refused, SchemaMismatch
from mycelium.bus.clientstate import ClientState
from mycelium.wire.frames import encode_frame
from peers import CORE, BareBridge, answer, of, serving, sessions, until

pytestmark = pytest.mark.usefixtures("quick")


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
