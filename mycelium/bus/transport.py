"""The shell of a session: an asyncio protocol that moves bytes between a socket and the state machine."""

import asyncio
import socket
from typing import TYPE_CHECKING, Final, cast, final

from mycelium.bus.session import Session

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge

__all__ = ["HIGH_WATER", "LOW_WATER", "SessionProtocol", "tune"]

HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
_CLOSE_SECONDS: Final = 5.0
"""How long a peer may take to read the last bytes."""
_USER_TIMEOUT_MS: Final = 30_000


def tune(transport: asyncio.BaseTransport) -> None:
    """Socket options of both sides: no Nagle delay, dead peers noticed, and few bytes out of our hands."""
    cast("asyncio.WriteTransport", transport).set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
    made = transport.get_extra_info("socket")
    if made is not None and made.family in (socket.AF_INET, socket.AF_INET6):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


@final
class SessionProtocol(asyncio.Protocol):
    """One accepted connection."""

    _transport: asyncio.Transport
    session: Session

    def __init__(self, bridge: "Bridge") -> None:
        self._bridge = bridge
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._scheduled = False
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)
        self.session = self._bridge.open_session(self, self._loop.time())

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.session.receive_data(data, self._loop.time())

    def eof_received(self) -> bool:
        """The client sends no more; it is gone."""
        self.session.receive_data(b"", self._loop.time())
        return False

    def pause_writing(self) -> None:
        """The socket takes no more for now: what comes waits in the queues."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes more."""
        self._paused = False
        self.schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for whatever reason."""
        self.session.end("eof" if exc is None else type(exc).__name__)
        self._bridge.forget_session(self)

    def schedule(self) -> None:
        """Write once this turn of the loop is over, however many messages come in it."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        self._transport.abort()

    @property
    def unsent(self) -> bool:
        """Whether there is output that the socket has not taken."""
        return self._transport.get_write_buffer_size() > 0 or self.session.waiting

    def _flush(self) -> None:
        self._scheduled = False
        over = self.session.is_over
        while (over or not self._paused) and (data := self.session.take_output()):
            self._transport.write(data)
        if over and not self._closing:
            self._closing = True
            self._transport.close()
            self._loop.call_later(_CLOSE_SECONDS, self._transport.abort)
