"""The shell of a client's connection: an asyncio protocol around the state machine."""

import asyncio
from collections.abc import Callable
from typing import Final, cast, final

from mycelium.bus.dial import dial
from mycelium.bus.heartbeat import Due, Heartbeat
from mycelium.bus.tuning import read_buffer, tune
from mycelium.bus.urls import Address
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.wire.connection import Connection, Core, Event
from mycelium.wire.errors import ProtocolError
from mycelium.wire.state import Role

__all__ = ["Link", "open_link"]

_log = Log("mycelium.client")
_FLUSH_SECONDS: Final = 5.0
"""How long the bridge may take to read the last bytes of a connection that this side ends."""


def _nothing() -> None:
    """What a link that nobody has attached anything to does."""


@final
class Link(asyncio.BufferedProtocol):
    """One connection to a bridge.

    Args:
        core: The core protocol.
        on_event: Called with each core message and batch.
        on_lost: Called once with the reason when the connection is gone.

    Attributes:
        heartbeat: Of the open connection; None before.
        on_writable: Called when the socket takes more again.
    """

    _transport: asyncio.Transport

    def __init__(self, core: Core, on_event: Callable[[Event], None], on_lost: Callable[[str], None]) -> None:
        self.heartbeat: Heartbeat | None = None
        self.on_writable: Callable[[], None] = _nothing
        self._connection = Connection(Role.CLIENT, core)
        self._core = core
        self._on_event = on_event
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._read_buffer = read_buffer()
        self._is_paused = False
        self._reason = ""
        self._closing: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Link {self._connection.state.value}>"

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The bridge is there."""
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's interface
        """Where the next bytes go."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.heartbeat is not None:
            self.heartbeat.heard(self._loop.time())
        self._connection.receive_data(bytes(self._read_buffer[:nbytes]))
        try:
            while (event := self._connection.next_event()) is not None:
                self._on_event(event)
        except ProtocolError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  a fault in here ends the connection, or it would be deaf
            _log(Line.FAULT, caused_by=error, problem="what the bridge said could not be handled")
            self.abort("a fault of this client; its log has more")

    def eof_received(self) -> bool:
        """The bridge closed its side."""
        return False

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It takes more."""
        self._is_paused = False
        self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._closing is not None:
            self._closing.cancel()
        self._connection.close()
        self._on_lost(self._reason or ("the bridge closed it" if exc is None else str(exc) or type(exc).__name__))

    # --- what the client calls ---

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return not self._transport.is_closing()

    @property
    def peer(self) -> object:
        """The other end, as the socket names it."""
        return self._transport.get_extra_info("peername")

    @property
    def is_ready(self) -> bool:
        """Whether the socket takes more now."""
        return not self._is_paused and not self._transport.is_closing()

    def frame(self, message: Message) -> bytes:
        """A core message as bytes.

        Raises:
            LocalProtocolError: It cannot be said now.
        """
        return self._connection.send(message)

    def write(self, data: bytes) -> None:
        """Send bytes now."""
        self._transport.write(data)
        if self.heartbeat is not None:
            self.heartbeat.said(self._loop.time())

    def look_at_clock(self) -> Due:
        """What the heartbeat asks for; to be called about once a second."""
        return self.heartbeat.check(self._loop.time()) if self.heartbeat is not None else Due.NOTHING

    def fail(self, error: ProtocolError) -> None:
        """Tell the bridge what it broke, and close."""
        self.write(self._connection.fail(error))
        self.close(f"it does not speak Mycelium's protocol ({error})")

    def close(self, reason: str) -> None:
        """Close when everything is sent, or some seconds later."""
        self._reason = self._reason or reason
        self._transport.close()
        if self._closing is None:
            self._closing = self._loop.call_later(_FLUSH_SECONDS, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close now, whatever is unsent."""
        self._reason = self._reason or reason
        self._transport.abort()


async def open_link(
    address: Address, core: Core, on_event: Callable[[Event], None], on_lost: Callable[[str], None]
) -> Link:
    """Connect.

    Raises:
        ConnectError: Nobody is there.
    """
    return await dial(address, lambda: Link(core, on_event, on_lost))
