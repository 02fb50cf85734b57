"""Replies on their way: each to the one session that has asked, which may be the bridge's own process."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from mycelium.bus.asks import Asked, Asks
from mycelium.bus.lag import DropReason
from mycelium.bus.publisher import Publisher
from mycelium.bus.replies import Awaited
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch
from mycelium.wire.metadata import Metadata

if TYPE_CHECKING:
    from mycelium.bus.session import Session

__all__ = ["BRIDGE", "Answers"]

BRIDGE: Final = 0
"""The session number of the bridge's own process."""
_OPEN, _ANSWERED = Asked.OPEN, Asked.ANSWERED


@final
class Answers:
    """Of one bus.

    Args:
        publisher: What is checked of replies that are given in this process.
        sessions: Socket clients by number.

    Attributes:
        awaited: Requests of this process.
        taken: Replies that were handed on.
        dropped: Those that were not, by reason: `late`, `denied` where the requester may not have them, or
            `disconnected` where it is gone.
        current_trace: Gives the trace context of what is going on here; None where nobody traces.
        outcomes: What became of requests, by the type of the request and what `Asks` calls it.
    """

    def __init__(self, publisher: Publisher, sessions: "dict[int, Session]") -> None:
        self.awaited = Awaited()
        self.current_trace: Callable[[], bytes | None] | None = None
        self.taken = 0
        self.dropped: Counter[str] = Counter()
        self.outcomes: Counter[tuple[int, str]] = Counter()
        self._publisher = publisher
        self._sessions = sessions
        self._asks = Asks(outcomes=self.outcomes)

    def __repr__(self) -> str:
        return f"<Answers, {self.taken} handed on>"

    # --- replies of this process ---

    def to_own(self, correlation: bytes, type_id: int) -> Callable[[Message], object]:
        """What sends a reply to a request of this process, which is open from now on."""
        self._asks.open(correlation, type_id)
        return partial(self._take_own, correlation)

    def give_up(self, correlation: bytes) -> None:
        """Nobody waits for the reply to a request of this process any more."""
        self._asks.give_up(correlation)

    def to_client(self, metadata: Metadata) -> Callable[[Message], object] | None:
        """What sends a reply to a message of a client; None for one that is no request."""
        if metadata.reply_to is None or metadata.correlation is None:
            return None
        return partial(self._answer_client, metadata.reply_to, metadata.correlation)

    def _answer_client(self, number: int, correlation: bytes, message: Message) -> None:
        entry = self._publisher.entry(message)
        trace = None if self.current_trace is None else self.current_trace()
        extra = Metadata(trace=trace, correlation=correlation, deliver_to=number)
        frame = self._publisher.encode(message, entry, extra)
        self._hand_over(number, correlation, entry.message.type_id, frame)

    # --- replies of clients ---

    def take(self, frame: Batch, correlation: bytes, asker: int) -> Asked:
        """Hand a client's reply to the only one who waits for it; what is known of the request.

        Args:
            frame: A batch of one.
            correlation: The id of the request.
            asker: The session that has asked.
        """
        if asker != BRIDGE:
            return self._hand_over(asker, correlation, frame.type_ids[0], frame.to_bytes())
        entry = self._publisher.contracts.registry.by_id[frame.type_ids[0]]
        return self._take_own(correlation, entry.codec.decode(frame.payload(0)))

    # --- inside ---

    def _take_own(self, correlation: bytes, message: Message) -> Asked:
        asked = self._asks.close(correlation)
        if asked is Asked.OPEN and self.awaited.answer(correlation, message):
            self.taken += 1
        elif asked is not Asked.NEVER:
            self.dropped["late"] += 1
        return asked

    def _hand_over(self, number: int, correlation: bytes, type_id: int, frame: bytes) -> Asked:
        session = self._sessions.get(number)
        if session is None or not session.is_open:
            self.dropped[DropReason.DISCONNECTED.reason] += 1
            return Asked.OPEN
        asked = session.asks.close(correlation)
        if asked is _OPEN and not session.subscriptions.may_have(type_id):
            self.dropped[DropReason.DENIED.reason] += 1
            session.intake.deny_reply(correlation, type_id)
        elif asked is _OPEN:
            self.taken += 1
            session.send_frame(frame)
        elif asked is _ANSWERED:
            self.dropped["late"] += 1
        return asked
