"""Lines of log that peers may cause as often as they like: few are written, and none is forgotten."""

import math
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.budget import LogLimit

__all__ = ["HeldLines"]

_SECONDS: Final = 1.0


@final
class HeldLines:
    """One line per matter and second; of the others the newest is written later, and says how many they were.

    Args:
        free: Lines that are written in any second whatever they are about.
    """

    __slots__ = ("_free", "_left", "_limit", "_newest", "_until")

    def __init__(self, free: int = 0) -> None:
        self._limit = LogLimit(_SECONDS)
        self._newest: dict[str, Callable[..., object]] = {}
        """By matter the newest line that was held back."""
        self._free = self._left = free
        self._until = -math.inf
        """When as many are free again."""

    def __repr__(self) -> str:
        return f"<HeldLines of {len(self._newest)} matters>"

    def write(self, matter: str, now: float, line: Callable[..., object], count: int = 1) -> bool:
        """Write a line, or hold it back; whether it was written.

        Args:
            matter: What it is about: an event and a reason.
            now: Seconds of a monotonic clock.
            line: Writes it, given how many like it are `suppressed`.
            count: How many lines it stands for.
        """
        if now >= self._until:
            self._left, self._until = self._free, now + _SECONDS
        is_free = self._left > 0
        held = self._limit.admit(matter, now, count, free=is_free)
        if held is None:
            self._newest[matter] = line
            return False
        self._left -= is_free
        self._newest.pop(matter, None)
        line(suppressed=held + count - 1)
        return True

    def is_quiet(self, now: float) -> bool:
        """Whether nothing is held back, and nothing was written for a second: another one would do as well."""
        return not self._newest and now >= self._until

    def settle(self, now: float = math.inf) -> None:
        """Write of each matter that has been quiet for a second, by default of all, what was held back."""
        for matter, held in self._limit.overdue(now):
            self._newest.pop(matter)(suppressed=held - 1)
