"""The shell of a session: an asyncio protocol that moves bytes between a socket and the state machine."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast, final

from attrs import evolve

from mycelium.bus.hub import Closed
from mycelium.bus.security.channel import Channel
from mycelium.bus.security.peer import Peer, Transport
from mycelium.bus.security.wording import client_trouble, stranger
from mycelium.bus.session import Session
from mycelium.bus.tuning import read_buffer, tune
from mycelium.logs.lines import Line
from mycelium.wire.errors import ErrorCode
from mycelium.wire.frames import LENGTH_SIZE

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge
    from mycelium.bus.interpreter import Manners

__all__ = ["SessionProtocol"]

_FLUSH_SECONDS: Final = 5.0
"""How long a peer may take to read the last bytes."""
_LINGER_SECONDS: Final = 1.0
"""How long it may take to close once it has them."""
_SMALL: Final = 4096
"""Bytes that came at once after which somebody may well wait for an answer."""


@final
class SessionProtocol(asyncio.BufferedProtocol):
    """One accepted connection.

    A session that is over has its last bytes written, then the writing side is shut and what the peer still sends is
    read and thrown away for a moment: a socket that is closed on unread bytes resets the connection, and the peer might
    never see why it ended. Of those who were not let in only so many have that moment.

    Args:
        bridge: Whose connection it is.
        manners: Of a connection in Mycelium's own dialect; None for one in this project's protocol.
        on_lost: Called with the reason when the connection is gone.
        secure: Whether it begins with TLS.

    Attributes:
        loop: In which it lives.
        received_bytes: So far.
    """

    _transport: asyncio.Transport
    session: Session
    _receive: Callable[[bytes, float], None]
    _take: Callable[[float], bytes]

    def __init__(
        self,
        bridge: "Bridge",
        manners: "Manners | None" = None,
        on_lost: Callable[[str], object] = lambda _: None,
        *,
        secure: bool = False,
    ) -> None:
        self._bridge = bridge
        self._manners = manners
        self._on_lost = on_lost
        self._secure = secure
        self._channel: Channel | None = None
        self._is_greeted = manners is not None
        """Whether something came, or whatever comes is of another dialect anyway."""
        self._flushes = bridge.flushes
        self._read_buffer = read_buffer()
        self.loop = asyncio.get_running_loop()
        self.received_bytes = 0
        self._paused = False
        self._scheduled = False
        self._ended = False
        """Whether the last bytes have been written."""
        self._last: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<SessionProtocol of {self.session!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)
        context = self._bridge.admission.guard.context if self._secure else None
        if context is not None:
            self._channel = Channel(context)
        session = self.session = self._bridge.open_session(self, self._find_peer(), self.loop.time())
        self._receive, self._take = session.receive_data, session.take_output
        if self._manners is None and self._channel is None:
            session.pass_on = self._pass_on
        if self._manners is not None:
            from mycelium.bus.interpreter import Interpreter

            interpreter = Interpreter(session, self._bridge, self._manners, self._read)
            self._receive, self._take = interpreter.receive_data, interpreter.take_output

    def as_closed(self) -> Closed:
        """What is remembered of it, now that it is gone."""
        session = self.session
        received, reason = session.intake.received, session.reason or ""
        return Closed(session.number, session.client, reason, received, session.peer.transport, time.time())

    def _find_peer(self) -> Peer:
        """Who is at the other end; a bus that was joined from here is asked nothing."""
        if self._manners is not None and self._manners.is_bus:
            return Peer("rust", self._manners.name)
        kind: Transport = "rust" if self._manners is not None else "tls" if self._secure else "tcp"
        return Peer.of(self._transport.get_extra_info("socket"), kind)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's interface
        """Where the next bytes go."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        now = self.loop.time()
        self.received_bytes += nbytes
        meter = self._bridge.exchange.meter
        if meter is not None:
            meter.begin()
        data = bytes(self._read_buffer[:nbytes])
        if not self._is_greeted:
            self._greet(data)
        if self._channel is not None:
            data = self._unseal(self._channel, data, now)
            if not data:
                return
        if nbytes > _SMALL:
            self._receive(data, now)
            return
        flushes = self._flushes
        flushes.begin(is_frame=int.from_bytes(data[:LENGTH_SIZE], "little") == len(data) - LENGTH_SIZE)
        try:
            self._receive(data, now)
        finally:
            flushes.hurry(now)

    def eof_received(self) -> bool:
        """The client sends no more; it is gone, but may still be reading."""
        now = self.loop.time()
        self._receive(b"", now)
        self.flush(now)
        return False

    def pause_writing(self) -> None:
        """The socket takes no more for now: what comes waits in the queues."""
        self._paused = True
        self._bridge.pressure.stuck(self, stuck=True)

    def resume_writing(self) -> None:
        """It takes more."""
        self._paused = False
        self._bridge.pressure.stuck(self, stuck=False)
        self.session.outgoing.moves()
        self.schedule()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a reset is an end like any other
        """The connection is gone, for whatever reason."""
        self._ended = True
        if self._last is not None:
            self._last.cancel()
        try:
            self.session.end("eof")
        finally:
            self.session.log.close(self.session.reason, self.loop.time())
            self._bridge.forget_session(self)
            self._on_lost(self.session.reason or "")
            self._channel = None  # what OpenSSL holds must not wait for the next full garbage collection

    def schedule(self) -> None:
        """Write once this turn of the loop is over, however many messages come in it."""
        if not self._scheduled:
            self._scheduled = True
            self._flushes.add(self)

    def _pass_on(self, data: bytes, messages: int) -> bool:
        """Write what a frame has led to that came alone, if nothing is to be written before it; see `Flushes.pass_by`.

        Args:
            data: The bytes.
            messages: How many messages they are.
        """
        if self._scheduled or self._paused or self._ended or not self._flushes.pass_by(self):
            return False
        try:
            self._transport.write(data)
        except Exception as error:  # noqa: BLE001  as in `flush`, but the caller still counts what it has handed over
            self.loop.call_soon(self._fail, error)
        session = self.session
        session.outgoing.written += len(data)
        session.outgoing.messages += messages
        if session.heartbeat is not None:
            session.heartbeat.said_at = self.loop.time()
        return True

    def abort(self, reason: str) -> None:
        """Close now, whatever is unsent."""
        self.session.end(reason)
        self._ended = True
        self._transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes that the socket was given and the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    def watch(self, now: float) -> None:
        """Look at a socket that takes no more for now: its peer may have to go."""
        self._guarded(self.session.watch, now, self.unsent)

    def tick(self, now: float) -> float:
        """Look at the clock; when to do so again. What goes wrong here keeps no other session from being looked at."""
        try:
            return self.session.tick(now)
        except Exception as error:  # noqa: BLE001  a fault in here is this connection's end and nobody else's
            self._fail(error)
            return now

    def report_lag(self) -> None:
        """Tell the client of drops that no message has told of yet."""
        self._guarded(self.session.report_lag)

    def flush(self, now: float) -> None:
        """Write one piece; the rest waits for the next turn, after everybody else."""
        self._scheduled = False
        if self._ended:
            return
        session = self.session
        try:
            if not self._paused or session.reason is not None:
                data = self._take(now)
                if data:
                    self._transport.write(data if self._channel is None else self._seal(self._channel, data))
            if session.reason is not None:
                self._end()
            elif session.subscriptions.turns and not self._paused:
                self.schedule()
        except Exception as error:  # noqa: BLE001  nobody else would ever write to this socket again
            self._fail(error)

    def _read(self, go_on: bool) -> None:
        """Read what the socket gives, or leave it there."""
        if not self._transport.is_closing():
            (self._transport.resume_reading if go_on else self._transport.pause_reading)()

    def _guarded(self, step: Callable[..., None], *args: float) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001  a fault in here is this connection's end and nobody else's
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.session.log.tell(Line.CONN_FAULT, self.loop.time(), caused_by=error)
        self.abort("internal")

    def _end(self) -> None:
        self._ended = True
        last = self._take(self.loop.time())
        if self._channel is not None:
            last = self._seal(self._channel, last) + self._channel.close()
        if last:
            self._transport.write(last)
        if self._transport.can_write_eof() and self._bridge.may_linger(self.session):
            with contextlib.suppress(OSError):  # it has been reset meanwhile
                self._transport.write_eof()
            waiting = self._transport.get_write_buffer_size() > 0
            self._last = self.loop.call_later(_FLUSH_SECONDS if waiting else _LINGER_SECONDS, self._transport.abort)
        else:
            self._transport.close()
            self._last = self.loop.call_later(_FLUSH_SECONDS, self._transport.abort)

    # --- TLS ---

    def _greet(self, data: bytes) -> None:
        """Look at the first bytes: if they are of another protocol there is no use in going on."""
        self._is_greeted = True
        problem = stranger(data, secure=self._channel is not None)
        if problem is not None:
            self._channel = None  # who speaks plainly can be answered plainly
            self.session.refuse(ErrorCode.PROTOCOL, problem)

    def _unseal(self, channel: Channel, data: bytes, now: float) -> bytes:
        """The plaintext of what came; nothing as long as both sides only find out whether they believe each other."""
        if self.session.reason is not None:
            return b""
        was_secure = channel.is_secure
        try:
            plain = channel.receive_data(data)
        except ssl.SSLError as error:
            self._transport.write(channel.take_output())
            self.session.refuse(*client_trouble(error))
            return b""
        if output := channel.take_output():
            self._transport.write(output)
        if channel.is_secure and not was_secure:
            self.session.peer = evolve(self.session.peer, certificate=channel.certificate)
        if channel.has_ended:
            self.session.receive_data(plain, now)
            self.eof_received()
            return b""
        return plain

    def _seal(self, channel: Channel, data: bytes) -> bytes:
        """Ciphertext; nothing where there is no way to say it, which nobody may overhear."""
        if not (channel.is_secure and data):
            return b""
        try:
            return channel.send(data)
        except ssl.SSLError:
            self.session.end(ErrorCode.PROTOCOL.reason)
            return b""
