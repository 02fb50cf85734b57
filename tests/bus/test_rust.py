"""Mycelium's own dialect over real sockets: listeners, joined buses, clients; the peers know nothing of the project."""

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path

import pytest
import rustbus
from hypothesis import given, settings
from hypothesis import strategies as st
from rustbus import BATCH, COUNTER, TEXT, Bus, Peer

import mycelium
from mycelium import ConnectError, EncodeError, LayoutError, MyceliumClient, UsageError
from mycelium.bus.bridge import Bridge
from mycelium.bus.interpreter import Interpreter
from mycelium.bus.recent import RecentFrames
from mycelium.bus.reload import Reloader
from mycelium.bus.session import Session
from mycelium.bus.urls import default_url, parse_url
from mycelium.events import Connected, Disconnected
from peers import until

CONTRACTS = Path(__file__).parent.parent / "contracts" / "mycelium-protocol.yaml"
COUNTED = rustbus.counter(7, -1000, 3)
SAID = rustbus.text("bot", "ping", 123456)
BATCHED = rustbus.batch(1, [b"\1" * 20, b"\2" * 20], 2)
LAX = """
schema: {id: 7, version: 1}
messages:
  Note:
    tlv_type: 1001
    fields:
      text: {type: String}
      least: {type: u32, optional: true, validation: [{min: 5}]}
  Kept:
    tlv_type: 1002
    retain: last
    fields: {number: {type: u64}}
"""
"""A string without `max_length`, an optional number with a rule, and a last value."""
WITHOUT = "messages:\n  Odd:\n    tlv_type: 1001\n    fields: {table: {type: 'Map<u8, u8>'}, big: {type: u128}}\n"


def note(text, least=0):
    """A Note as a struct: FixedStr<32> and a u32, padded to 4."""
    return rustbus.fixed_str(text, 32) + least.to_bytes(4, "little")


def number(value):
    """A Kept as a struct."""
    return value.to_bytes(8, "little")


@pytest.fixture
def protocol():
    return mycelium.load(CONTRACTS)


@pytest.fixture
def lax():
    return mycelium.load(LAX)


@contextlib.asynccontextmanager
async def bridge_of(contracts, *urls, **options):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve("tcp://127.0.0.1:0", *urls, **options) as bridge:
        yield bus, bridge
    await bus.close()


@contextlib.asynccontextmanager
async def bus_at(url, **options):
    bus = Bus(**options)
    bus.url = await bus.listen(url)
    yield bus
    await bus.close()


async def collecting(client, *types, **options):
    got = []
    await client.subscribe(got.append, *types, **options)
    return got


# --- peers of a listener ---


@pytest.mark.parametrize("way", ["unix with a preamble", "tcp without"])
async def test_peers_and_native_clients_get_each_others_messages(way, protocol, tmp_path):
    url = f"rust+unix://{tmp_path}/rust.sock" if way.startswith("unix") else "rust+tcp://127.0.0.1:0"
    first = rustbus.preamble(CONTRACTS.read_bytes()) if way.startswith("unix") else b""
    async with bridge_of(protocol, url) as (_, bridge), mycelium.connect(bridge.urls[0], protocol) as client:
        got = await collecting(client, protocol.TextMessage, protocol.CounterUpdate, protocol.BatchOperation)
        peer = await Peer.connect(bridge.urls[1], first)
        peer.send(TEXT, SAID)
        peer.send(COUNTER, COUNTED)
        peer.send(BATCH, BATCHED)
        await until(lambda: len(got) == 3)
        assert got == [
            protocol.TextMessage(sender="bot", content="ping", timestamp=123456),
            protocol.CounterUpdate(counter_id=7, value=-1000, delta=3),
            protocol.BatchOperation(operation_id=1, items=[b"\1" * 20, b"\2" * 20], total_count=2),
        ]
        own = [await peer.receive() for _ in range(3)]
        assert own == [(TEXT, SAID), (COUNTER, COUNTED), (BATCH, BATCHED)], "every frame goes to its sender too"
        for message in got:
            await client.publish(message)
        assert [await peer.receive() for _ in range(3)] == own
        await peer.close()


async def test_handlers_in_the_bridges_process_and_other_peers_are_reached_too(protocol):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        got = await collecting(bus, protocol.CounterUpdate)
        one, other = await Peer.connect(bridge.urls[1]), await Peer.connect(bridge.urls[1])
        await until(lambda: len(bridge.sessions) == 2)
        one.send(COUNTER, COUNTED)
        assert await other.receive() == (COUNTER, COUNTED)
        assert got == [protocol.CounterUpdate(counter_id=7, value=-1000, delta=3)]
        bus.publish_nowait(got[0])
        assert [await other.receive(), await one.receive(), await one.receive()] == [(COUNTER, COUNTED)] * 3
        for peer in (one, other):
            await peer.close()


async def test_access_rules_hold_for_peers_that_cannot_say_who_they_are(protocol, tmp_path, caplog):
    acl = tmp_path / "acl.yaml"
    acl.write_text("principals: {'rust:peer': {publish: [TextMessage], subscribe: [CounterUpdate]}}")
    security = mycelium.Security(acl_file=acl)
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0", security=security) as (bus, bridge):
        got = await collecting(bus, protocol.CounterUpdate, protocol.TextMessage)
        peer = await Peer.connect(bridge.urls[1])
        peer.send(COUNTER, COUNTED)
        peer.send(TEXT, SAID)
        await until(lambda: got)
        assert got == [protocol.TextMessage(sender="bot", content="ping", timestamp=123456)]
        bus.publish_nowait(got[0])
        bus.publish_nowait(protocol.CounterUpdate(counter_id=7, value=-1000, delta=3))
        assert await peer.receive() == (COUNTER, COUNTED), "and no text before it"
        acl.write_text("principals: {}")
        assert await bridge.reload_security()
        bus.publish_nowait(protocol.CounterUpdate(counter_id=7, value=-1000, delta=3))
        await peer.close()
        await until(lambda: bridge.closed)
        assert "denied" not in bus.stats().dropped, "what may not be had is not even queued"
    assert "denied: rust:peer may not publish CounterUpdate" in caplog.text
    assert "denied: rust:peer may not receive CounterUpdate: the access rules say so" in caplog.text


@pytest.mark.parametrize("asked", [{}, {"tokens": "ann: ann-0123456789abcdef"}])
async def test_peers_that_cannot_say_who_they_are_do_not_come_from_other_machines(protocol, asked):
    bus = mycelium.MessageBus(protocol)
    with pytest.raises(mycelium.BindError, match="nobody is asked who they are; listen on 127.0.0.1 or a Unix socket"):
        await bus.serve("rust+tcp://0.0.0.0:0", security=mycelium.Security(**asked)).start()
    async with bus.serve("rust+tcp://0.0.0.0:0", security=mycelium.Security(**asked, insecure=True)) as bridge:
        peer = await Peer.connect(bridge.urls[0].replace("0.0.0.0", "127.0.0.1"))
        await until(lambda: [str(one.identity) for one in bridge.sessions] == ["rust:peer"])
        await peer.close()


async def test_a_digest_of_other_contracts_is_closed_and_logged_with_both(protocol, caplog):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (_, bridge):
        peer = await Peer.connect(bridge.urls[1], rustbus.preamble(b"other contracts"))
        peer.send(COUNTER, COUNTED)
        assert await peer.rest() == b""
        await until(lambda: bridge.closed)
        assert bridge.closed[0].reason == "schema_incompatible"
        assert bridge.closed[0].received == 0
        await peer.close()
    line = next(line for line in caplog.messages if "digest" in line)
    assert hashlib.sha256(b"other contracts").hexdigest() in line
    assert hashlib.sha256(CONTRACTS.read_bytes()).hexdigest() in line


async def test_a_digest_of_another_text_of_this_run_is_taken_while_its_structs_are_the_same(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(LAX)
    contracts = mycelium.load(file)
    other = f"{LAX}# another text\n".replace("{min: 5}", "{min: 6}")
    async with bridge_of(contracts, "rust+tcp://127.0.0.1:0") as (_, bridge):
        first = rustbus.preamble(other.encode())
        peer = await Peer.connect(bridge.urls[1], first)
        assert await peer.rest() == b"", "not yet known"
        await peer.close()
        file.write_text(other)
        assert (await Reloader(contracts).reload()).outcome == "applied"
        for text in (other, LAX):
            peer = await Peer.connect(bridge.urls[1], rustbus.preamble(text.encode()))
            peer.send(1002, number(1))
            assert await peer.receive() == (1002, number(1))
            await peer.close()


async def test_frames_of_unknown_types_are_passed_over(protocol, caplog):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        got = await collecting(bus, protocol.CounterUpdate)
        peer = await Peer.connect(bridge.urls[1])
        for _ in range(300):
            peer.send(4711, b"whatever")
        peer.send(COUNTER, COUNTED)
        assert await peer.receive() == (COUNTER, COUNTED)
        assert len(got) == 1
        assert bridge.sessions[0].intake.refused == 300
        assert sum("4711" in line for line in caplog.messages) == 1
        await peer.close()


async def test_a_payload_of_another_size_is_refused_and_who_goes_on_so_has_to_go(protocol, caplog):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        got = await collecting(bus, protocol.CounterUpdate)
        peer = await Peer.connect(bridge.urls[1])
        peer.send(COUNTER, COUNTED + b"\0")
        peer.send(COUNTER, COUNTED)
        assert await peer.receive() == (COUNTER, COUNTED)
        assert len(got) == 1
        for _ in range(300):
            peer.send(COUNTER, COUNTED[:-1])
        assert await peer.rest() == b""
        await until(lambda: bridge.closed)
        assert bridge.closed[0].reason == "limit"
        await peer.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (rustbus.HEADER.pack(COUNTER, 2**31), "limit"),
        (rustbus.HEADER.pack(COUNTER, 16) + b"\0" * 7, "eof"),
        (b"\x20\0" + b"\0" * 31, "eof"),
        (b"\x20", "eof"),
        (b"", "eof"),
    ],
)
async def test_a_stream_that_ends_or_lies_ends_its_own_connection(protocol, data, reason):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (_, bridge):
        peer, other = await Peer.connect(bridge.urls[1], data), await Peer.connect(bridge.urls[1])
        peer.writer.write_eof()
        assert await peer.rest() == b""
        await until(lambda: bridge.closed)
        assert bridge.closed[0].reason == reason
        other.send(COUNTER, COUNTED)
        assert await other.receive() == (COUNTER, COUNTED)
        for one in (peer, other):
            await one.close()


async def test_a_native_client_at_such_a_listener_is_told_no_and_the_other_way_round(protocol):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (_, bridge):
        native, rust = bridge.urls
        client = MyceliumClient(protocol, timeout=5)
        with pytest.raises(ConnectError):
            await client.connect(rust.removeprefix("rust+"))
        peer = await Peer.connect(native)
        peer.send(COUNTER, COUNTED)
        assert (await peer.rest())[4:6] == b"\3\0", "an Error, and then the end"
        await peer.close()


async def test_what_is_too_long_for_its_room_is_dropped_for_peers_alone_and_counted(lax, caplog):
    async with (
        bridge_of(lax, "rust+tcp://127.0.0.1:0") as (bus, bridge),
        mycelium.connect(bridge.urls[0], lax) as client,
    ):
        got = await collecting(client, lax.Note)
        peer = await Peer.connect(bridge.urls[1])
        await until(lambda: len(bridge.sessions) == 2)
        bus.publish_nowait(lax.Note(text="x" * 33))
        bus.publish_nowait(lax.Note(text="y" * 32))
        assert await peer.receive() == (1001, note("y" * 32))
        await until(lambda: len(got) == 2)
        dropped = [one.outbox.stats() for one in bridge.sessions[1].subscriptions]
        assert [(one.delivered, dict(one.dropped)) for one in dropped] == [(1, {"schema": 1})]
        assert any("Note" in line and "32" in line for line in caplog.messages)
        assert not any("x" * 33 in line for line in caplog.messages)
        await peer.close()


async def test_none_is_zeros_and_comes_back_as_none_where_zero_breaks_its_rule(lax):
    async with bridge_of(lax, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        got = await collecting(bus, lax.Note)
        peer = await Peer.connect(bridge.urls[1])
        peer.send(1001, note("a"))
        peer.send(1001, note("b", 6))
        peer.send(1001, note("c", 4))
        peer.send(1001, note("d", 5))
        assert [(await peer.receive())[1] for _ in range(3)] == [note("a"), note("b", 6), note("d", 5)]
        assert [(one.text, one.least) for one in got] == [("a", None), ("b", 6), ("d", 5)]
        await peer.close()


async def test_a_peer_gets_last_values_first(lax):
    async with bridge_of(lax, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        bus.publish_nowait(lax.Kept(number=1))
        bus.publish_nowait(lax.Kept(number=2))
        peer = await Peer.connect(bridge.urls[1])
        assert await peer.receive() == (1002, number(2))
        await peer.close()


async def test_a_peer_that_does_not_read_loses_its_own_messages_and_nobody_elses(protocol, tmp_path):
    url, few = f"rust+unix://{tmp_path}/rust.sock", mycelium.Limits(queue=256)
    async with bridge_of(protocol, url, limits=few) as (bus, bridge):
        lazy, quick = await Peer.connect(url), await Peer.connect(url)
        await until(lambda: len(bridge.sessions) == 2)
        count = 0
        while not _stats(bridge)[0].dropped:
            for _ in range(100):
                bus.publish_nowait(protocol.TextMessage(sender="a", content="b" * 200, timestamp=count))
                assert (await quick.receive())[1][-8:] == number(count)
                count += 1
        stats = _stats(bridge)
        assert list(stats[0].dropped) == ["dropped_oldest"]
        assert stats[1].dropped == {}
        for one in stats:
            assert one.matched == one.delivered + sum(one.dropped.values()) + one.queued + one.in_flight == count
        for peer in (lazy, quick):
            await peer.close()


def _stats(bridge):
    return [one.outbox.stats() for session in bridge.sessions for one in session.subscriptions]


async def test_a_peer_that_publishes_into_a_full_queue_under_block_is_not_read_for_so_long(protocol):
    release, got = asyncio.Event(), []

    async def slow(message):
        await release.wait()
        got.append(message.counter_id)

    async with (
        bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (_, bridge),
        mycelium.connect(bridge.urls[0], protocol) as client,
    ):
        await client.subscribe(slow, protocol.CounterUpdate, on_lag="block", queue=8, window=8)
        peer = await Peer.connect(bridge.urls[1])
        count = 2000
        for index in range(count):
            peer.send(COUNTER, rustbus.counter(index, 0, 0))
        reading = asyncio.ensure_future(_drain(peer, count))
        await until(lambda: bridge.sessions[1].intake.flow.holding)
        release.set()
        await until(lambda: len(got) == count)
        assert got == list(range(count))
        await reading
        await peer.close()


async def _drain(peer, count):
    for _ in range(count):
        await peer.receive()


async def test_a_bridge_that_stops_sends_what_is_queued_and_takes_what_was_sent(protocol):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        got = await collecting(bus, protocol.CounterUpdate)
        peer = await Peer.connect(bridge.urls[1])
        await until(lambda: bridge.sessions)
        for index in range(1000):
            bus.publish_nowait(protocol.CounterUpdate(counter_id=index, value=0, delta=0))
    for index in range(1000):
        assert await peer.receive() == (COUNTER, rustbus.counter(index, 0, 0))
    assert await peer.rest() == b""
    assert len(got) == 1000
    await peer.close()


async def test_contracts_without_a_layout_are_refused_by_name_when_the_dialect_is_asked_for(tmp_path):
    contracts = mycelium.load(WITHOUT)
    bus = mycelium.MessageBus(contracts)
    for arguments in ({"urls": ["rust+tcp://127.0.0.1:0"]}, {"urls": [], "join": ["rust+tcp://127.0.0.1:9"]}):
        bridge = bus.serve(*arguments.pop("urls"), **arguments)
        with pytest.raises(LayoutError, match=r"(?s)Odd\.table.*Odd\.big"):
            await bridge.start()
    with pytest.raises(LayoutError, match=r"Odd\.table"):
        await MyceliumClient(contracts).connect(f"rust+unix://{tmp_path}/nobody")
    async with bus.serve("tcp://127.0.0.1:0"):
        pass
    await bus.close()


async def test_while_a_listener_is_open_an_edit_must_keep_every_layout(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(LAX)
    contracts = mycelium.load(file)
    reloader = Reloader(contracts, "none")
    async with bridge_of(contracts, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        peer = await Peer.connect(bridge.urls[1])
        await until(lambda: bridge.sessions)
        file.write_text(LAX.replace("{type: String}", "{type: String, validation: [{max_length: 34}]}"))
        for force in (False, True):
            change = await reloader.reload(force=force)
            assert change.outcome == "incompatible"
            assert [one.rule for one in change.objections] == ["LAYOUT_CHANGED"]
        file.write_text(LAX.replace("{min: 5}", "{min: 6}"))
        assert (await reloader.reload()).outcome == "applied"
        bus.publish_nowait(contracts.Note(text="a", least=6))
        assert await peer.receive() == (1001, note("a", 6))
        peer.send(1001, note("b", 5))
        peer.send(1001, note("c", 7))
        assert await peer.receive() == (1001, note("c", 7))
        await peer.close()
    file.write_text(LAX.replace("{type: String}", "{type: String, validation: [{max_length: 34}]}"))
    assert (await reloader.reload()).outcome == "applied", "nobody minds any more"


FRAMES = [
    rustbus.frame(1001, note("a")),
    rustbus.frame(1001, note("b", 4)),
    rustbus.frame(1002, number(1)),
    rustbus.frame(4711, b"what"),
    rustbus.frame(1002, b"short"),
    rustbus.preamble(LAX.encode()),
]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(FRAMES) | st.binary(max_size=20), max_size=12), st.data())
def test_any_bytes_in_any_pieces_are_messages_refusals_or_the_end_and_never_a_fault(pieces, data):
    stream = b"".join(pieces)
    whole = _interpreted([stream] if stream else [])
    cut = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parts = [stream[start:stop] for start, stop in zip([0, *cut], [*cut, len(stream)], strict=True) if start < stop]
    assert _interpreted(parts) == whole
    assert whole[0] in {None, "limit", "protocol", "schema_incompatible"}


HANDLE = mycelium.load(LAX)


def _interpreted(chunks):
    bridge = Bridge(mycelium.MessageBus(HANDLE), [])
    session = Session(1, bridge, lambda: None, 0.0)
    interpreter = Interpreter(session, bridge, bridge.dialect.of_guest(parse_url("rust+tcp://h:1")), lambda _: None)
    said = bytearray()
    for chunk in chunks:
        interpreter.receive_data(chunk, 0.0)
        said += interpreter.take_output(0.0)
    heard = None if session.is_over else bytes(said)
    found = session.reason, session.intake.received, session.intake.refused, heard
    session.end("eof")
    return found


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


# --- clients ---


async def test_a_client_has_the_same_calls_there(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        async with mycelium.connect(rust.url, protocol) as one, mycelium.connect(rust.url, protocol) as other:
            got = await collecting(one, protocol.CounterUpdate)
            mine = await collecting(other, protocol.CounterUpdate)
            async with one.messages(protocol.TextMessage) as stream:
                await other.publish(protocol.TextMessage(sender="x", content="y", timestamp=1))
                other.publish_nowait(protocol.CounterUpdate(counter_id=1, value=0, delta=0))
                await other.flush()
                assert (await stream.next(5)).content == "y"
            await until(lambda: got)
            rust.say(COUNTER, COUNTED)
            await until(lambda: len(got) == 2 and mine)
            assert [one.counter_id for one in got] == [1, 7]
            assert [one.counter_id for one in mine] == [7], "its own did not come back"
            assert other.stats().published == 2
        await rust.until(lambda: not rust.members)


async def test_own_messages_are_kept_where_that_is_asked_for(protocol, tmp_path):
    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        mycelium.connect(rust.url, protocol, echo=True) as client,
    ):
        got = await collecting(client, protocol.CounterUpdate)
        await client.publish(protocol.CounterUpdate(counter_id=1, value=0, delta=0))
        rust.say(COUNTER, COUNTED)
        await until(lambda: len(got) == 2)
        assert sorted(one.counter_id for one in got) == [1, 7]
        with pytest.raises(UsageError, match="echo=True"):
            await client.subscribe(print, protocol.TextMessage, no_echo=True)


async def test_what_the_dialect_has_no_word_for_is_refused_with_what_to_do(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        async with mycelium.connect(rust.url, protocol) as client:
            message = protocol.CounterUpdate(counter_id=1, value=0, delta=0)
            for call, words in [
                (client.publish(message, confirm=True), "receipts"),
                (client.publish(message, mandatory=True), "receipts"),
                (client.request(message, protocol.TextMessage), "requests"),
                (client.query("info"), "questions"),
                (client.subscribe(print, protocol.CounterUpdate, group="g"), "group"),
            ]:
                with pytest.raises(UsageError, match=words):
                    await call
        client = MyceliumClient(protocol)
        client.reply(protocol.CounterUpdate)(lambda message: message)
        with pytest.raises(UsageError, match="replies"):
            await client.connect(rust.url)
        for options, words in [({"stamp": True}, "metadata"), ({"from_bridge": True}, "contracts file")]:
            contracts = None if "from_bridge" in options else protocol
            with pytest.raises(UsageError, match=words):
                await MyceliumClient(contracts, **options).connect(rust.url, retry_first=True)
        await rust.until(lambda: not rust.members)


async def test_a_value_that_is_too_long_for_its_room_is_an_error_before_anything_is_sent(lax, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust, mycelium.connect(rust.url, lax) as client:
        with pytest.raises(EncodeError, match=r"Note\.text: has 33 bytes where the struct has room for 32"):
            await client.publish(lax.Note(text="x" * 33))
        with pytest.raises(EncodeError, match=r"Note\.text"):
            client.publish_nowait(lax.Note(text="x" * 33))
        await client.publish(lax.Note(text="x" * 32))
        await rust.until(lambda: rust.seen)
        assert rust.seen == [(1001, note("x" * 32))]


async def test_a_client_whose_handlers_are_slow_lags_by_its_own_policy(protocol, tmp_path):
    release, got, gaps = asyncio.Event(), [], []

    async def slow(message):
        await release.wait()
        got.append(message.counter_id)

    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        mycelium.connect(rust.url, protocol) as client,
    ):
        await client.subscribe(
            slow, protocol.CounterUpdate, on_lag="drop_newest", queue=10, window=10, on_gap=gaps.append
        )
        for index in range(1000):
            rust.say(COUNTER, rustbus.counter(index, 0, 0))
        await until(lambda: gaps)
        release.set()
        await until(lambda: len(got) + sum(gap.count for gap in gaps) == 1000)
        assert got[:10] == list(range(10))
        assert 20 <= len(got) < 1000
        assert got == sorted(got)


async def test_a_bus_that_does_not_read_holds_publishers_up_and_nothing_is_lost(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        client = MyceliumClient(protocol, block_timeout=20)
        await client.connect(rust.url)
        await rust.until(lambda: rust.members)
        rust.members[0].transport.pause_reading()
        enough = asyncio.Event()
        publishing = asyncio.ensure_future(_publish(client, protocol, enough))
        await until(lambda: client._outlet.buffer.flow)
        enough.set()
        assert not publishing.done()
        rust.members[0].transport.resume_reading()
        count = await publishing
        await client.close()
        await rust.until(lambda: len(rust.seen) == count)
        assert [payload[-8:] for _, payload in rust.seen] == [index.to_bytes(8, "little") for index in range(count)]


async def _publish(client, contracts, enough):
    """Publish until that is enough; how many messages it was."""
    count = 0
    while not enough.is_set():
        await client.publish(contracts.TextMessage(sender="a", content="b", timestamp=count))
        count += 1
    return count


async def test_a_lost_bus_is_connected_to_again_with_what_was_published_meanwhile(protocol, tmp_path):
    url = f"rust+unix://{tmp_path}/bus.sock"
    events = []
    async with bus_at(url) as rust:
        client = MyceliumClient(protocol)
        stream = client.events()
        await client.connect(url)
        got = await collecting(client, protocol.CounterUpdate)
        await rust.until(lambda: rust.members)
    (tmp_path / "bus.sock").unlink(missing_ok=True)
    async for event in stream:
        events.append(event)
        if isinstance(event, Disconnected):
            break
    await client.publish(protocol.CounterUpdate(counter_id=5, value=0, delta=0))
    async with bus_at(url) as rust:
        await rust.until(lambda: rust.seen)
        assert rust.seen == [(COUNTER, rustbus.counter(5, 0, 0))]
        rust.say(COUNTER, COUNTED)
        await until(lambda: got)
        async for event in stream:
            if isinstance(event, Connected):
                assert event.epoch == 2
                break
        await client.close()


async def test_nobody_there_is_a_connect_error_like_anywhere(protocol, tmp_path):
    with pytest.raises(ConnectError, match="no such file"):
        await MyceliumClient(protocol).connect(f"rust+unix://{tmp_path}/nobody")


def test_blocking_code_has_the_same_client(protocol, tmp_path):
    async def main():
        async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
            await asyncio.to_thread(use, rust.url)
            await rust.until(lambda: rust.seen)
            return rust.seen

    def use(url):
        with mycelium.sync.connect(url, protocol) as client:
            with pytest.raises(EncodeError, match=r"TextMessage\.sender"):
                client.publish_nowait(protocol.TextMessage(sender="x" * 33, content="", timestamp=0))
            client.publish(protocol.CounterUpdate(counter_id=5, value=0, delta=0))

    assert asyncio.run(main()) == [(COUNTER, rustbus.counter(5, 0, 0))]


def test_a_program_that_never_closes_its_client_loses_nothing(protocol, tmp_path):
    seen = []

    async def serve(ready, done):
        async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
            ready.set()
            await rust.until(lambda: rust.seen)
            seen.extend(rust.seen)
            await done.wait()

    async def main():
        ready, done = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(serve(ready, done))
        await ready.wait()
        await asyncio.to_thread(asyncio.run, careless())
        await until(lambda: seen)
        done.set()
        await serving

    async def careless():
        client = MyceliumClient(protocol)
        await client.connect(f"rust+unix://{tmp_path}/bus.sock")
        client.publish_nowait(protocol.CounterUpdate(counter_id=5, value=0, delta=0))

    asyncio.run(main())
    assert seen == [(COUNTER, rustbus.counter(5, 0, 0))]


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
