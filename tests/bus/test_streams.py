"""Streams of bytes over real sockets: cut anywhere, by the byte, and with anything at all in them."""

import asyncio
import random

from faults import Proxy
from invariants import bystanders, harmless

import mycelium
from mycelium.wire.frames import encode_frame
from peers import CORE, SECONDS, BareBridge, open_socket, peer_at, serving, until

LAST = CORE.encode(CORE.Ping(nonce=1))


def all_kinds(contracts):
    """One message of every type."""
    return [
        contracts.TextMessage(sender="me", content="naïve", timestamp=1),
        contracts.CounterUpdate(1, -2, 3),
        contracts.BatchOperation(7, [b"\x11" * 20], 1),
        contracts.Ping(value=""),
        contracts.Pong(value="x" * 40),
    ]


def quiet_kinds(contracts):
    """The same without what bystanders talk about."""
    return [each for each in all_kinds(contracts) if not isinstance(each, contracts.CounterUpdate)]


def frame_of(message):
    return encode_frame(message.__mycelium__.message.type_id, message.to_bytes())


async def in_two(writer, stream, cut):
    """Write a stream in two pieces that are read one after the other."""
    writer.write(stream[:cut])
    for _ in range(3):
        await asyncio.sleep(0)
    writer.write(stream[cut:])


async def test_p01_twenty_frames_of_all_types_cut_anywhere_are_the_same_to_a_bridge(contracts):
    asyncio.get_running_loop().set_debug(False)
    messages = all_kinds(contracts)
    frames = list(map(frame_of, messages))
    core = [
        CORE.Subscribe(request=1, subscription=1, type_ids=[9999], window=4),
        CORE.Credit(subscription=1, messages=2),
        CORE.Pong(nonce=0),
        CORE.Unsubscribe(request=2, subscription=1),
    ]
    stream = b"".join([*frames, *map(CORE.encode, core), *frames, encode_frame(4242, b""), *frames[:4], LAST])
    async with serving(contracts) as (bus, bridge):
        got = []
        await bus.subscribe(got.append, *contracts)
        for start in range(1, len(stream), 90):  # a connection bears 100 errors in 10 s
            async with peer_at(bridge.urls[0]) as peer:
                for cut in range(start, min(start + 90, len(stream))):
                    await in_two(peer.writer, stream, cut)
                    heard = [await peer.next() for _ in range(4)]
                    assert [type(event).__name__ for event in heard] == ["Ack", "Ack", "Error", "Pong"], cut
                    assert got == messages + messages + messages[:4], cut
                    got.clear()


async def test_p01_frames_of_all_types_cut_anywhere_are_the_same_to_a_client(contracts):
    asyncio.get_running_loop().set_debug(False)
    messages = all_kinds(contracts)
    core = [
        CORE.Error(code=9, message="no", type_id=1010, fatal=False),
        CORE.Lagged(subscription=1, type_id=1010, dropped=1, reason=0),
        CORE.Pong(nonce=0),
        CORE.Flow(type_ids=[], paused=False, reason=""),
        CORE.Ack(request=999),
    ]
    frames = list(map(frame_of, messages))
    stream = b"".join([*frames, *map(CORE.encode, core), *frames, encode_frame(999, b"new core"), *frames[:3], LAST])
    got, told = [], []

    async def serve(session):
        await session.welcome(contracts.schema)
        while type(event := await session.next()).__name__ != "Subscribe":
            pass
        session.send(CORE.Ack(request=event.request))
        for cut in range(1, len(stream)):
            await in_two(session.writer, stream, cut)
            while type(event := await session.next()).__name__ != "Pong":
                assert type(event).__name__ == "Credit"
            assert got == messages + messages + messages[:3], cut
            got.clear()
        session.send(CORE.Goodbye(reason="done"))
        while type(await session.next()).__name__ != "Goodbye":
            pass

    async with BareBridge(serve) as bare:
        client = mycelium.MyceliumClient(contracts, on_error=told.append, reconnect=False)
        await client.connect(bare.url)
        subscription = await client.subscribe(got.append, *contracts)
        assert await client.closed() == "the bridge said goodbye: done"
        await client.close()
    assert len(told) == len(stream) - 1
    assert subscription.stats().dropped == {"dropped_oldest": len(stream) - 1}


async def test_p02_clients_talk_through_single_bytes(contracts):
    asyncio.get_running_loop().set_debug(False)
    got = []
    async with serving(contracts) as (_, bridge), Proxy(bridge.urls[0]) as proxy:
        proxy.up.split = proxy.down.split = lambda: 1
        async with bystanders(contracts, bridge.urls[0]):
            async with (
                mycelium.connect(proxy.url, contracts) as subscriber,
                mycelium.connect(proxy.url, contracts) as publisher,
            ):
                await subscriber.subscribe(got.append, *map(type, quiet_kinds(contracts)))
                for _ in range(5):
                    for message in quiet_kinds(contracts):
                        await publisher.publish(message)
                await until(lambda: len(got) == 20)
    assert got == quiet_kinds(contracts) * 5


def spoiled(stream, rng):
    """A stream with a few things wrong: bytes flipped, put in, left out, doubled or cut off."""
    data = bytearray(stream)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        piece = data[at : at + rng.randint(1, 30)]
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])])
            case 1:
                data[at:at] = rng.randbytes(rng.randint(1, 30))
            case 2:
                del data[at : at + len(piece)]
            case 3:
                data[at:at] = piece
            case 4:
                del data[at:]
            case 5:
                data[at : at + 4] = rng.randbytes(4)
    return bytes(data)


async def test_p12_anything_on_a_live_socket_ends_in_time_and_hurts_nobody(contracts, caplog):
    asyncio.get_running_loop().set_debug(False)
    rng = random.Random(12)
    hello = CORE.encode(CORE.Hello(protocol=1, client="fuzz"))
    core = [
        CORE.Subscribe(request=1, subscription=1, type_ids=[1010, 1003], window=4, queue=8),
        CORE.Credit(subscription=1, messages=2),
        CORE.Query(request=2, what="info"),
        CORE.Query(request=3, what="reload", body=b'{"force": false}'),
        CORE.Confirm(enabled=False),
        CORE.Goodbye(reason=""),
    ]
    parts = [*map(CORE.encode, core), *map(frame_of, quiet_kinds(contracts)), LAST]

    async def attack(url):
        chosen = b"".join(rng.choices(parts, k=rng.randint(1, 12)))
        stream = hello + spoiled(chosen, rng) if rng.randrange(3) else spoiled(hello + chosen, rng)
        reader, writer = await open_socket(url)
        async with asyncio.timeout(SECONDS):
            try:
                writer.write(stream)
                writer.write_eof()
                while await reader.read(65536):
                    pass
            except ConnectionResetError:
                pass
            finally:
                writer.close()

    async with serving(contracts) as (_, bridge), harmless(contracts, bridge):
        for _ in range(50):
            sessions = asyncio.gather(*(attack(bridge.urls[0]) for _ in range(20)))
            await sessions
    assert "Traceback" not in caplog.text
    assert "a fault of the bridge" not in caplog.text
