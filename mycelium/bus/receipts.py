"""Receipts of one connection: its frames are numbered from the first Confirm on, and each gets one answer."""

from typing import final

from attrs import evolve, frozen

from mycelium.bus.holds import Hold
from mycelium.bus.lag import REASON_CODES, DropReason
from mycelium.wire.errors import ErrorCode

__all__ = ["Decision", "Receipts", "decision_of"]


@frozen
class Decision:
    """What became of consecutive frames, all alike.

    Attributes:
        first: Number of the first frame.
        last: Number of the last one.
        matched: Subscriptions that each of them fitted.
        dropped: Those that have not taken it.
        code: Why the bridge or a policy refused it; None where nobody did.
    """

    first: int
    last: int
    matched: int = 0
    dropped: int = 0
    code: ErrorCode | None = None

    @property
    def enqueued(self) -> int:
        """Subscriptions that have taken it."""
        return self.matched - self.dropped

    def follows(self, other: "Decision") -> bool:
        """Whether this is of the frames right behind those, and says the same."""
        return self == evolve(other, first=other.last + 1, last=self.last)


def decision_of(first: int, last: int, matched: int, troubles: "tuple[DropReason | Hold, ...]") -> Decision:
    """The decision about frames whose troubles are all settled."""
    reasons = [one.outcome if isinstance(one, Hold) else one for one in troubles]
    dropped = [reason for reason in reasons if reason is not None]
    code = next((REASON_CODES[reason] for reason in dropped if reason in REASON_CODES), None)
    return Decision(first, last, matched, len(dropped), code)


@final
class Receipts:
    """Numbers frames, and gathers what became of them until it is said.

    Attributes:
        enabled: Whether the client wants receipts. Frames that come while it does not are not counted.
        decided: What has not been said yet.
    """

    def __init__(self) -> None:
        self.enabled = False
        self._count = 0
        self.decided: list[Decision] = []

    def __repr__(self) -> str:
        return f"<Receipts {'on' if self.enabled else 'off'}, {self._count} frames>"

    def number(self, frames: int) -> int:
        """Count frames; the number of the first one, 0 where nobody wants to know."""
        if not self.enabled:
            return 0
        first = self._count + 1
        self._count += frames
        return first

    def decide(self, decision: Decision) -> None:
        """These frames are decided; neighbours with the same outcome share one receipt."""
        if self.decided and decision.follows(self.decided[-1]):
            self.decided[-1] = evolve(self.decided[-1], last=decision.last)
        else:
            self.decided.append(decision)

    def take(self) -> list[Decision]:
        """What has not been said yet."""
        decided, self.decided = self.decided, []
        return decided
