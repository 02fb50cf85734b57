"""The ceiling of memory and clients that do not read: who has to wait, who has to go, and who notices nothing."""

import asyncio
import contextlib
import resource
import socket
import time
from pathlib import Path

import pytest
from deliveries import TEXT, counters, frame, handled, plain, small, stuck

import mycelium
from mycelium.bus.urls import parse_url
from peers import CORE, Peer, peer_at, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


# --- memory ---


@pytest.mark.parametrize("flooder", ["a peer", "this process"])
async def test_p49_over_the_ceiling_the_oldest_go_and_publishers_are_asked_to_wait(types, flooder):
    limit = 512 * 1024
    async with (
        small(types, limit) as (bus, bridge),
        peer_at(bridge.urls[0]) as publisher,
        peer_at(bridge.urls[0]) as subscriber,
    ):
        await stuck(publisher, subscriber, types, 3)
        await subscriber.subscribe(1, [1000], window=1, on_lag=0)
        for number in range(200):
            job = types.Job(number, bytes(10_000))
            if flooder == "a peer":
                publisher.send(frame(job))
                await publisher.writer.drain()
            else:
                bus.publish_nowait(job)
            assert bus.exchange.ledger.used <= limit + 64 * 1024
        told = await publisher.until("Flow")
        assert (told.type_ids, told.paused, told.reason) == ([], True, "memory")
        await publisher.barrier()
        assert bus.stats().memory_used <= limit
        dropped = counters(bus)[2]
        assert dropped.keys() == {"memory"}
        late = Peer(*await asyncio.open_connection("127.0.0.1", parse_url(bridge.urls[0]).port))
        await late.hello()
        assert (await late.until("Flow")).paused
        await late.close()
        subscriber.send(CORE.Credit(subscription=1, messages=1))
        left = 200 - dropped["memory"]
        got = await handled(subscriber, types, left)
        told = [one for one in got if type(one).__name__ == "Lagged"]
        assert sum(one.dropped for one in told) == dropped["memory"]
        assert {one.reason for one in told} == {5}
        assert [one for one in got if isinstance(one, int)] == [*range(200 - left, 200)]
        again = await publisher.until("Flow")
        assert (again.paused, bus.exchange.ledger.used) == (False, 0)


async def test_p50_a_frame_that_many_wait_for_is_held_once(types):
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(20)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        await asyncio.gather(*(peer.barrier() for peer in peers))
        bus.publish_nowait(types.Job(0))
        for peer in peers:
            await peer.next()
        for number in range(10):
            bus.publish_nowait(types.Job(number, bytes(48 * 1024)))
        assert counters(bus) == (220, 0, {}, 200, 20)
        assert bus.exchange.ledger.used == 10 * len(frame(types.Job(1, bytes(48 * 1024))))


# --- clients that do not read ---


FORTY = mycelium.load(
    "messages:\n"
    + "".join(f"  Blob{n}: {{tlv_type: {1000 + n}, fields: {{data: {{type: bytes}}}}}}\n" for n in range(40)),
)


@contextlib.asynccontextmanager
async def deaf_peer(url, types, **options):
    """A peer with a tiny receive buffer and forty subscriptions, that reads only when it is asked to."""
    made = socket.socket(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128)
    made.setblocking(False)  # noqa: FBT003
    address = parse_url(url)
    await asyncio.get_running_loop().sock_connect(made, (address.host, address.port))
    peer = Peer(*await asyncio.open_connection(sock=made, limit=256))
    await peer.hello()
    for number in range(40):
        await peer.subscribe(number + 1, [1000 + number], **options)
    try:
        yield peer
    finally:
        await peer.close()


async def last_words(peer):
    """Read everything after all, with a larger buffer, since it would take seconds."""
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return (await peer.ending())[-1]


async def test_p46_a_peer_with_too_much_outstanding_is_closed_and_both_sides_know_why():
    async with small(FORTY, 1 << 30) as (bus, bridge), deaf_peer(bridge.urls[0], FORTY, window=1000) as peer:
        (session,) = bridge.sessions
        blob = bytes(1024 * 1024 - 64)
        start = time.monotonic()
        for number in range(100):
            bus.publish_nowait(FORTY[f"Blob{number % 40}"](blob))
        async with asyncio.timeout(2):
            await until(lambda: session.reason)
        assert time.monotonic() - start < 2
        last = await last_words(peer)
        assert (last.code, last.fatal, session.reason) == (14, True, "slow_consumer")
        assert "bytes wait for it, over 33554432" in last.message
        await peer.close()
        await until(lambda: bridge.closed)
        assert bridge.closed[-1].reason == "slow_consumer"
        stats = bus.stats()
        assert (stats.balanced, stats.matched, stats.queued, stats.in_flight) == (True, 100, 0, 0)
        assert bus.exchange.ledger.used == 0


async def test_p47_a_peer_that_takes_nothing_is_closed_after_its_time():
    async with (
        small(FORTY, 1 << 30, stall_seconds=0.5) as (bus, bridge),
        deaf_peer(bridge.urls[0], FORTY, window=1000) as peer,
    ):
        (session,) = bridge.sessions
        start = time.monotonic()
        for number in range(8):
            bus.publish_nowait(FORTY[f"Blob{number}"](bytes(1024 * 1024)))
        await until(lambda: session.reason)
        assert 0.5 <= time.monotonic() - start < 1.5
        last = await last_words(peer)
        assert (last.code, last.message) == (14, "it has read nothing for 0.5 s")


async def test_p47_what_waits_for_credit_is_nobodys_fault():
    async with (
        small(FORTY, 1 << 30, stall_seconds=0.3, outbound_bytes=100_000) as (bus, bridge),
        deaf_peer(bridge.urls[0], FORTY, window=1) as peer,
    ):
        for number in range(50):
            bus.publish_nowait(FORTY.Blob0(bytes(10_000 + number)))
        assert len(await peer.next()) == 1
        await asyncio.sleep(0.8)
        assert await peer.barrier() == []
        assert bus.stats().queued == 49


async def test_p43_one_stuck_among_twenty_has_an_exact_count_and_stays(types):
    count = 1000
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(20)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=10, queue=20 if peer is peers[0] else 2000)
        readers = [asyncio.ensure_future(handled(peer, types, count)) for peer in peers[1:]]
        for number in range(count):
            await bus.publish(types.Job(number))
            if number == 9:  # these are out before there is more than the queue holds
                await until(lambda: counters(bus)[3] == 0)
        for got in await asyncio.gather(*readers):
            assert (
                len(got),
                [one for one in got if not isinstance(one, int)][:5],
                sorted(one for one in got if isinstance(one, int)) == [*range(count)],
            ) == (count, [], True)
            assert got == [*range(count)]
        events = plain(types, await peers[0].barrier())
        assert [one for one in events if isinstance(one, int)] == [*range(10)]
        lost = sum(one.dropped for one in [*events, *await peers[0].barrier()] if not isinstance(one, int))
        assert counters(bus) == (20 * count, 19 * count, {"dropped_oldest": count - 30}, 20, 10)
        if lost < count - 30:  # the rest is told with the next tick
            lost += (await peers[0].until("Lagged")).dropped
        assert lost == count - 30


async def test_p48_a_flooder_takes_nothing_from_a_pair_of_bystanders(types):
    asyncio.get_running_loop().set_debug(False)
    async with (
        small(types, 1 << 30) as (bus, bridge),
        peer_at(bridge.urls[0]) as flooder,
        peer_at(bridge.urls[0]) as sink,
        peer_at(bridge.urls[0]) as speaker,
        peer_at(bridge.urls[0]) as listener,
    ):
        await sink.subscribe(1, [1000], window=1)
        await listener.subscribe(1, [1001], window=100)

        async def flood():
            chunk = b"".join(frame(types.Job(number)) for number in range(1000))
            while True:
                flooder.send(chunk)
                await flooder.writer.drain()
                await asyncio.sleep(0)

        async def talk(count):
            times = []
            for number in range(count):
                start = time.perf_counter()
                speaker.send(frame(types.Tick(1, number)))
                assert plain(types, [await listener.next()]) == [number]
                listener.send(CORE.Credit(subscription=1, messages=1))
                times.append(time.perf_counter() - start)
            return sorted(times)

        quiet = await talk(100)
        flooding = asyncio.ensure_future(flood())
        busy = await talk(100)
        flooding.cancel()
        await asyncio.wait([flooding])
        assert busy[98] < max(3 * quiet[98], quiet[98] + 0.25)  # 10 ms on a machine of its own
        assert bus.stats().published > 10_000


# --- at full size ---


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
async def test_p49_fifty_stopped_subscribers_and_a_flood_stay_under_the_ceiling(types):
    asyncio.get_running_loop().set_debug(False)
    limit = 64 * 1024 * 1024
    async with small(types, limit) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(50)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        publisher = await stack.enter_async_context(peer_at(bridge.urls[0]))
        pads = [bytes([number]) * 10_000 for number in range(50)]
        before = resident()
        for number in range(30_000):  # 300 MB
            publisher.send(frame(types.Job(number, pads[number % 50])))
            await publisher.writer.drain()
        await publisher.barrier()
        assert resident() - before <= limit * 1.1 + 16 * 1024 * 1024
        assert bus.stats().memory_used <= limit
        assert bus.stats().balanced


@pytest.mark.slow
async def test_p50_a_large_message_for_thousands_is_one_buffer(types):
    asyncio.get_running_loop().set_debug(False)
    async with small(types, 1 << 30) as (bus, bridge), contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(bus.messages(types.Job)) for _ in range(5000)]
        peers = [await stack.enter_async_context(peer_at(bridge.urls[0])) for _ in range(200)]
        for peer in peers:
            await peer.subscribe(1, [1000], window=1)
        bus.publish_nowait(types.Job(0))
        for peer in peers:
            await peer.next()
        before = resident()
        bus.publish_nowait(types.Job(1, bytes(48 * 1024)))  # copies would be 250 MB
        assert resident() - before <= before * 0.1
        assert len(streams) * 2 + len(peers) * 2 == bus.stats().matched
