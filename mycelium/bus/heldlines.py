"""Lines of log that peers may cause as often as they like: few are written, and none is forgotten."""

import math
from collections.abc import Callable
from typing import final

from mycelium.bus.budget import LogLimit

__all__ = ["HeldLines"]


@final
class HeldLines:
    """One line per matter and second; of the others the newest is written later, and says how many they were."""

    __slots__ = ("_limit", "_newest")

    def __init__(self) -> None:
        self._limit = LogLimit()
        self._newest: dict[str, Callable[..., object]] = {}
        """By matter the newest line that was held back."""

    def __repr__(self) -> str:
        return f"<HeldLines of {len(self._newest)} matters>"

    def write(self, matter: str, now: float, line: Callable[..., object]) -> None:
        """Write a line, or hold it back.

        Args:
            matter: What it is about: an event and a reason.
            now: Seconds of a monotonic clock.
            line: Writes it, given how many like it are `suppressed`.
        """
        held = self._limit.admit(matter, now)
        if held is None:
            self._newest[matter] = line
        else:
            self._newest.pop(matter, None)
            line(suppressed=held)

    def settle(self, now: float = math.inf) -> None:
        """Write of each matter that has been quiet for a second, by default of all, what was held back."""
        for matter, held in self._limit.overdue(now):
            self._newest.pop(matter)(suppressed=held - 1)
