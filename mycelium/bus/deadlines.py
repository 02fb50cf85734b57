"""When what is waited for is given up: one timer of the loop for all, since one for each would be felt."""

import asyncio
import math
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar, final

__all__ = ["Deadlines"]

W = TypeVar("W")
_SLACK: Final = 64
"""Entries of what nobody waits for any more that are kept until their time comes, beside twice what is waited for."""
_LOOK_SECONDS: Final = 5.0
"""How long a timer may be for nothing, when all that it was for has come."""
_GRAIN: Final = 0.0005
"""Seconds that the timer is late by, for uvloop: it rounds to milliseconds, and would be early."""


@final
class Deadlines(Generic[W]):
    """Calls a function for what is still waited for when its time is over.

    Args:
        loop: Whose timer and clock.
        waiting: What is waited for, by key.
        expire: Called with a key, and with what was given to `add`; it must not raise.

    Attributes:
        loop: See above.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, waiting: Collection[bytes], expire: Callable[[bytes, W], None]
    ) -> None:
        self.loop = loop
        self._waiting = waiting
        self._expire = expire
        self._ends: list[tuple[float, bytes, W]] = []
        """A heap, the next one first."""
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf

    def __repr__(self) -> str:
        return f"<Deadlines, {len(self._ends)} to come>"

    def add(self, key: bytes, end: float, what: W) -> None:
        """Something new is waited for until a time of the loop's clock."""
        if len(self._ends) > 2 * len(self._waiting) + _SLACK:
            self._ends = [one for one in self._ends if one[1] in self._waiting]
            heapify(self._ends)
        heappush(self._ends, (end, key, what))
        if end < self._wakes_at:
            self._arm()

    def clear(self) -> None:
        """Nothing is waited for any more."""
        self._ends.clear()
        self._disarm()

    def _arm(self) -> None:
        self._disarm()
        self._wakes_at = min(self._ends[0][0], self.loop.time() + _LOOK_SECONDS)
        self._timer = self.loop.call_at(self._wakes_at + _GRAIN, self._look)

    def _disarm(self) -> None:
        self._wakes_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Some time is over, or nobody waits for anything any more."""
        self._disarm()
        now = self.loop.time()
        while self._ends and (self._ends[0][0] <= now or self._ends[0][1] not in self._waiting):
            _, key, what = heappop(self._ends)
            if key in self._waiting:
                self._expire(key, what)
        if self._ends:
            self._arm()
