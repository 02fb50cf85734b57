"""Buses of Mycelium's own dialect that a bridge joins, where they are, and what is remembered of their frames."""

import hashlib
import logging

import pytest
import rustbus
from dialect import CONTRACTS, COUNTED, LAX, bridge_of, bus_at, collecting, number
from rustbus import COUNTER, Peer

import mycelium
from mycelium import UsageError
from mycelium.bus.recent import RecentFrames
from mycelium.bus.urls import default_url, parse_url
from peers import until


@pytest.fixture
def protocol():
    return mycelium.load(CONTRACTS)


@pytest.fixture
def lax():
    return mycelium.load(LAX)


# --- joined buses ---


async def test_a_bridge_on_a_bus_carries_messages_both_ways_and_nothing_back(protocol, tmp_path):
    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        bridge_of(protocol, join=[rust.url]) as (_, bridge),
        mycelium.connect(bridge.urls[0], protocol) as client,
        mycelium.connect(bridge.urls[0], protocol) as other,
    ):
        got, others = await collecting(client, protocol.CounterUpdate), await collecting(other, protocol.CounterUpdate)
        member = await Peer.connect(rust.url)
        await rust.until(lambda: len(rust.members) == 2)
        member.send(COUNTER, COUNTED)
        await until(lambda: got and others)
        await client.publish(protocol.CounterUpdate(counter_id=8, value=1, delta=1))
        assert await member.receive() == (COUNTER, COUNTED)
        assert await member.receive() == (COUNTER, rustbus.counter(8, 1, 1))
        member.send(COUNTER, rustbus.counter(9, 0, 0))
        await until(lambda: len(got) == 3 and len(others) == 3)
        assert [one.counter_id for one in got] == [one.counter_id for one in others] == [7, 8, 9]
        assert [payload[0] for _, payload in rust.seen] == [7, 8, 9]
        await member.close()


async def test_the_same_frame_from_somebody_else_is_no_echo(protocol, tmp_path):
    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        bridge_of(protocol, join=[rust.url]) as (bus, _),
    ):
        got = await collecting(bus, protocol.CounterUpdate)
        await rust.until(lambda: rust.members)
        bus.publish_nowait(protocol.CounterUpdate(counter_id=7, value=-1000, delta=3))
        await rust.until(lambda: len(rust.seen) == 1)
        rust.say(COUNTER, COUNTED)
        await until(lambda: len(got) == 2)


async def test_last_values_are_not_said_to_a_bus_that_is_joined(lax, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        bus = mycelium.MessageBus(lax)
        bus.publish_nowait(lax.Kept(number=1))
        async with bus.serve("tcp://127.0.0.1:0", join=[rust.url]):
            await rust.until(lambda: rust.members)
            rust.say(1002, number(2))
            bus.publish_nowait(lax.Kept(number=3))
            await rust.until(lambda: rust.seen)
        assert rust.seen == [(1002, number(3))]
        await bus.close()


async def test_a_bus_that_comes_later_and_comes_again_is_joined(protocol, tmp_path, caplog):
    url = f"rust+unix://{tmp_path}/bus.sock"
    async with bridge_of(protocol, join=[url]) as (bus, bridge):
        (join,) = bridge.joins
        for number_ in range(2):
            async with bus_at(url) as rust:
                await until(lambda: join.is_connected)
                bus.publish_nowait(protocol.CounterUpdate(counter_id=number_, value=0, delta=0))
                await rust.until(lambda: rust.seen)
                assert rust.seen == [(COUNTER, rustbus.counter(number_, 0, 0))]
            (tmp_path / "bus.sock").unlink(missing_ok=True)
            await until(lambda: not join.is_connected)
    assert any(f"not joined to {url}" in line for line in caplog.messages)


async def test_the_digest_is_said_where_it_is_wanted(tmp_path, monkeypatch):
    file = tmp_path / "contracts.yaml"
    file.write_text(LAX)
    digest = hashlib.sha256(LAX.encode()).digest()
    contracts = mycelium.load(file)
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock", digest=digest) as rust:
        async with bridge_of(contracts, join=[f"{rust.url}?digest=send"]):
            await rust.until(lambda: rust.members)
        await rust.until(lambda: not rust.members)
        async with bridge_of(contracts, join=[f"{rust.url}?digest=none"]) as (bus, bridge):
            await until(lambda: next(iter(bridge.joins)).is_connected)
            bus.publish_nowait(contracts.Kept(number=1))
            await rust.until(lambda: rust.refused)
        monkeypatch.setenv("MYCELIUM_SCHEMA_DIGEST", digest.hex())
        async with bridge_of(contracts, join=[rust.url]):
            await rust.until(lambda: rust.members)
        monkeypatch.setenv("MYCELIUM_SCHEMA_DIGEST", "00" * 32)
        with pytest.raises(UsageError, match=f"(?s)0000.*{digest.hex()}"):
            await mycelium.MessageBus(contracts).serve("tcp://127.0.0.1:0", join=[rust.url]).start()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "unix:///x", "rust+tcp://h", "rust+unix:///x?digest=maybe"])
def test_only_buses_of_the_dialect_can_be_joined(url, protocol):
    with pytest.raises(UsageError):
        mycelium.MessageBus(protocol).serve(join=[url])


# --- where it is, and what is remembered ---


def test_addresses_of_the_dialect():
    for url in ("rust+tcp://127.0.0.1:7779", "rust+unix:///tmp/x.sock", "rust+unix:///tmp/x.sock?digest=send"):
        address = parse_url(url)
        assert address.is_rust
        assert str(address) == url
    assert parse_url("rust+tcp://[::1]:1?digest=none").digest == "none"


def test_a_spawned_worker_finds_its_bus(monkeypatch):
    monkeypatch.delenv("MYCELIUM_URL", raising=False)
    monkeypatch.setenv("MYCELIUM_SOCKET", "/tmp/mycelium/python.sock")
    assert default_url() == "rust+unix:///tmp/mycelium/python.sock"
    monkeypatch.setenv("MYCELIUM_URL", "tcp://localhost:1")
    assert default_url() == "tcp://localhost:1"


def test_a_frame_that_was_sent_is_known_again_as_often_and_not_for_ever():
    recent = RecentFrames()
    recent.add(b"x", 0)
    recent.add(b"x", 1)
    assert [recent.take(b"x", 2), recent.take(b"y", 2), recent.take(b"x", 3), recent.take(b"x", 3)] == [1, 0, 1, 0]
    recent.add(b"z", 4)
    recent.add(b"z", 20)
    assert len(recent) == 2
    assert not recent.take(b"z", 60)
    assert len(recent) == 0
    for index in range(200_000):
        recent.add(index.to_bytes(4, "little"), 61)
    assert len(recent) <= 2 * 65_536
    assert recent.take((199_999).to_bytes(4, "little"), 61)
    logging.getLogger(__name__).debug("%r", recent)
