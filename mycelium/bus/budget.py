"""How many mistakes a peer may make before it is shown the door, and how many lines of log it may cause."""

from collections import Counter, deque
from typing import Final, final

__all__ = ["ErrorBudget", "LogLimit"]

_MOST: Final = 100
_SECONDS: Final = 10.0


@final
class ErrorBudget:
    """At most 100 errors in any 10 seconds."""

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        self.most = most
        self.seconds = seconds
        self._times: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<ErrorBudget, {len(self._times)} of {self.most} in {self.seconds:g} s spent>"

    def spend(self, now: float) -> bool:
        """Count one error; False where that is one too many."""
        self._forget(now)
        if len(self._times) > self.most:
            self._times.popleft()  # one too many is enough to know
        self._times.append(now)
        return len(self._times) <= self.most

    def is_spent(self, now: float) -> bool:
        """Whether one more would be too many."""
        self._forget(now)
        return len(self._times) >= self.most

    def _forget(self, now: float) -> None:
        times = self._times
        while times and now - times[0] >= self.seconds:
            times.popleft()


@final
class LogLimit:
    """One line per reason and second; the others are counted."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<LogLimit, {self._held.total()} lines held back>"

    def admit(self, reason: str, now: float, count: int = 1, *, free: bool = False) -> int | None:
        """How many lines were held back before this one; None where this one is held back as well.

        Args:
            reason: What it is about.
            now: Seconds of a monotonic clock.
            count: How many lines it stands for.
            free: Whether it passes in any case.
        """
        if not free and now < self._next.get(reason, now):
            self._held[reason] += count
            return None
        self._next[reason] = now + self._seconds
        return self._held.pop(reason, 0)

    def overdue(self, now: float) -> list[tuple[str, int]]:
        """Reasons of which lines were held back, and how many, where no other line has come since to say so."""
        due = [reason for reason in self._held if now >= self._next[reason]]
        return [(reason, self._held.pop(reason)) for reason in due]
