"""The HTTP side of a bus inside a test, and a client of bare sockets for it."""

import asyncio
import contextlib
import json
import socket

from asking import fetch

from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.server import HttpServer

SECONDS = 10.0
"""How long anything may take; it is there for hangs, not for timing."""


@contextlib.asynccontextmanager
async def web(served):
    """The HTTP side of a bus or bridge on a free port; gives the port."""
    place = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(Observed(served), [place], set())
    try:
        yield place.getsockname()[1]
    finally:
        async with asyncio.timeout(SECONDS):
            await server.close()
        place.close()


async def get(port, path):
    """One answer."""
    async with asyncio.timeout(SECONDS):
        return await fetch(("127.0.0.1", port), path)


async def begin(port, path, method="GET"):
    """Send a request, and read the head of the answer: status, headers, and where the rest comes from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return int(first.split()[1]), headers, reader, writer


class Stream:
    """Server-sent events as they come."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def next(self):
        """Name and data of the next event; None at the end."""
        name = None
        async with asyncio.timeout(SECONDS):
            while line := await self.reader.readline():
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    return name, json.loads(line[6:])
        return None

    async def until(self, holds):
        """The first data for which something is so."""
        while (event := await self.next()) is not None:
            if holds(event[1]):
                return event[1]
        raise AssertionError("the stream is over")


@contextlib.asynccontextmanager
async def stream(port, path):
    """Events of a path, until the block ends."""
    status, headers, reader, writer = await begin(port, path)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    try:
        yield Stream(reader, writer)
    finally:
        writer.close()
