"""The proxy itself: what goes in comes out in its order, or not at all, as it was told."""

import asyncio
import contextlib
import itertools
import random
import time

import pytest
from faults import Proxy
from invariants import Footprint, settled

from peers import SECONDS, open_socket, until

DATA = random.Random(1).randbytes(100_000)


@pytest.fixture(params=["tcp", "unix"])
def place(request, tmp_path):
    return None if request.param == "tcp" else tmp_path / "target.sock"


@contextlib.asynccontextmanager
async def echo(place=None):
    """A server that sends back what it gets, by the piece; gives its URL and the pieces, b"" for an end."""
    pieces, tasks = [], set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while data := await reader.read(1 << 20):
                pieces.append(data)
                writer.write(data)
                await writer.drain()
            pieces.append(b"")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    if place:
        server = await asyncio.start_unix_server(serve, place)
        url = f"unix://{place}"
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield url, pieces
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=SECONDS)


@contextlib.asynccontextmanager
async def dialled(url):
    """A stream to a URL, closed at the end."""
    reader, writer = await open_socket(url)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_bytes_go_both_ways_and_so_does_the_end(place):
    async with echo(place) as (url, pieces), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read() == DATA
        assert b"".join(pieces) == DATA
        assert (proxy.up.carried, proxy.down.carried) == (len(DATA), len(DATA))
        await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("sizes", [itertools.repeat(1), itertools.cycle([1, 2, 3])], ids=["single bytes", "pattern"])
async def test_split_bytes_arrive_in_those_pieces(sizes):
    async with echo() as (url, pieces), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.up.split = lambda: next(sizes)
        writer.write(DATA[:60])
        assert await reader.readexactly(60) == DATA[:60]
        assert len(pieces) >= 25


async def test_a_delay_holds_up_one_direction():
    async with echo() as (url, pieces), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.down.delay = 0.2
        start = time.monotonic()
        writer.write(b"x")
        await until(lambda: pieces)
        assert time.monotonic() - start < 0.2
        await reader.readexactly(1)
        assert time.monotonic() - start >= 0.2


async def test_a_throttle_lets_so_many_bytes_a_second_through():
    async with echo() as (url, _), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.up.rate = 10_000
        start = time.monotonic()
        writer.write(DATA[:3000])
        assert await reader.readexactly(3000) == DATA[:3000]
        assert time.monotonic() - start >= 0.25


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_ends_both_sides_and_the_next_connection_is_whole(place, reset):
    async with echo(place) as (url, pieces), Proxy(url) as proxy:
        async with dialled(proxy.url) as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            await proxy.cut(reset=reset)
            with pytest.raises(ConnectionResetError) if reset and not place else contextlib.nullcontext():
                assert await reader.read() == b""
        if not reset:
            await until(lambda: b"" in pieces)
        async with dialled(proxy.url) as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"


async def test_half_open_swallows_nothing_says_nothing_and_still_accepts(place):
    async with echo(place) as (url, pieces), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.half_open()
        writer.write(b"x")
        writer.write_eof()
        async with dialled(proxy.url) as (_, second):
            await until(lambda: proxy.connections == 2)
            second.write(b"y")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)
            assert pieces == []
            proxy.heal()
            assert await reader.read() == b"x"
            await until(lambda: b"y" in pieces)


async def test_one_direction_may_stop_alone():
    async with echo() as (url, pieces), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.down.stop()
        writer.write(b"x")
        await until(lambda: pieces == [b"x"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.05)


async def test_refused_connections_are_taken_again_at_the_same_place(place):
    async with echo(place) as (url, _), Proxy(url) as proxy, dialled(proxy.url) as (reader, writer):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await open_socket(proxy.url)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        proxy.heal()
        async with dialled(proxy.url) as (second, other):
            other.write(b"y")
            assert await second.readexactly(1) == b"y"


@pytest.mark.parametrize("most", [0, 1, 7])
async def test_a_connection_ends_after_exactly_so_many_bytes(place, most):
    async with echo(place) as (url, pieces), Proxy(url) as proxy:
        proxy.down.cut_after = most
        async with dialled(proxy.url) as (reader, writer):
            writer.write(b"0123456789")
            assert await reader.read() == b"0123456789"[:most]
            await until(lambda: pieces[-1:] == [b""])
        await until(lambda: proxy.connections == 0)


async def test_who_connects_where_the_target_is_gone_is_reset():
    async with echo() as (url, _):
        pass
    async with Proxy(url) as proxy:
        reader, writer = await open_socket(proxy.url)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reset_of_one_end_is_a_reset_at_the_other():
    async with echo() as (url, _), Proxy(url) as proxy, Proxy(proxy.url) as second:
        async with dialled(second.url) as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            await proxy.cut(reset=True)
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_nothing_is_left_of_a_proxy_whatever_it_was_doing(place):
    async with echo(place) as (url, _):
        before = Footprint.now()
        async with Proxy(url) as proxy:
            proxy.up.rate, proxy.down.delay = 10, SECONDS
            streams = [await open_socket(proxy.url) for _ in range(5)]
            for _, writer in streams:
                writer.write(DATA)
            await until(lambda: proxy.up.carried)
            proxy.half_open()
            unseen = await open_socket(proxy.url)
        for _, writer in [*streams, unseen]:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await settled(before)
