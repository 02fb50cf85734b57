"""One client at the bridge, from its first byte to its last; no I/O, so time and bytes are handed in and asked for.

A session takes what the socket gave (`receive_data`), checks it at the door, hands good frames to the bridge, and is
asked for what has to be sent (`take_output`): answers first, then each subscription's messages in turn.

It ends for one reason, which is an error code's name, `client` (it said Goodbye) or `eof`. When the bridge goes first,
it says Goodbye and delivers what is queued (`say_goodbye`, `finish`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, final

from mycelium.bus.asks import Asks
from mycelium.bus.door import Door
from mycelium.bus.heartbeat import Due, Heartbeat, clamp_interval
from mycelium.bus.host import Host
from mycelium.bus.intake import Intake
from mycelium.bus.lag import DropReason
from mycelium.bus.monotonic import MonotonicGuard
from mycelium.bus.negotiation import Standing
from mycelium.bus.outgoing import Outgoing
from mycelium.bus.remote import RemoteSubscriptions
from mycelium.bus.remotesubscription import RemoteSubscription
from mycelium.bus.security.identity import NOBODY
from mycelium.bus.security.peer import HERE, Peer
from mycelium.bus.sessionlog import SessionLog, for_people
from mycelium.bus.terms import Terms
from mycelium.logs.lines import Line
from mycelium.schema.model import Schema
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.errors import ErrorCode, LocalProtocolError, ProtocolError
from mycelium.wire.state import Role, State, is_fatal

__all__ = ["Session"]

_OPEN, _CLOSED = State.OPEN, State.CLOSED
_CLIENT, _EOF = "client", "eof"  # close reasons beside the names of error codes
_FAILURES: Final = {
    ErrorCode.PROTOCOL: Line.FRAME_INVALID,
    ErrorCode.LIMIT: Line.FRAME_INVALID,
    ErrorCode.SLOW_CONSUMER: Line.CONSUMER_DISCONNECTED,
}
"""What is logged of an open session that ends for a fault."""
_DROPPED: Final = {ErrorCode.SHUTDOWN.reason: DropReason.SHUTDOWN_DEADLINE}
_ORDERLY: Final = frozenset({_CLIENT, *_DROPPED})
"""Ends that were agreed on: what was sent before counts as delivered."""


@final
class Session:
    """A connection of a client.

    Args:
        number: Unique for the bus's life, from 1.
        host: The bridge.
        notify: Called when there is something to send, or to close.
        now: Seconds of a monotonic clock.
        peer: What the connection says of the client.

    Attributes:
        log: What is logged of it.
        peer: See above.
        identity: Who the client is, once it was let in.
        reason: Why the session ended or is about to; None while it lives.
        now: When the session last looked at the clock.
        said_goodbye: Whether the client has nothing more to say.
        terms: The contracts that it goes by.
        subscriptions: Of this connection.
        intake: What becomes of its messages.
        asks: Requests of the client that got no reply yet.
        outgoing: What is sent.
        ready: What `notify` was.
        pass_on: Writes some messages at once if nothing is to be written before them; whether it has.
        heartbeat: Of the open connection; None before.
        began: When the connection was made.
        traffic: What is counted of its transport.
        tally: The same by type; None where nobody has asked for it.
    """

    subscriptions: RemoteSubscriptions
    intake: Intake
    outgoing: Outgoing

    def __init__(self, number: int, host: Host, notify: Callable[[], None], now: float, peer: Peer = HERE) -> None:
        self.number, self.peer = number, peer
        self.identity = NOBODY
        self.log = SessionLog(number, partial(host.admission.places.write, peer.origin))
        self.log.strangers = host.admission.strangers
        self.reason: str | None = None
        self.said_goodbye = self._finishing = False
        self.traffic = host.exchange.traffic_over(peer.transport)
        self.tally = host.exchange.tally(peer.transport)
        self.asks = Asks(outcomes=host.exchange.answers.outcomes)
        self.subscriptions = RemoteSubscriptions(host.exchange, host.limits, self, echo=host.echo)
        self._host, self.ready = host, notify
        self.pass_on: Callable[[bytes, int], bool] = lambda *_: False
        self.began = self.now = now
        self._connection = Connection(Role.BRIDGE, host.core, host.limits.max_payload)
        self.outgoing = Outgoing(host.limits, self.subscriptions, self._lagged)
        self._door = Door(number, MonotonicGuard(host.monotonic))
        self.terms = Terms(host.core, self._door, self.subscriptions)
        self.intake = Intake(self, host, self._door, self.terms)
        self.heartbeat: Heartbeat | None = None
        self._parting: str | None = None

    def __repr__(self) -> str:
        state = self.reason or self._connection.state.value
        return f"<Session {self.number} {self.client!r} {state}, {len(self.subscriptions)} subscriptions>"

    # --- what the shell calls ---

    @property
    def client(self) -> str:
        """The name that the client gave itself, cut and escaped."""
        return self.log.client

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nothing has ended the session."""
        return self._connection.state is _OPEN and self.reason is None

    @property
    def may_publish(self) -> bool:
        """Whether the client has published, and not said that there will be no more."""
        return self.intake.received > 0 and not self.said_goodbye

    @property
    def is_over(self) -> bool:
        """Whether the socket is to be closed once the output is out."""
        return self.reason is not None

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what the socket gave; empty for the end of the stream."""
        reason = self.reason
        if reason is not None:
            return
        self.now = now
        if self.heartbeat is not None:
            self.heartbeat.heard_at = now
        connection = self._connection
        connection.receive_data(data)
        try:
            while not connection.is_drained and (event := connection.next_event()) is not None:
                if isinstance(event, Batch):
                    if not self._finishing:  # the grace is over, and with it what is taken
                        self.intake.receive(event)
                else:
                    self._ANSWERS[type(event).__name__](self, event)
                if self.reason is not None:
                    return
            if connection.state is _CLOSED:
                self.end(_EOF)
        except LocalProtocolError as error:
            self._fail_inside(error)
        except ProtocolError as error:
            self.traffic.invalid[error.code.reason] += 1
            self._fail(error)
        except Exception as error:  # noqa: BLE001  a fault in here is this connection's end and nobody else's
            self._fail_inside(error)

    def tick(self, now: float) -> float:
        """Look at the clock: handshake deadline and heartbeat. When it is to be looked at again, at the latest."""
        self.now = now
        heartbeat, seconds = self.heartbeat, self._host.limits.handshake_seconds
        if heartbeat is None or self.is_over:
            if now >= self.began + seconds and not self.is_over:
                self.refuse(ErrorCode.HANDSHAKE_TIMEOUT, f"no complete handshake within {seconds:g} s")
            return self.began + seconds
        match heartbeat.check(now):
            case Due.PING:
                self.say(self._host.core.Ping(nonce=0))
            case Due.DEAD:
                self.refuse(ErrorCode.HEARTBEAT, "nothing heard for three heartbeats")
            case Due.NOTHING:
                pass
        return heartbeat.due_at

    def report_lag(self) -> None:
        """Tell the client of drops that no message has told of yet."""
        if not self.is_over:
            for subscription in self.subscriptions:
                self.outgoing.say(self._lagged(subscription))
            self.ready()

    def watch(self, now: float, unsent: int) -> None:
        """Look at a socket that takes nothing more for now: its peer may have to go; see `Outgoing.watch`."""
        problem = self.outgoing.watch(now, unsent)
        if problem is not None:
            self.too_slow(problem)

    def take_output(self, now: float) -> bytes:
        """The next bytes for the socket; empty when there is nothing to send now."""
        if self.intake.receipts.decided:
            self.intake.say_receipts()
        output = self.outgoing.take()
        if output and self.heartbeat is not None:
            self.heartbeat.said_at = now
        if self._finishing:
            self._end_if_finished()
        return output

    # --- contracts ---

    def need_contracts(self) -> None:
        """Ask the client for its contracts document."""
        self.say(self.terms.need_contracts())

    def welcome(self, hello: Any, contracts: Schema | None) -> None:
        """Let the client in.

        Args:
            hello: What it said.
            contracts: What it reads and writes by; None for whatever the bridge has.
        """
        host = self._host
        self.permit()
        heartbeat_ms = clamp_interval(hello.heartbeat_ms)
        facts = {"server": host.name, "session": self.number, "max_payload": host.limits.max_payload}
        welcome = self.terms.welcome(
            hello, contracts, host.registry.schema, host.document(), heartbeat_ms=heartbeat_ms, **facts
        )
        self.heartbeat = Heartbeat(heartbeat_ms / 1000, self.now)
        self.traffic.accept(self.now - self.began)
        self.log.strangers = None
        self.say(welcome)
        host.let_in(self)
        self.log.tell(Line.CONN_OPENED, self.now, schema_version=(contracts or host.registry.schema).version)

    def schema_changed(self) -> None:
        """Tell the client that the bridge has other contracts now; one that follows gets them."""
        self._door.guard.fields = self._host.monotonic
        self.say(self.terms.changed(self._host.registry.schema, self._host.document()))

    def stand(self, standing: Standing) -> None:
        """Take types from the client that it and the bridge write differently now."""
        told = self.terms.stand(standing)
        if told is not None:
            self.say(told)

    def permit(self) -> None:
        """Take from the client what the access rules, as they and the contracts are now, do not allow it."""
        permits = self._host.admission.permits(self.identity)
        told: Any = self.terms.permit(permits, str(self.identity), live=self.heartbeat is not None)
        if told is not None:
            self.warn(Line.CONN_DENIED, ErrorCode.DENIED.reason, told.message)
            self.say(told)

    # --- the end ---

    def say_goodbye(self, reason: str) -> None:
        """Tell the client that the bridge is going; what is queued is still sent. A handshake just ends."""
        if self._parting is None:
            self._parting = reason
            self.say(self._host.core.Goodbye(reason=reason))
        if self.heartbeat is None:
            self.end(reason)

    def finish(self) -> None:
        """End as soon as everything that is queued has been given to the socket."""
        self._finishing = True
        self._end_if_finished()

    def refuse(self, code: ErrorCode, problem: str, line: Line | None = None) -> None:
        """End the session with a fatal Error, and say why in the log, if need be with another line than usual."""
        self._fail(ProtocolError(code, problem), line)

    def end(self, reason: str) -> None:
        """Forget everything; the socket is closed when the output is out."""
        if self.reason is not None:
            return
        self.reason = reason
        self._host.ended(self)
        if self.heartbeat is None:
            self.traffic.handshakes[reason] += 1
        self._connection.close()
        self.asks.end()
        self.intake.flow.end()
        self.subscriptions.clear(_DROPPED.get(reason, DropReason.DISCONNECTED), handled=reason in _ORDERLY)
        self.ready()

    # --- what subscriptions and other sessions call ---

    def lags(self) -> None:
        """Messages were dropped; the client is told before the next one, or within a second."""
        self._host.lags(self)

    def too_slow(self, problem: str) -> None:
        """The client does not keep up, and has to go."""
        self.refuse(ErrorCode.SLOW_CONSUMER, problem)

    def send_frame(self, frame: bytes) -> None:
        """Send a reply or a core message, which pass no queue and no credit."""
        if self.reason is None and not self.pass_on(frame, 0):
            waiting, most = self.outgoing.say(frame), self._host.limits.outbound_bytes
            self.ready()
            if waiting > most:
                self.outgoing.clear()
                self.too_slow(f"over {most} bytes of answers that the client does not read")

    def pause(self, *, paused: bool) -> None:
        """Ask the client to publish nothing because memory is short, or to go on."""
        if self.is_open:
            reason = "memory" if paused else "there is memory again"
            self.say(self._host.core.Flow(type_ids=[], paused=paused, reason=reason))

    def _end_if_finished(self) -> None:
        if self.reason is None and self.subscriptions.queued == 0:
            self.end(self._parting or _CLIENT)

    # --- core messages ---

    def _on_hello(self, hello: Any) -> None:
        schema = self._host.registry.schema
        self.log.client = for_people(hello.client)
        fits = self.terms.fit(hello, schema)
        if self.identity is NOBODY:  # the second Hello need not say it again
            self.identity = self._host.admission.admit(self.peer, hello.token, self.now)
            self.log.principal = self.identity.shown
        if fits:
            self.welcome(hello, None if hello.schema_digest is None else schema)
        else:
            self._host.meet(self, hello)

    def _on_subscribe(self, wish: Any) -> None:
        problem = self.subscriptions.problem_with(wish)
        if problem is not None:
            self.warn(Line.SUB_REFUSED, problem[0].reason, problem[1])
            self.answer_no(wish.request, *problem)
            return
        subscription, before = self.subscriptions.put(wish)
        self.log.say(Line.SUB_ADDED, number=subscription.number, types=sorted(subscription.type_ids) or "all")
        self.say(self._host.core.Ack(request=wish.request))
        last = subscription.outbox.remembered
        if last or before:
            self.say(self._host.core.Retained(subscription=subscription.number, messages=last))

    def _on_unsubscribe(self, wish: Any) -> None:
        self.subscriptions.drop(wish.subscription)
        self.log.say(Line.SUB_REMOVED, number=wish.subscription)
        self.say(self._host.core.Ack(request=wish.request))

    def _on_credit(self, credit: Any) -> None:
        self.subscriptions.add_credit(credit.subscription, credit.messages)

    def _on_ping(self, ping: Any) -> None:
        self.say(self._host.core.Pong(nonce=ping.nonce))

    def _on_pong(self, _: Any) -> None:
        """It was heard, which is all that it is for."""

    def _on_goodbye(self, _: Any) -> None:
        """The client has said all that it wanted to, and everything before was handed on.

        If it only answers the bridge's own Goodbye it still gets what is queued for it.
        """
        self.said_goodbye = True
        if self._parting is None:
            self.end(_CLIENT)
        else:
            self._host.parted(self)

    def _on_error(self, error: Any) -> None:
        self.warn(Line.CONN_FAILED, "error", f"code {error.code}: {for_people(error.message)}")
        if is_fatal(error):
            self.end(_CLIENT)

    def _on_query(self, query: Any) -> None:
        self._host.query(self, query)

    def answer(self, request: int, bodies: Sequence[bytes]) -> None:
        """Say what a query has found."""
        if self.is_open:
            for left, body in zip(range(len(bodies))[::-1], bodies, strict=True):
                made = self._host.core.Answer(request=request, body=body, more=True if left else None)
                self.outgoing.say(self._connection.send(made))
            self.ready()

    def _on_confirm(self, confirm: Any) -> None:
        self.intake.receipts.enabled = confirm.enabled

    _ANSWERS: ClassVar[Mapping[str, Callable[["Session", Any], None]]] = {
        "Hello": _on_hello,
        "Subscribe": _on_subscribe,
        "Unsubscribe": _on_unsubscribe,
        "Credit": _on_credit,
        "Ping": _on_ping,
        "Pong": _on_pong,
        "Goodbye": _on_goodbye,
        "Error": _on_error,
        "Confirm": _on_confirm,
        "Query": _on_query,
    }

    # --- saying ---

    def say(self, message: Any) -> None:
        """Put a core message in front of everything that is queued."""
        if not self.is_over:
            self.send_frame(self._connection.send(message))

    def _lagged(self, subscription: RemoteSubscription) -> bytes:
        """What was dropped of a subscription, as far as it was not told yet."""
        lagged = self._host.core.Lagged
        told = (
            lagged(subscription=subscription.number, type_id=type_id, dropped=count, reason=reason)
            for type_id, reason, count in subscription.outbox.losses.take_untold()
        )
        return b"".join(map(self._connection.send, told))

    def answer_no(self, request: int, code: ErrorCode, problem: str) -> None:
        """Refuse a request."""
        self.say(self._host.core.Error(code=code, message=problem, request=request, fatal=False))

    def _fail(self, error: ProtocolError, line: Line | None = None) -> None:
        if self.is_over:
            return
        usual = _FAILURES.get(error.code, Line.CONN_FAILED) if self.is_open else Line.CONN_HANDSHAKE_FAILED
        self.outgoing.say(self._connection.fail(error))
        self.warn(line or usual, error.code.reason, for_people(error.problem))
        self.end(error.code.reason)

    def _fail_inside(self, error: Exception) -> None:
        self.log.tell(Line.CONN_FAULT, self.now, caused_by=error)
        self._fail(ProtocolError(ErrorCode.INTERNAL, "a fault of the bridge's own; its log has more"))

    def warn(self, line: Line, reason: str, text: str, **values: Any) -> bool:
        """One line of log per event, reason and second, `values` as for `Log`; whether this is one."""
        return self.log.limited(line, reason, text, self.now, **values)
