"""At the bridge's door: bad payloads, garbage and half frames hurt who sends them, and nobody else: reliability, A."""

import asyncio
import random
import resource
import time

import pytest
from invariants import bystanders, reasons

import mycelium
from mycelium.wire.frames import encode_frame
from peers import CORE, HELLO, PING, Peer, open_socket, peer_at, serving, until


async def test_p01_frames_cut_in_two_at_every_offset_arrive_the_same(contracts):
    frames = [
        encode_frame(1010, bytes.fromhex("0100") + size.to_bytes(4, "little") + b"x" * size) for size in (0, 1, 40)
    ]
    stream = b"".join(frames) + CORE.encode(CORE.Ping(nonce=9))
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        got = []
        await bus.subscribe(lambda message: got.append(len(message.value)), contracts.Ping)
        for cut in range(1, len(stream)):
            peer.send(stream[:cut])
            await asyncio.sleep(0)
            peer.send(stream[cut:])
            assert await peer.next() == CORE.Pong(nonce=9)
        assert got == [0, 1, 40] * (len(stream) - 1)


async def test_p02_a_whole_session_byte_by_byte_is_a_session(contracts):
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        peer._connection.send(CORE.Hello(protocol=1, client="peer"))
        subscribe = CORE.encode(CORE.Subscribe(request=1, subscription=1, type_ids=[1010]))
        for byte in HELLO + subscribe + PING + CORE.encode(CORE.Ping(nonce=1)):
            peer.send(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        heard = [await peer.next() for _ in range(4)]
        names = [type(event).__name__ for event in heard]
        assert names[:2] == ["Welcome", "Ack"]
        assert sorted(names[2:]) == ["Batch", "Pong"]
        assert got == [contracts.Ping(value="hi")]


async def test_p03_ten_thousand_frames_in_one_write_are_all_delivered_and_others_are_served_in_between(contracts):
    asyncio.get_running_loop().set_debug(False)
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        got = 0

        def count(_):
            nonlocal got
            got += 1

        await bus.subscribe(count, contracts.Ping)
        async with mycelium.connect(bridge.urls[0], contracts) as other:
            peer.send(encode_frame(1010, bytes.fromhex("0100 64000000") + b"x" * 100) * 10_000)
            served = 0
            while got < 10_000:
                await other.flush()
                served += 1
            assert served >= 3


async def test_p04_an_oversize_length_on_a_hundred_connections_is_refused_from_its_header(contracts, caplog):
    lengths = [4_194_304 + 3, 0x7FFFFFFF, 0xFFFFFFFF]
    async with serving(contracts) as (_, bridge), bystanders(contracts, bridge.urls[0]):
        peers = [Peer(*await open_socket(bridge.urls[0])) for _ in range(100)]
        await asyncio.gather(*(peer.hello() for peer in peers))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number, peer in enumerate(peers):
            peer.send(lengths[number % 3].to_bytes(4, "little") + b"\xf2\x03")
        start = time.monotonic()
        endings = await asyncio.gather(*(peer.ending() for peer in peers))
        assert time.monotonic() - start < 1
        assert {(ending[-1].code, ending[-1].fatal) for ending in endings} == {(3, True)}
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096
        for peer in peers:
            await peer.close()
        await until(lambda: len(bridge.sessions) == 2)
    assert reasons(caplog) == ["limit"] * 100


@pytest.mark.parametrize("length", [0, 1])
async def test_p05_a_short_length_ends_the_connection_and_dispatches_nothing(contracts, length, caplog):
    async with (
        serving(contracts) as (bus, bridge),
        bystanders(contracts, bridge.urls[0]),
        peer_at(bridge.urls[0]) as peer,
    ):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        peer.send(length.to_bytes(4, "little"))
        (error,) = await peer.ending()
        assert (error.code, error.message) == (1, f"a frame of length {length}; the least is 2")
        assert got == []
    assert reasons(caplog) == ["protocol"]


async def test_p06_unknown_types_are_told_and_counted_and_the_101st_ends_the_connection(contracts, caplog):
    async with (
        serving(contracts) as (_, bridge),
        bystanders(contracts, bridge.urls[0]),
        peer_at(bridge.urls[0]) as peer,
    ):
        peer.send(encode_frame(4242, b""))
        (error,) = await peer.barrier()
        assert (error.code, error.type_id, error.fatal) == (8, 4242, False)
        (session,) = [one for one in bridge.sessions if one.client == "peer"]
        assert session.intake.refused == 1
        peer.send(encode_frame(4242, b"") * 99)
        assert len(await peer.barrier()) == 99
        peer.send(encode_frame(4242, b""))
        (last,) = await peer.ending()
        assert (last.code, last.fatal, session.reason) == (3, True, "limit")
    assert reasons(caplog) == ["limit"]


BATCH = bytes.fromhex("0100 08000000 0700000000000000  0200 14000000" + "11" * 20 + "0300 04000000 01000000")
"""BatchOperation(7, [one identifier], 1)."""
BAD_PAYLOADS = {
    "duplicate tag": BATCH + bytes.fromhex("0300 04000000 01000000"),
    "tag 0": bytes.fromhex("0000 00000000") + BATCH,
    "length past the end": BATCH[:-4] + b"\1",
    "overlapping length": BATCH.replace(bytes.fromhex("0200 14000000"), bytes.fromhex("0200 1e000000")),
    "wrong width": bytes.fromhex("0100 04000000 07000000") + BATCH[14:],
    "part of an element": BATCH.replace(
        bytes.fromhex("0200 14000000") + b"\x11" * 20, bytes.fromhex("0200 13000000") + b"\x11" * 19
    ),
    "no required field": BATCH[:-10],
    "rule broken: too few": BATCH.replace(
        bytes.fromhex("0200 14000000") + b"\x11" * 20, bytes.fromhex("0200 00000000")
    ),
    "rule broken: too many": BATCH.replace(
        bytes.fromhex("0200 14000000") + b"\x11" * 20, bytes.fromhex("0200 dc000000") + b"\x11" * 220
    ),
    "trailing byte": BATCH + b"\0",
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
async def test_p08_p10_a_payload_that_does_not_fit_is_answered_and_never_delivered(contracts, payload):
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        got = []
        await bus.subscribe(got.append, contracts.BatchOperation)
        await peer.subscribe(1, [1003])
        peer.send(encode_frame(1003, payload))
        (error,) = await peer.barrier()
        assert (error.code, error.type_id, error.fatal) == (9, 1003, False)
        assert error.message.startswith("BatchOperation")
        peer.send(encode_frame(1003, BATCH))
        assert (await peer.next()).to_bytes() == encode_frame(1003, BATCH)
        assert got == [contracts.BatchOperation(7, [b"\x11" * 20], 1)]


async def test_p07_a_payload_cut_at_every_byte_is_refused_without_a_trace(contracts, caplog):
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        got = []
        await bus.subscribe(got.append, contracts.BatchOperation)
        for cut in range(len(BATCH)):
            peer.send(encode_frame(1003, BATCH[:cut]))
        errors = await peer.barrier()
        assert [(error.code, error.fatal) for error in errors] == [(9, False)] * len(BATCH)
        assert got == []
    assert "Traceback" not in caplog.text


async def test_p09_unknown_tags_are_skipped_and_forwarded(contracts):
    payload = bytes.fromhex("0100 02000000 6869  e700 03000000 010203")
    async with serving(contracts) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        await peer.subscribe(1, [1010])
        peer.send(encode_frame(1010, payload))
        batch = await peer.next()
        assert batch.to_bytes() == encode_frame(1010, payload)
        assert got == [contracts.Ping(value="hi")]


P10 = """
types: {Side: {enum: {buy: 1, sell: 2}, open: false}}
messages:
  Order:
    tlv_type: 1000
    fields:
      live: {type: bool}
      side: {type: Side}
      note: {type: String, validation: [{max_length: 4}]}
"""
GOOD_ORDER = bytes.fromhex("0100 01000000 01  0200 01000000 02  0300 02000000 6f6b")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("01000000 01  0200", "01000000 02  0200"),
        ("01000000 02  0300", "01000000 03  0300"),
        ("02000000 6f6b", "02000000 fffe"),
        ("02000000 6f6b", "05000000 6f6b6f6b6f"),
        ("0100 01000000 01", "0100 02000000 0101"),
    ],
    ids=["bool 2", "enum outside", "invalid UTF-8", "overlong string", "wide bool"],
)
async def test_p10_bad_values_are_refused(good, bad):
    contracts = mycelium.load(P10)
    payload = GOOD_ORDER.replace(bytes.fromhex(good), bytes.fromhex(bad))
    assert payload != GOOD_ORDER
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0]) as peer:
        await peer.subscribe(1, [1000])
        peer.send(encode_frame(1000, payload))
        assert [event.code for event in await peer.barrier()] == [9]
        peer.send(encode_frame(1000, GOOD_ORDER))
        assert (await peer.next()).payload(0) == GOOD_ORDER


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_p11_a_mebibyte_of_garbage_ends_that_connection_with_a_reason(contracts, seed, caplog):
    garbage = random.Random(seed).randbytes(1 << 20)
    async with (
        serving(contracts) as (_, bridge),
        bystanders(contracts, bridge.urls[0]),
        peer_at(bridge.urls[0]) as peer,
    ):
        peer.send(garbage)
        ending = await peer.ending()
        assert ending[-1].fatal
    assert len(reasons(caplog)) == 1


async def test_half_a_frame_is_never_delivered_and_ends_with_a_reason(contracts, caplog):
    async with (
        serving(contracts) as (bus, bridge),
        bystanders(contracts, bridge.urls[0]),
        peer_at(bridge.urls[0]) as peer,
    ):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        peer.send(PING + PING[:-1])
        peer.writer.write_eof()
        (error,) = await peer.ending()
        assert (error.code, error.message) == (1, "the stream ended inside a frame, after 13 bytes of it")
        assert got == [contracts.Ping(value="hi")]
    assert reasons(caplog) == ["protocol"]


async def test_p32_a_client_that_is_gone_in_the_middle_of_a_frame_frees_its_place(contracts):
    async with serving(contracts) as (bus, bridge):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        async with peer_at(bridge.urls[0]) as peer:
            peer.send(PING[:-1])
            await peer.writer.drain()
            peer.writer.transport.abort()
        await until(lambda: not bridge.sessions)
        assert got == []


async def test_p33_a_client_that_resets_under_load_is_a_clean_end(contracts):
    async with serving(contracts) as (bus, bridge), bystanders(contracts, bridge.urls[0]):
        for _ in range(5):
            async with peer_at(bridge.urls[0]) as peer:
                await peer.subscribe(1, [1010])
                for _ in range(200):
                    bus.publish_nowait(contracts.Ping(value="x" * 1000))
                peer.writer.transport.abort()
        await until(lambda: len(bridge.sessions) == 2)
