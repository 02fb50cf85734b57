"""Listeners of Mycelium's own dialect over real sockets; the peers know nothing of the project."""

import asyncio

import pytest
import rustbus
from dialect import CONTRACTS, COUNTED, LAX, bridge_of, collecting, note, number
from hypothesis import given, settings
from hypothesis import strategies as st
from rustbus import BATCH, COUNTER, TEXT, Peer

import mycelium
from mycelium import ConnectError, MyceliumClient
from mycelium.bus.bridge import Bridge
from mycelium.bus.interpreter import Interpreter
from mycelium.bus.session import Session
from mycelium.bus.urls import parse_url
from peers import until

SAID = rustbus.text("bot", "ping", 123456)
BATCHED = rustbus.batch(1, [b"\1" * 20, b"\2" * 20], 2)


@pytest.fixture
def protocol():
    return mycelium.load(CONTRACTS)


@pytest.fixture
def lax():
    return mycelium.load(LAX)


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
