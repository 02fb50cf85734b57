"""Between a session and a peer of Mycelium's own dialect; no I/O. What is lost on the way is listed in docs/rust.md."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, final

from attrs import frozen

from mycelium.bus.door import Objection
from mycelium.bus.host import Host
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.recent import RecentFrames
from mycelium.bus.session import Session
from mycelium.logs.lines import Line
from mycelium.schema.errors import UnknownTypeError
from mycelium.schema.printable import printable
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.errors import DecodeError, EncodeError, ErrorCode, ProtocolError
from mycelium.wire.rustframes import RustFrames
from mycelium.wire.state import Role

__all__ = ["Interpreter", "Manners"]

_PROTOCOL: Final = 1
_HEARTBEAT_MS: Final = 300_000
"""The longest that a bridge grants; it is answered right here, and says nothing of the peer."""
_EVERYTHING: Final = 0
"""In place of a type id: all types are paused."""


@frozen
class Manners:
    """What is usual on one connection of the dialect.

    Attributes:
        name: What the bridge shows of the peer.
        greeting: What the peer is told before the first frame.
        judge: Why a peer that says a digest may not stay; None if it may.
        is_bus: Whether the peer is a bus, on which others publish too. Nothing goes there that came from it, last
            values included, and it is not left for what others have published.
        recent: What was sent to a bus, which sends everything back; None to keep what comes back.
        on_lag: What to do where the peer does not read; None: what each message's contract says.
    """

    name: str
    judge: Callable[[bytes], str | None]
    greeting: bytes = b""
    is_bus: bool = False
    recent: RecentFrames | None = None
    on_lag: Lag | None = None


@final
class Interpreter:
    """Makes a peer that speaks Mycelium's own dialect look like any other client to its session.

    It says Hello and subscribes to everything in the peer's name, answers pings, and puts each message into the other
    form, by way of the message itself: the layouts have nothing in common. What the dialect has no word for ends here:
    metadata, gaps, receipts. Flow becomes a socket that is not read.

    Args:
        session: Made for this peer.
        host: The bridge.
        manners: See above.
        read: Told whether to read from the socket.
    """

    def __init__(self, session: Session, host: Host, manners: Manners, read: Callable[[bool], None]) -> None:
        self._session = session
        self._host = host
        self._manners = manners
        self._read = read
        self._frames = RustFrames(host.limits.max_payload)
        self._is_judged = False
        self._connection = Connection(Role.CLIENT, host.core, host.limits.max_payload)
        self._output = [manners.greeting]
        self._paused: set[int] = set()
        self._unwanted = 0
        """Last values that are about to come, for a bus that may have sent them itself."""
        core = host.core
        self._tell(core.Hello(protocol=_PROTOCOL, client=manners.name, heartbeat_ms=_HEARTBEAT_MS), session.now)
        self._hear(session.take_output(session.now), session.now)

    def __repr__(self) -> str:
        return f"<Interpreter for {self._manners.name}, {self._connection.state.value}>"

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what the socket gave; empty for the end of the stream."""
        if not data:
            self._session.receive_data(data, now)
            return
        self._frames.feed(data)
        if not self._is_judged and self._frames.digest is not None:
            self._judge(self._frames.digest)
        try:
            while self._session.reason is None and (batch := self._frames.take()) is not None:
                self._take_batch(batch, now)
        except ProtocolError as error:
            self._session.refuse(error.code, error.problem)

    def take_output(self, now: float) -> bytes:
        """The next bytes for the socket; empty when there is nothing to send now."""
        taken = self._session.take_output(now)
        self._hear(taken, now)
        output = b"".join(self._output)
        self._output.clear()
        self._session.outgoing.restate(len(taken), len(output))
        return output

    # --- from the peer ---

    def _judge(self, digest: bytes) -> None:
        self._is_judged = True
        problem = self._manners.judge(digest)
        if problem is not None:
            self._session.warn(Line.CONN_DIGEST, ErrorCode.SCHEMA_INCOMPATIBLE.reason, problem)
            self._session.end(ErrorCode.SCHEMA_INCOMPATIBLE.reason)

    def _take_batch(self, batch: Batch, now: float) -> None:
        recent, to_native = self._manners.recent, self._host.dialect.codecs.to_native
        frames: list[bytes] = []
        for index, type_id in enumerate(batch.type_ids):
            if recent is not None and recent.take(batch.frame(index), now):
                continue
            try:
                frames.append(to_native(type_id, batch.payload(index)))
            except (DecodeError, UnknownTypeError) as error:
                self._publish(frames, now)
                frames.clear()
                self._object(index, type_id, error)
            if self._session.reason is not None:
                return
        self._publish(frames, now)

    def _publish(self, frames: list[bytes], now: float) -> None:
        if frames:
            self._session.receive_data(b"".join(frames), now)

    def _object(self, index: int, type_id: int, error: DecodeError | UnknownTypeError) -> None:
        """A frame is left out; who sends many wrong ones is sent away, unless others may have sent them."""
        code = ErrorCode.INVALID_PAYLOAD if isinstance(error, DecodeError) else ErrorCode.UNKNOWN_TYPE
        excused = code is ErrorCode.UNKNOWN_TYPE or self._manners.is_bus
        if excused:
            line = Line.MESSAGE_UNKNOWN if code is ErrorCode.UNKNOWN_TYPE else Line.FRAME_INVALID
            self._session.warn(line, code.reason, _for_logs(type_id, error), type_id=type_id)
        self._session.intake.object(Objection(index, type_id, code, str(error), excused))

    # --- from the session ---

    def _hear(self, data: bytes, now: float) -> None:
        if data:
            self._connection.receive_data(data)
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, Batch):
                self._say_batch(event, now)
            elif (answer := self._ANSWERS.get(type(event).__name__)) is not None:
                answer(self, event, now)

    def _say_batch(self, batch: Batch, now: float) -> None:
        unwanted = min(self._unwanted, len(batch))
        self._unwanted -= unwanted
        recent, from_native = self._manners.recent, self._host.dialect.codecs.from_native
        for index in range(unwanted, len(batch)):
            type_id = batch.type_ids[index]
            try:
                frame = from_native(type_id, batch.payload(index))
            except (DecodeError, EncodeError, UnknownTypeError) as error:  # too long, or of a generation that is over
                self._session.warn(Line.PUBLISH_REJECTED, "unsendable", _for_logs(type_id, error), type_id=type_id)
                self._session.subscriptions.fail(1, type_id, DropReason.SCHEMA)
                continue
            self._output.append(frame)
            if recent is not None:
                recent.add(frame, now)

    def _tell(self, message: Any, now: float) -> None:
        self._session.receive_data(self._connection.send(message), now)

    def _on_welcome(self, _: Any, now: float) -> None:
        manners, subscribe = self._manners, self._host.core.Subscribe
        no_echo = manners.is_bus or None
        self._tell(subscribe(request=1, subscription=1, type_ids=[], on_lag=manners.on_lag, no_echo=no_echo), now)

    def _on_ping(self, ping: Any, now: float) -> None:
        self._tell(self._host.core.Pong(nonce=ping.nonce), now)

    def _on_goodbye(self, _: Any, now: float) -> None:
        self._tell(self._host.core.Goodbye(reason="client"), now)

    def _on_retained(self, retained: Any, _: float) -> None:
        if self._manners.is_bus:
            self._unwanted += retained.messages

    def _on_flow(self, flow: Any, _: float) -> None:
        before = bool(self._paused)
        (self._paused.update if flow.paused else self._paused.difference_update)(flow.type_ids or [_EVERYTHING])
        if bool(self._paused) != before:
            self._read(before)

    _ANSWERS: ClassVar[Mapping[str, Callable[["Interpreter", Any, float], None]]] = {
        "Welcome": _on_welcome,
        "Ping": _on_ping,
        "Goodbye": _on_goodbye,
        "Retained": _on_retained,
        "Flow": _on_flow,
    }


def _for_logs(type_id: int, error: DecodeError | EncodeError | UnknownTypeError) -> str:
    """Which field it is and what is wrong with it, but no value."""
    if isinstance(error, UnknownTypeError):
        return f"no message has the type id {type_id} here, so it is passed over"
    what = f"it breaks the rule {error.rule}" if isinstance(error, DecodeError) and error.rule else error.problem
    return printable(f"{'.'.join(filter(None, (error.message, error.field)))}: {what}")
