"""What becomes of a client's messages: checked at the door, routed, answered with receipts and errors."""

from functools import partial
from logging import DEBUG
from typing import Any, Final, Protocol, final

from mycelium.bus.asks import Asked, Asks
from mycelium.bus.budget import ErrorBudget, LogLimit
from mycelium.bus.door import Door, Objection
from mycelium.bus.fate import Fate
from mycelium.bus.flow import HELD_BYTES, FlowControl
from mycelium.bus.holds import Hold
from mycelium.bus.host import Host
from mycelium.bus.meter import Tally
from mycelium.bus.receipts import Decision, Receipts, decision_of
from mycelium.bus.remote import RemoteSubscriptions
from mycelium.bus.sessionlog import SessionLog
from mycelium.bus.terms import Terms
from mycelium.bus.traffic import Traffic
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode
from mycelium.wire.tracecontext import trace_in

__all__ = ["Intake", "Publishing"]

_NEVER, _ANSWERED = Asked.NEVER, Asked.ANSWERED
_log = Log("mycelium.bridge")
_LINES: Final = {ErrorCode.UNKNOWN_TYPE: Line.MESSAGE_UNKNOWN, ErrorCode.INVALID_PAYLOAD: Line.FRAME_INVALID}
"""What is logged of a frame that is not let in."""
_FULL: Final = {
    ErrorCode.QUEUE_FULL: "a subscriber's queue is full, and its lag policy refuses more",
    ErrorCode.BACKPRESSURE_TIMEOUT: "a subscriber had no room in time",
}


class Publishing(Protocol):
    """The session whose messages these are."""

    number: int
    log: SessionLog
    asks: Asks
    subscriptions: RemoteSubscriptions
    traffic: Traffic
    tally: Tally | None

    @property
    def reason(self) -> str | None:
        """Why nothing more is taken; None while something is."""

    @property
    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def say(self, message: Any) -> None:
        """Send a core message."""

    def ready(self) -> None:
        """Something can be sent."""

    def refuse(self, code: ErrorCode, problem: str) -> None:
        """End the session."""

    def warn(self, line: Line, reason: str, text: str, **values: Any) -> object:
        """Log, within limits."""


@final
class Intake:
    """Of one session.

    Args:
        session: See above.
        host: The bridge.
        door: What each message has to pass.
        terms: The contracts that the session goes by.

    Attributes:
        received: Messages that were let in.
        refused: Those that were not.
        receipts: Answers to confirmed messages.
        flow: What the client is asked not to publish.
    """

    def __init__(self, session: Publishing, host: Host, door: Door, terms: Terms) -> None:
        self.received = self.refused = 0
        self.receipts = Receipts()
        self.flow = FlowControl(self._say_flow, session.traffic)
        self._exchange = host.exchange
        self._block_seconds = host.limits.block_seconds
        self._session = session
        self._host = host
        self._door = door
        self._terms = terms
        self._budget: ErrorBudget | None = None
        self._told: LogLimit | None = None

    def __repr__(self) -> str:
        return f"<Intake, {self.received} received, {self.refused} refused>"

    def receive(self, batch: Batch) -> None:
        """Check each frame; hand on the good ones, in runs as long as they come."""
        start, end = 0, len(batch.type_ids)
        look, exchange, session = self._door.look, self._exchange, self._session
        while start < end and (note := look(batch, exchange.catalog.registry.by_id, start)) is not None:
            if start < note.index:
                self._route(batch.part(start, note.index))
                if session.reason is not None:
                    return
            start = note.index + 1
            if isinstance(note, Objection):
                self._refuse(note, self.receipts.number(1), batch.payload(note.index))
            else:
                frame = batch if end == 1 else batch.part(note.index, start)
                if note.deliver_to is None:
                    self._ask(frame, note.correlation)
                else:
                    self._reply(frame, note.correlation, note.deliver_to)
            if session.reason is not None:
                return
        if start < end:
            self._route(batch if start == 0 else batch.part(start, end))
        if self.receipts.decided:
            self.say_receipts()

    def object(self, objection: Objection) -> None:
        """A frame is left out before it could be one of this session's."""
        self._refuse(objection, self.receipts.number(1), b"")

    def expire(self, now: float) -> bool:
        """Give up what has waited for room for too long; whether more waits."""
        self.flow.expire(now)
        self.say_receipts()
        return self.flow.holding

    def say_receipts(self) -> None:
        """Tell the client what has been decided."""
        for one in self.receipts.take():
            receipt = self._host.core.Receipt(
                first=one.first,
                last=one.last,
                matched=one.matched,
                enqueued=one.enqueued,
                dropped=one.dropped,
                code=one.code,
            )
            self._session.say(receipt)

    # --- good frames ---

    def _route(self, batch: Batch) -> list[Fate]:
        count = len(batch.type_ids)
        self.received += count
        patient = self.flow.held_bytes < HELD_BYTES
        deadline = self._session.now + self._block_seconds if patient else None
        receipts, tally = self.receipts, self._session.tally
        first = receipts.number(count) if receipts.enabled else 0
        if tally is not None:
            tally.came(batch, self._door.stamp, self._door.trace)
            if tally.meter.tap is not None:
                tally.meter.tap.take_batch(batch, self._session.log.client)
        fates = self._exchange.publish_batch(batch, self._session, deadline, exactly=first > 0)
        if tally is not None:
            tally.routed(count)
        for fate in fates:
            if fate.troubles:
                self._settle(batch, fate, first)
            elif first:
                receipts.decide(Decision(first + fate.start, first + fate.stop - 1, fate.matched))
        return fates

    def _settle(self, batch: Batch, fate: Fate, first: int) -> None:
        """Messages were not taken by everybody: wait for those that have to decide, and tell the publisher."""
        holds = [one for one in fate.troubles if isinstance(one, Hold)]
        settled = partial(self._settled, frozenset(batch.type_ids[fate.start : fate.stop]), fate, first)
        if not holds:
            settled()
            return
        size = batch.bounds[fate.stop] - batch.bounds[fate.start]
        self.flow.wait(holds, size, settled)
        self._host.holds(self)

    def _settled(self, type_ids: frozenset[int], fate: Fate, first: int) -> None:
        number = first + fate.start if first else 0
        decision = decision_of(number, number + fate.stop - fate.start - 1, fate.matched, fate.troubles)
        if decision.code is not None:
            for type_id in sorted(type_ids):
                self._say_error(decision.code, _FULL[decision.code], type_id, number)
        if first:
            self.receipts.decide(decision)
            self._session.ready()

    # --- letters ---

    def _reply(self, frame: Batch, correlation: bytes, asker: int) -> None:
        number, type_id = self.receipts.number(1), frame.type_ids[0]
        asked = self._exchange.answers.take(frame, correlation, asker)
        if asked is _NEVER:
            objection = Objection(0, type_id, ErrorCode.DENIED, "nobody has asked for this reply")
            self._refuse(objection, number, frame.payload(0))
            return
        if asked is _ANSWERED:
            self._say_error(ErrorCode.DENIED, "somebody has replied to this already", type_id, number)
        self.received += 1
        if number:
            code = ErrorCode.DENIED if asked is _ANSWERED else None
            self.receipts.decide(Decision(number, number, 1 if code is None else 0, code=code))

    def _ask(self, frame: Batch, correlation: bytes) -> None:
        asks = self._session.asks
        asks.open(correlation, frame.type_ids[0])
        for fate in self._route(frame):
            if fate.matched:
                return
        asks.close(correlation, "no_responders")
        _log(
            Line.PUBLISH_NO_SUBSCRIBERS,
            conn_id=self._session.number,
            message_type=self._exchange.name_of(frame.type_ids[0]),
        )
        self._session.say(self._host.core.NoResponders(correlation=correlation))

    def deny_reply(self, correlation: bytes, type_id: int) -> None:
        """The reply to a request of this client is of a type that it may not have."""
        text = f"the reply is a {self._exchange.name_of(type_id)}, which this client may not receive"
        self._session.warn(Line.CONN_DENIED, ErrorCode.DENIED.reason, text)
        self._say_objection(Objection(0, type_id, ErrorCode.DENIED, text, asks=correlation), 0)

    # --- bad frames ---

    def _refuse(self, objection: Objection, number: int, payload: bytes) -> None:
        """A frame is not let in: the client is told, and sent away if it goes on so."""
        self.refused += 1
        self._session.traffic.refuse(objection.code, objection.type_id, objection.rule, excused=objection.excused)
        if objection.note or not objection.excused:
            self._warn(objection, payload)
        if objection.excused and objection.asks is None:
            told = self._terms.excuse(objection, self._session.now, number or None)
            if told is not None:
                self._session.say(told)
        elif objection.excused or self._spend():
            self._say_objection(objection, number)
        else:
            return
        if number:
            self.receipts.decide(Decision(number, number, code=objection.code))

    def _spend(self) -> bool:
        """Count a mistake; false where that is one too many, and the client is sent away."""
        if self._budget is None:
            self._budget = ErrorBudget(self._host.limits.errors)
        if self._budget.spend(self._session.now):
            return True
        self._session.refuse(ErrorCode.LIMIT, f"over {self._budget.most} errors in {self._budget.seconds:g} s")
        return False

    def _say_objection(self, objection: Objection, number: int) -> None:
        error, code, text = self._host.core.Error, objection.code, objection.problem
        told = error(code=code, message=text, type_id=objection.type_id, fatal=False, sequence=number or None)
        self._session.say(told)
        if objection.asks is not None:  # who asks is told at once, and right behind the reason
            self._session.say(self._host.core.NoResponders(correlation=objection.asks))

    def _warn(self, objection: Objection, payload: bytes) -> None:
        """Log a frame that is not let in, without its values unless its contract says that they may be logged."""
        line = Line.MESSAGE_INVALID if objection.rule else _LINES.get(objection.code, Line.PUBLISH_REJECTED)
        entry = self._exchange.registry.by_id.get(objection.type_id)
        shows = entry is not None and entry.message.log_payload and not entry.message.redacted and _log.hears(DEBUG)
        self._session.warn(
            line,
            objection.code.reason,
            objection.note or f"type id {objection.type_id}",
            message_type=None if entry is None else entry.message.name,
            type_id=objection.type_id,
            size_bytes=len(payload) or None,
            error=objection.problem if shows else None,
            trace=trace_in(payload),
        )

    def _say_error(self, code: ErrorCode, problem: str, type_id: int, number: int) -> None:
        """What is nobody's fault: one Error per type and second, the rest is counted."""
        if self._told is None:
            self._told = LogLimit()
        if self._told.admit(f"{code} {type_id}", self._session.now) is not None:
            error = self._host.core.Error
            self._session.say(error(code=code, message=problem, type_id=type_id, fatal=False, sequence=number or None))

    def _say_flow(self, type_id: int, *, paused: bool) -> None:
        reason = "a subscriber's queue is full" if paused else "there is room again"
        self._session.say(self._host.core.Flow(type_ids=[type_id], paused=paused, reason=reason))
