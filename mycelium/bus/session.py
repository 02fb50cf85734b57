"""One client at the bridge, from its first byte to its last; no I/O, so time and bytes are handed in and asked for.

A session takes what the socket gave (`receive_data`), checks it at the door, hands good frames to the bridge, and is asked
for what has to be sent (`take_output`): answers first, then each subscription's messages in turn.
"""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol, final

from attrs import frozen

from mycelium.bus.budget import ErrorBudget
from mycelium.bus.heartbeat import Due, Heartbeat, clamp_interval
from mycelium.bus.monotonic import MonotonicGuard
from mycelium.bus.outbox import Outbox
from mycelium.bus.router import RemoteSubscription
from mycelium.bus.subscription import DEFAULT_QUEUE
from mycelium.schema.document import document_bytes
from mycelium.schema.errors import RuleError
from mycelium.schema.registry import Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.connection import Connection, Core
from mycelium.wire.errors import DecodeError, ErrorCode, ProtocolError
from mycelium.wire.frames import DEFAULT_MAX_PAYLOAD
from mycelium.wire.metadata import Metadata
from mycelium.wire.state import Role, State

__all__ = ["PROTOCOL_VERSION", "Host", "Limits", "Session"]

_log = logging.getLogger("mycelium.bridge")
PROTOCOL_VERSION: Final = 1
_WRITE_SIZE: Final = 256 * 1024
"""Bytes that are given to the socket at once."""
_MOST_ANSWERS: Final = 65_536
"""Core messages that may wait for a client that does not read."""
_MOST_SHOWN: Final = 128
"""Characters of a peer's text that are repeated to people."""


class Lag(Enum):
    """Lag policies by their number in Subscribe."""

    DROP_OLDEST = 0
    DROP_NEWEST = 1
    LATEST = 2
    BLOCK = 3
    REJECT = 4
    DISCONNECT = 5


@frozen
class Limits:
    """What a bridge takes from a client.

    Attributes:
        max_payload: Bytes.
        handshake_seconds: For the whole handshake.
        subscriptions: Of one connection.
        types: Type ids over all subscriptions of one connection.
        queue: Messages that may wait for a subscription.
        connections: At the same time.
    """

    max_payload: int = DEFAULT_MAX_PAYLOAD
    handshake_seconds: float = 5.0
    subscriptions: int = 1024
    types: int = 65_536
    queue: int = DEFAULT_QUEUE
    connections: int = 10_000


class Host(Protocol):
    """What a session needs of its bridge."""

    core: Core
    name: str
    limits: Limits

    @property
    def registry(self) -> Registry[Codec]:
        """The newest generation."""

    def publish_batch(self, batch: Batch, session: "Session") -> None:
        """Hand checked frames to everybody who wants them."""

    def add_subscription(self, subscription: RemoteSubscription) -> None:
        """Route to it from now on."""

    def remove_subscription(self, subscription: RemoteSubscription) -> None:
        """Route to it no more."""


@final
class Session:
    """A connection of a client.

    Args:
        number: Unique for the bridge's life, from 1.
        host: The bridge.
        notify: Called when there is something to send, or to close.
        now: Seconds of a monotonic clock.

    Attributes:
        client: The name that the client gave itself, cut and escaped.
        reason: Why the session ended or is about to; None while it lives.
    """

    def __init__(self, number: int, host: Host, notify: Callable[[], None], now: float) -> None:
        self.number = number
        self.client = ""
        self.reason: str | None = None
        self.received = self.refused = 0
        self.subscriptions: dict[int, RemoteSubscription] = {}
        self._host = host
        self._notify = notify
        self._connection = Connection(Role.BRIDGE, host.core, host.limits.max_payload)
        self._control: list[bytes] = []
        self._types: dict[int, int] = {}
        self._heartbeat = Heartbeat(host.limits.handshake_seconds, now)
        self._deadline = now + host.limits.handshake_seconds
        self._budget = ErrorBudget()
        self._guard: MonotonicGuard | None = None
        self._now = now

    def __repr__(self) -> str:
        return f"<Session {self.number} {self.client!r} {self._connection.state.value}, {len(self.subscriptions)} subscriptions>"

    # --- what the shell calls ---

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nothing has ended the session."""
        return self._connection.state is State.OPEN and self.reason is None

    @property
    def is_over(self) -> bool:
        """Whether the socket is to be closed once the output is out."""
        return self.reason is not None

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what the socket gave; empty for the end of the stream."""
        self._now = now
        self._heartbeat.heard(now)
        self._connection.receive_data(data)
        try:
            while (event := self._connection.next_event()) is not None:
                if isinstance(event, Batch):
                    self._receive_batch(event)
                else:
                    _HANDLERS[type(event).__name__](self, event)
                if self.is_over:
                    return
        except ProtocolError as error:
            self._fail(error)
        else:
            if self._connection.state is State.CLOSED:
                self.end("eof")

    def tick(self, now: float) -> None:
        """Look at the clock: handshake deadline and heartbeat. To be called about once a second."""
        self._now = now
        if self.is_over:
            return
        if self._connection.state is not State.OPEN:
            if now >= self._deadline:
                seconds = self._host.limits.handshake_seconds
                self._fail(ProtocolError(ErrorCode.HANDSHAKE_TIMEOUT, f"no complete handshake within {seconds:g} s"))
            return
        match self._heartbeat.check(now):
            case Due.PING:
                self._say(self._host.core.Ping(nonce=0))
            case Due.DEAD:
                self._fail(ProtocolError(ErrorCode.HEARTBEAT, "nothing heard for three heartbeats"))
            case Due.NOTHING:
                for subscription in self.subscriptions.values():
                    self._control.extend(self._lagged(subscription))
        if self._control:
            self._notify()

    def take_output(self) -> bytes:
        """The next bytes for the socket; empty when there is nothing to send now."""
        pieces, self._control = self._control, []
        size = sum(map(len, pieces))
        for subscription in self.subscriptions.values():
            while size < _WRITE_SIZE and (batch := subscription.outbox.take(_WRITE_SIZE - size)) is not None:
                pieces.extend(self._lagged(subscription))
                pieces.append(batch.data[batch.bounds[0] : batch.bounds[-1]])
                size += batch.size
        if pieces:
            self._heartbeat.said(self._now)
        return b"".join(pieces)

    @property
    def waiting(self) -> bool:
        """Whether messages are queued that could be sent now."""
        return any(one.outbox.ready for one in self.subscriptions.values())

    def has_output(self) -> None:
        """Tell the shell that there is something to send."""
        self._notify()

    def say_goodbye(self, reason: str) -> None:
        """Tell the client that the bridge is going; what is queued is still sent."""
        if self.is_open:
            self._say(self._host.core.Goodbye(reason=reason))

    def end(self, reason: str) -> None:
        """Forget everything; the socket is closed when the output is out."""
        if self.reason is not None:
            return
        self.reason = reason
        self._connection.close()
        for number in list(self.subscriptions):
            self._forget(number)
        self._notify()

    def refuse(self, code: ErrorCode, problem: str) -> None:
        """End the session with a fatal Error."""
        self._fail(ProtocolError(code, problem))

    def names(self, type_id: int) -> bool:
        """Whether a subscription of this session names the type."""
        return type_id in self._types

    # --- messages ---

    def _receive_batch(self, batch: Batch) -> None:
        """Check each frame; hand on the good ones, in runs as long as they come."""
        start = 0
        for index in range(len(batch)):
            problem = self._inspect(batch, index)
            if problem is None:
                continue
            if start < index:
                self._publish(batch.part(start, index))
            start = index + 1
            self._refuse(batch.type_ids[index], *problem)
            if self.is_over:
                return
        if start < len(batch):
            self._publish(batch.part(start, len(batch)) if start else batch)

    def _publish(self, batch: Batch) -> None:
        self.received += len(batch)
        self._host.publish_batch(batch, self)

    def _inspect(self, batch: Batch, index: int) -> tuple[ErrorCode, str] | None:
        """What is wrong with a frame, or None."""
        type_id = batch.type_ids[index]
        entry = self._host.registry.by_id.get(type_id)
        if entry is None:
            return ErrorCode.UNKNOWN_TYPE, f"the bridge's contracts have no type id {type_id}"
        payload = batch.payload(index)
        try:
            tags = entry.codec.verify(payload)
            if tags:
                self._check_metadata(Metadata.from_tags(tags))
            if self._guard is not None and type_id in self._guard.fields:
                self._guard.check(entry.decode(payload))
        except (DecodeError, RuleError) as error:
            return ErrorCode.INVALID_PAYLOAD, str(error)
        except PermissionError as error:
            return ErrorCode.DENIED, str(error)
        return None

    def _check_metadata(self, metadata: Metadata) -> None:
        """What a client says of itself must be true; answers to requests are not taken yet."""
        origin = metadata.origin[0] if metadata.origin is not None else self.number
        reply_to = self.number if metadata.reply_to is None else metadata.reply_to
        if origin != self.number or reply_to != self.number:
            raise PermissionError(f"the metadata names another session than this one, {self.number}")
        if metadata.deliver_to is not None:
            raise PermissionError("nobody has asked for this reply")

    def _refuse(self, type_id: int, code: ErrorCode, problem: str) -> None:
        self.refused += 1
        if not self._budget.spend(self._now):
            self._fail(
                ProtocolError(
                    ErrorCode.LIMIT,
                    f"over {self._budget.most} errors in {self._budget.seconds:g} s; the last: {problem}",
                )
            )
            return
        self._say(self._host.core.Error(code=code, message=problem, type_id=type_id, fatal=False))

    # --- core messages ---

    def _on_hello(self, hello: Any) -> None:
        registry = self._host.registry
        schema = registry.schema
        if hello.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                ErrorCode.VERSION, f"protocol {hello.protocol} is not spoken here; this is {PROTOCOL_VERSION}"
            )
        if hello.heartbeat_ms == 0:
            raise ProtocolError(ErrorCode.PROTOCOL, "a heartbeat of 0 ms; leave it out for the default")
        if hello.schema_digest is not None and hello.schema_digest.hex() != schema.digest:
            raise ProtocolError(
                ErrorCode.SCHEMA_INCOMPATIBLE,
                f"the client's contracts (digest {hello.schema_digest.hex()[:12]}) are not the bridge's ({schema.digest[:12]}, "
                f"version {schema.version}); use the same contracts file on both sides",
            )
        self.client = _for_people(hello.client)
        heartbeat_ms = clamp_interval(hello.heartbeat_ms)
        self._heartbeat = Heartbeat(heartbeat_ms / 1000, self._now)
        guard = MonotonicGuard(schema)
        self._guard = guard if guard.fields else None
        self._say(
            self._host.core.Welcome(
                protocol=PROTOCOL_VERSION,
                server=self._host.name,
                session=self.number,
                schema_id=schema.id,
                schema_version=schema.version,
                schema_digest=bytes.fromhex(schema.digest),
                contracts=document_bytes(schema) if hello.want_contracts else None,
                max_payload=self._host.limits.max_payload,
                heartbeat_ms=heartbeat_ms,
            )
        )

    def _on_subscribe(self, wish: Any) -> None:
        problem = self._problem_with(wish)
        if problem is not None:
            self._answer_no(wish.request, *problem)
            return
        limit = min(wish.queue or self._host.limits.queue, self._host.limits.queue)
        type_ids = frozenset(wish.type_ids)
        replaced = self._forget(wish.subscription)
        outbox = Outbox(limit, wish.window) if replaced is None else replaced.outbox
        outbox.replace(limit, wish.window, lambda type_id: not type_ids or type_id in type_ids)
        subscription = RemoteSubscription(self, wish.subscription, type_ids, outbox, no_echo=bool(wish.no_echo))
        self.subscriptions[wish.subscription] = subscription
        self._types.update(dict.fromkeys(wish.type_ids, wish.subscription))
        self._host.add_subscription(subscription)
        self._say(self._host.core.Ack(request=wish.request))

    def _problem_with(self, wish: Any) -> tuple[ErrorCode, str] | None:
        number = wish.subscription
        taken = [one for one in wish.type_ids if self._types.get(one, number) != number]
        if taken:
            return ErrorCode.PROTOCOL, f"type ids {taken} belong to another subscription of this connection"
        if not wish.type_ids and any(not one.type_ids for key, one in self.subscriptions.items() if key != number):
            return ErrorCode.PROTOCOL, "another subscription of this connection has all types already"
        if wish.on_lag not in (None, Lag.DROP_OLDEST.value):
            return ErrorCode.PROTOCOL, f"on_lag {wish.on_lag} is not supported yet; leave it out for drop_oldest"
        if wish.group is not None:
            return ErrorCode.PROTOCOL, "groups are not supported yet"
        if wish.window == 0 or wish.queue == 0:
            return (
                ErrorCode.PROTOCOL,
                "a window or queue of 0 messages would never deliver; leave it out for the default",
            )
        if number not in self.subscriptions and len(self.subscriptions) >= self._host.limits.subscriptions:
            return ErrorCode.LIMIT, f"more than {self._host.limits.subscriptions} subscriptions"
        if len(self._types) + len(wish.type_ids) > self._host.limits.types:
            return ErrorCode.LIMIT, f"more than {self._host.limits.types} types"
        return None

    def _on_unsubscribe(self, wish: Any) -> None:
        self._forget(wish.subscription)
        self._say(self._host.core.Ack(request=wish.request))

    def _on_credit(self, credit: Any) -> None:
        subscription = self.subscriptions.get(credit.subscription)
        if subscription is not None:  # it may have crossed an Unsubscribe
            subscription.outbox.add_credit(credit.messages)
            self._notify()

    def _on_ping(self, ping: Any) -> None:
        self._say(self._host.core.Pong(nonce=ping.nonce))

    def _on_pong(self, _: Any) -> None:
        """It was heard, which is all that it is for."""

    def _on_goodbye(self, _: Any) -> None:
        """The client has said all it wanted to, and everything before was handed on."""
        self.end("client")

    def _on_error(self, error: Any) -> None:
        _log.warning("client %s: error %d: %s", self.client, error.code, _for_people(error.message))
        if error.fatal:
            self.end("client")

    def _not_yet(self, message: Any) -> None:
        name = type(message).__name__
        request = getattr(message, "request", None)
        if request is None:
            raise ProtocolError(ErrorCode.PROTOCOL, f"{name} is not supported yet")
        self._answer_no(request, ErrorCode.PROTOCOL, f"{name} is not supported yet")

    # --- helpers ---

    def _forget(self, number: int) -> RemoteSubscription | None:
        subscription = self.subscriptions.pop(number, None)
        if subscription is None:
            return None
        for type_id in subscription.type_ids:
            self._types.pop(type_id, None)
        self._host.remove_subscription(subscription)
        return subscription

    def _lagged(self, subscription: RemoteSubscription) -> list[bytes]:
        core = self._host.core
        return [
            self._connection.send(
                core.Lagged(subscription=subscription.number, type_id=type_id, dropped=count, reason=0)
            )
            for type_id, count in subscription.outbox.take_lagged()
        ]

    def _answer_no(self, request: int, code: ErrorCode, problem: str) -> None:
        self._say(self._host.core.Error(code=code, message=problem, request=request, fatal=False))

    def _say(self, message: Any) -> None:
        self._control.append(self._connection.send(message))
        if len(self._control) > _MOST_ANSWERS:
            self._control = []
            self._fail(
                ProtocolError(ErrorCode.SLOW_CONSUMER, f"over {_MOST_ANSWERS} answers that the client does not read")
            )
        self._notify()

    def _fail(self, error: ProtocolError) -> None:
        self._control.append(self._connection.fail(error))
        _log.warning("client %s (session %d) refused: %s", self.client or "?", self.number, error)
        self.end(error.code.reason)


def _for_people(text: str) -> str:
    """A peer's text, cut, and with nothing in it that could move a cursor."""
    return text[:_MOST_SHOWN].encode("unicode_escape").decode("ascii") if not text.isprintable() else text[:_MOST_SHOWN]


_HANDLERS: Final[dict[str, Callable[[Session, Any], None]]] = {
    "Hello": Session._on_hello,
    "Subscribe": Session._on_subscribe,
    "Unsubscribe": Session._on_unsubscribe,
    "Credit": Session._on_credit,
    "Ping": Session._on_ping,
    "Pong": Session._on_pong,
    "Goodbye": Session._on_goodbye,
    "Error": Session._on_error,
    "Confirm": Session._not_yet,
    "Query": Session._not_yet,
}
