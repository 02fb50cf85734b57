"""The shell of a client's connection: an asyncio protocol around the state machine."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import cast, final

from mycelium.bus.errors import ConnectError
from mycelium.bus.heartbeat import Due, Heartbeat
from mycelium.bus.transport import tune
from mycelium.bus.urls import Address
from mycelium.schema.classes import Message
from mycelium.wire.connection import Connection, Core, Event
from mycelium.wire.errors import ProtocolError
from mycelium.wire.state import Role

__all__ = ["Link", "open_link"]

_EAGER_BYTES = 64 * 1024
"""Unsent bytes from which on the loop's turn is not waited for."""


@final
class Link(asyncio.Protocol):
    """One connection to a bridge.

    Args:
        core: The core protocol.
        on_event: Called with each core message and batch.
        on_lost: Called once with the reason when the connection is gone.
    """

    _transport: asyncio.Transport

    def __init__(self, core: Core, on_event: Callable[[Event], None], on_lost: Callable[[str], None]) -> None:
        self.heartbeat: Heartbeat | None = None
        self._connection = Connection(Role.CLIENT, core)
        self._core = core
        self._on_event = on_event
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._held = 0
        self._scheduled = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._reason = ""

    def __repr__(self) -> str:
        return f"<Link {self._connection.state.value}, {self.unsent} bytes unsent>"

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._held + self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The bridge is there."""
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.heartbeat is not None:
            self.heartbeat.heard(self._loop.time())
        self._connection.receive_data(data)
        try:
            while (event := self._connection.next_event()) is not None:
                self._on_event(event)
        except ProtocolError as error:
            self.write(self._connection.fail(error))
            self.lose(str(error))

    def eof_received(self) -> bool:
        """The bridge closed its side."""
        return False

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It takes more."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._writable.set()  # nobody waits for a socket that is gone
        self._connection.close()
        self._on_lost(self._reason or (str(exc) if exc else "the bridge closed it"))

    def send(self, message: Message) -> None:
        """Send a core message.

        Raises:
            LocalProtocolError: It cannot be said now.
        """
        self.write(self._connection.send(message))

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn of the loop, together with everything else that comes in it."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _EAGER_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Give everything to the transport now."""
        self._scheduled = False
        if self._pieces:
            pieces, self._pieces, self._held = self._pieces, [], 0
            self._transport.write(b"".join(pieces))
            if self.heartbeat is not None:
                self.heartbeat.said(self._loop.time())

    async def writable(self) -> None:
        """Wait until the socket takes more."""
        await self._writable.wait()

    def tick(self) -> None:
        """Look at the clock; to be called about once a second."""
        match self.heartbeat.check(self._loop.time()) if self.heartbeat is not None else Due.NOTHING:
            case Due.PING:
                self.send(self._core.Ping(nonce=0))
            case Due.DEAD:
                self.lose("nothing heard for three heartbeats")
                self._transport.abort()
            case Due.NOTHING:
                pass

    def lose(self, reason: str) -> None:
        """Close, for a reason that the caller is told."""
        self._reason = self._reason or reason
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        self._transport.abort()


async def open_link(
    address: Address, core: Core, on_event: Callable[[Event], None], on_lost: Callable[[str], None], timeout: float
) -> Link:
    """Connect.

    Raises:
        ConnectError: Nobody is there, or not within `timeout` seconds.
    """
    loop = asyncio.get_running_loop()

    def make() -> Link:
        return Link(core, on_event, on_lost)

    try:
        async with asyncio.timeout(timeout):
            if address.scheme == "unix":
                _, link = await loop.create_unix_connection(make, address.path)
            else:
                _, link = await loop.create_connection(make, address.host, address.port)
    except TimeoutError:
        raise ConnectError(str(address), f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise ConnectError(str(address), _reason(error)) from error
    return link


def _reason(error: OSError) -> str:
    """asyncio puts words of its own into strerror, and no errno where several addresses were tried."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    return os.strerror(error.errno).lower() if error.errno else "none of its addresses answers"
