"""At the bridge's door: silent, slow and foreign handshakes and too many connections hurt nobody else."""

import asyncio
import contextlib
import resource
import time

import pytest
from invariants import bystanders, reasons

from peers import CORE, HELLO, SECONDS, Peer, open_socket, peer_at, serving, until

# --- B: handshake ---


async def test_p15_two_hundred_silent_sockets_hold_up_nobody_and_are_closed_in_time(contracts, caplog):
    asyncio.get_running_loop().set_debug(False)
    async with serving(contracts, handshake_seconds=0.8) as (_, bridge), bystanders(contracts, bridge.urls[0]):
        start = time.monotonic()
        silent = await asyncio.gather(*(open_socket(bridge.urls[0]) for _ in range(200)))
        async with peer_at(bridge.urls[0]) as peer:
            await peer.barrier()
            assert not any(session.is_over for session in bridge.sessions), "served after the others, not beside them"
        peers = [Peer(*each) for each in silent]
        for peer in peers:
            peer._connection.send(CORE.Hello(protocol=1, client="silent"))
        endings = await asyncio.gather(*(peer.ending() for peer in peers))
        assert time.monotonic() - start > 0.75
        assert {(ending[0].code, ending[0].message) for ending in endings} == {
            (4, "no complete handshake within 0.8 s")
        }
        for peer in peers:
            await peer.close()
    assert reasons(caplog) == ["handshake_timeout"] * 200


async def test_p16_a_handshake_that_drips_has_one_deadline(contracts):
    async with serving(contracts, handshake_seconds=0.4) as (_, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        peer._connection.send(CORE.Hello(protocol=1, client="peer"))
        start = time.monotonic()
        ending = asyncio.ensure_future(peer.ending())
        for byte in HELLO:
            if ending.done():
                break
            peer.send(bytes([byte]))
            await asyncio.wait([ending], timeout=0.1)
        assert time.monotonic() - start > 0.35
        assert [event.code for event in await ending] == [4]


CORE_FRAMES = sorted(CORE.registry.by_id)


async def test_p17_each_kind_of_frame_that_declares_a_hundred_megabytes_first_is_refused_at_its_header(contracts):
    async with serving(contracts) as (_, bridge):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for type_id in [*CORE_FRAMES, 0, 999, 1010, 65535]:
            async with peer_at(bridge.urls[0], hello=False) as peer:
                peer._connection.send(CORE.Hello(protocol=1, client="peer"))
                peer.send((100_000_000).to_bytes(4, "little") + type_id.to_bytes(2, "little") + bytes(100))
                assert [(event.code, event.fatal) for event in await peer.ending()] == [(3, True)], type_id
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


async def test_p17_a_subscribe_before_hello_ends_the_connection_with_a_reason(contracts, caplog):
    async with (
        serving(contracts) as (bus, bridge),
        bystanders(contracts, bridge.urls[0]),
        peer_at(bridge.urls[0], hello=False) as peer,
    ):
        peer._connection.send(CORE.Hello(protocol=1, client="peer"))
        peer.send(CORE.Subscribe(request=1, subscription=1, type_ids=[1010]))
        (error,) = await peer.ending()
        assert (error.code, error.message) == (1, "Subscribe in state start")
        assert bus.router.takers(1010) == ()
    assert reasons(caplog) == ["protocol"]


@pytest.mark.parametrize("protocol", [0, 255])
async def test_p21_another_version_is_told_which_are_spoken(contracts, protocol):
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        peer.send(peer._connection.send(CORE.Hello(protocol=protocol, client="peer")))
        (error,) = await peer.ending()
        assert (error.code, error.fatal) == (2, True)
        assert "this bridge speaks 1 and no other" in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes.fromhex("16030100f8010000f40303") + bytes(100),  # the beginning of TLS
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\r\n",
    ],
    ids=["http", "tls", "ssh", "newline"],
)
async def test_p23_other_protocols_are_closed_with_one_line(contracts, data, caplog):
    async with serving(contracts, handshake_seconds=0.3) as (_, bridge):
        reader, writer = await open_socket(bridge.urls[0])
        writer.write(data)
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionResetError):
                while await reader.read(65536):
                    pass
        writer.close()
        await until(lambda: not bridge.sessions)
    assert len(caplog.records) == 1


async def test_p23_a_hello_that_is_as_long_as_the_first_bytes_of_tls_is_let_in(contracts):
    hello = CORE.encode(CORE.Hello(protocol=1, client=""))
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        client = "x" * (0x0316 + 4 - len(hello))
        assert CORE.encode(CORE.Hello(protocol=1, client=client)).startswith(b"\x16\x03")
        await peer.hello(client=client)


# --- C: connections ---


async def test_p36_the_connection_over_the_limit_is_told_and_a_freed_place_is_usable_at_once(contracts):
    async with serving(contracts, connections=2) as (_, bridge), peer_at(bridge.urls[0]):
        async with peer_at(bridge.urls[0]), peer_at(bridge.urls[0], hello=False) as extra:
            extra._connection.send(CORE.Hello(protocol=1, client="extra"))
            (error,) = await extra.ending()
            assert (error.code, error.message) == (3, "the bridge takes 2 connections")
        await until(lambda: len(bridge.sessions) == 1)
        async with peer_at(bridge.urls[0]) as next_one:
            await next_one.barrier()


async def test_who_was_let_in_is_in_no_handshake_any_more_however_many_come_at_once(contracts):
    async with serving(contracts, handshakes=2) as (_, bridge), contextlib.AsyncExitStack() as stack:
        slow = await stack.enter_async_context(peer_at(bridge.urls[0], hello=False))
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(20)]
        assert [await peer.barrier() for peer in peers] == [[]] * 20
        await slow.hello()
        assert len(bridge.sessions) == 21


async def test_over_the_limit_of_handshakes_the_oldest_is_closed(contracts):
    async with (
        serving(contracts, handshakes=2) as (_, bridge),
        peer_at(bridge.urls[0], hello=False) as oldest,
        peer_at(bridge.urls[0], hello=False),
    ):
        await until(lambda: len(bridge.sessions) == 2)
        async with peer_at(bridge.urls[0]) as newest:
            oldest._connection.send(CORE.Hello(protocol=1, client="oldest"))
            (error,) = await oldest.ending()
            assert (error.code, error.message) == (3, "the bridge takes 2 handshakes at a time")
            await newest.barrier()


async def test_a_client_that_reads_nothing_is_bounded_and_the_others_go_on(contracts):
    asyncio.get_running_loop().set_debug(False)
    async with serving(contracts, queue=100) as (bus, bridge), bystanders(contracts, bridge.urls[0]):
        async with peer_at(bridge.urls[0]) as stuck:
            await stuck.subscribe(1, [1010])
            stuck.writer.transport.pause_reading()
            (session,) = [one for one in bridge.sessions if one.client == "peer"]
            (subscription,) = session.subscriptions
            while not subscription.outbox.stats().dropped:
                for _ in range(100):
                    bus.publish_nowait(contracts.Ping(value="x" * 10_000))
                await asyncio.sleep(0)
            assert subscription.outbox.queued <= 100
            assert subscription.outbox.stats().balanced
            stuck.writer.transport.abort()
