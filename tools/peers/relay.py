"""The least that a broker in Python can do: an asyncio.Protocol that hands on the bytes of one connection to another.

It looks at nothing, so that it is what asyncio itself costs. The bytes are the same frames, written 64 KiB at a time,
as a client of the bus does.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Final, cast

from mycelium.bench.contender import LOOPBACK, Contender, Server
from mycelium.bench.process import started
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.workload import WORKLOADS, Make, contract_text
from mycelium.handle import load
from mycelium.schema.classes import Message
from mycelium.wire.frames import encode_frame
from peers.here import ENVIRONMENT, MODULE_COMMAND

__all__ = ["CONTENDER"]

_CHUNK_BYTES: Final = 64 * 1024
"""That are written at a time."""


class _End(asyncio.Protocol):
    """One of the two connections of the relay: what it sends goes to the other."""

    def __init__(self, ends: "list[_End]") -> None:
        self._ends = ends
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ends.append(self)

    @property
    def _other(self) -> "_End":
        first, second = self._ends
        return second if self is first else first

    @property
    def transport(self) -> asyncio.Transport:
        """Its connection."""
        assert self._transport is not None
        return self._transport

    def data_received(self, data: bytes) -> None:
        self._other.transport.write(data)

    def pause_writing(self) -> None:
        self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._other.transport.resume_reading()


async def relay(_: Spec) -> None:
    """Hand on bytes."""
    ends: list[_End] = []
    server = await asyncio.get_running_loop().create_server(lambda: _End(ends), LOOPBACK, 0)
    report(port=server.sockets[0].getsockname()[1])
    await await_end()


async def publish(spec: Spec) -> None:
    """Make messages into frames, and write them as fast as they are taken."""
    _, writer = await asyncio.open_connection(LOOPBACK, int(spec.url))
    make = _maker(spec)
    await await_go()
    start = time.monotonic()
    chunk = bytearray()
    for number in range(spec.messages):
        chunk += _frame(make(number))
        if len(chunk) >= _CHUNK_BYTES:
            writer.write(chunk)
            await writer.drain()
            chunk = bytearray()
    writer.write(chunk)
    await writer.drain()
    report(start=start)
    await await_end()
    writer.close()


def _maker(spec: Spec) -> Make:
    return WORKLOADS[spec.workload].maker(load(contract_text()), spec.size)


def _frame(message: Message) -> bytes:
    return encode_frame(message.TYPE_ID, message.to_bytes())


async def subscribe(spec: Spec) -> None:
    """Count bytes."""
    reader, writer = await asyncio.open_connection(LOOPBACK, int(spec.url))
    report(ready=True)
    left = spec.messages * len(_frame(_maker(spec)(0)))  # they are all of one size
    while left:
        left -= len(await reader.read(_CHUNK_BYTES))
    report(delivered=spec.messages, last=time.monotonic())
    await await_end()
    writer.close()


@contextlib.contextmanager
def serve(_: str) -> Iterator[Server]:
    """The relay process."""
    command = [*MODULE_COMMAND, "peers.relay", Spec("relay").to_json()]
    with started("relay", command, env=ENVIRONMENT) as process:
        yield Server(str(process.facts()["port"]), process)


ROLES: Final[dict[str, Role]] = {"relay": relay, "publisher": publish, "subscriber": subscribe}
CONTENDER: Final = Contender("relay", (*MODULE_COMMAND, "peers.relay"), serve, share=3.0, env=ENVIRONMENT)

if __name__ == "__main__":
    perform(ROLES)
