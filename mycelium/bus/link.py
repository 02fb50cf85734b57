"""The shell of a client's connection: an asyncio protocol around the state machine."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast, final

from mycelium.bus.aside import aside
from mycelium.bus.dial import dial
from mycelium.bus.heartbeat import Due, Heartbeat
from mycelium.bus.security.channel import Channel
from mycelium.bus.security.credentials import Credentials
from mycelium.bus.security.wording import bridge_trouble, is_refusal
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
        channel: What makes it private; None where it is as it is.

    Attributes:
        heartbeat: Of the open connection; None before.
        on_writable: Called when the socket takes more again.
        is_distrusted: Whether the two ends could not agree on TLS.
        is_refused: Whether that is because of this client's certificate.
        is_secure: Done when something may be said.
    """

    _transport: asyncio.Transport

    def __init__(
        self,
        core: Core,
        on_event: Callable[[Event], None],
        on_lost: Callable[[str], None],
        channel: Channel | None = None,
    ) -> None:
        self.heartbeat: Heartbeat | None = None
        self.on_writable: Callable[[], None] = _nothing
        self.is_distrusted = self.is_refused = False
        self.is_secure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel = channel
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
        if self._channel is None:
            self.is_secure.set_result(None)
        else:
            self._channel.start()
            self._transport.write(self._channel.take_output())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's interface
        """Where the next bytes go."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.heartbeat is not None:
            self.heartbeat.heard_at = self._loop.time()
        data = bytes(self._read_buffer[:nbytes])
        if self._channel is not None:
            data = self._unseal(self._channel, data)
            if not data:
                return
        connection = self._connection
        connection.receive_data(data)
        try:
            while not connection.is_drained and (event := connection.next_event()) is not None:
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
        if not (self.is_secure.done() or self._reason):
            self.is_distrusted, self._reason = True, "the bridge ended it in the TLS handshake; its log says why"
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
        self._transport.write(data if self._channel is None else self._seal(self._channel, data))
        if self.heartbeat is not None:
            self.heartbeat.said_at = self._loop.time()

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
        if self._channel is not None:
            self._transport.write(self._channel.close())
        self._transport.close()
        if self._closing is None:
            self._closing = self._loop.call_later(_FLUSH_SECONDS, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close now, whatever is unsent."""
        self._reason = self._reason or reason
        self._transport.abort()

    # --- TLS ---

    def _unseal(self, channel: Channel, data: bytes) -> bytes:
        """The plaintext of what came; nothing as long as both sides only find out whether they believe each other."""
        plain = b""
        try:
            plain = channel.receive_data(data)
        except ssl.SSLError as error:
            self.is_distrusted, self.is_refused = True, is_refusal(error)
            self._transport.write(channel.take_output())
            self.close(bridge_trouble(error))
            return b""
        if output := channel.take_output():
            self._transport.write(output)
        if channel.is_secure and not self.is_secure.done():
            self.is_secure.set_result(None)
        return plain

    def _seal(self, channel: Channel, data: bytes) -> bytes:
        try:
            return channel.send(data)
        except ssl.SSLError as error:
            self.abort(bridge_trouble(error))
            return b""


async def open_link(
    address: Address,
    core: Core,
    on_event: Callable[[Event], None],
    on_lost: Callable[[str], None],
    credentials: Credentials,
) -> Link:
    """Connect.

    Args:
        address: Of the bridge.
        core: The core protocol.
        on_event: Called with each core message and batch.
        on_lost: Called once with the reason when the connection is gone.
        credentials: Whom the client believes, and what it shows of itself.

    Raises:
        ConnectError: Nobody is there.
        TlsError: There is, but the two could not agree on TLS.
        SecurityError: A file of the credentials cannot be used.
    """
    channel = Channel(await aside(credentials.context), address.host) if address.scheme == "tls" else None
    return await dial(address, lambda: Link(core, on_event, on_lost, channel))
