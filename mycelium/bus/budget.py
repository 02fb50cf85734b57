"""How many mistakes a peer may make before it is shown the door."""

from collections import deque
from typing import Final, final

__all__ = ["ErrorBudget"]

_MOST: Final = 100
_SECONDS: Final = 10.0


@final
class ErrorBudget:
    """At most 100 errors in any 10 seconds."""

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        self.most = most
        self.seconds = seconds
        self._times: deque[float] = deque()

    def spend(self, now: float) -> bool:
        """Count one error; False where that is one too many."""
        times = self._times
        while times and now - times[0] >= self.seconds:
            times.popleft()
        times.append(now)
        return len(times) <= self.most
