"""Counts what arrives at a subscriber, and knows when it was all."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, final

from mycelium.bench.stage import report
from mycelium.bench.workload import readers

__all__ = ["PATIENCE_SECONDS", "Tally", "percentiles"]

PATIENCE_SECONDS: Final = 2.0
"""Without any delivery, after which what is missing counts as lost."""
_LOOK_SECONDS: Final = 0.1
_SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}


def percentiles(nanoseconds: list[int]) -> dict[str, float]:
    """Percentiles in microseconds."""
    ordered = sorted(nanoseconds)
    return {name: ordered[int(len(ordered) * share)] / 1000 for name, share in _SHARES.items()}


_WARM_UP: Final = 2000
"""Messages whose latency does not count, or a tenth of all where these are few."""


@final
class Tally:
    """Deliveries of one process, over all its subscriptions.

    Attributes:
        expected: How many there will be if none is lost.
        seen: Asks how many there were.
        take: Takes a message of one type.
        latencies: Of stamped messages, in nanoseconds.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.latencies: list[int] = []
        self._last = 0.0
        self._all = asyncio.Event()
        self.seen, self._count, take_counter = self._closures()
        self._takers = {"CounterUpdate": take_counter, "Stamped": self._stamped()}

    def take(self, name: str) -> Callable[[Any], None]:
        """A handler for messages of one name: reads all fields, and counts."""
        if name in self._takers:
            return self._takers[name]
        read, count = readers()[name], self._count

        def handle(message: Any) -> None:
            read(message)
            count()

        return handle

    def _stamped(self) -> Callable[[Any], None]:
        append, clock, count = self.latencies.append, time.monotonic_ns, self._count
        warm_up = min(_WARM_UP, self.expected // 10)

        def handle(message: Any) -> None:
            late = clock() - message.due
            if message.number >= warm_up:
                append(late)
            count()

        return handle

    def _closures(self) -> tuple[Callable[[], int], Callable[[], None], Callable[[Any], None]]:
        """Ask and advance one number, and do so as a user's handler would: each message pays for what is around it."""
        seen, expected = 0, self.expected

        def finish() -> None:
            self._last = time.monotonic()
            self._all.set()

        def count() -> None:
            nonlocal seen
            seen += 1
            if seen == expected:
                finish()

        def take_counter(message: Any) -> None:
            nonlocal seen
            _id, _value, _delta = message.counter_id, message.value, message.delta
            seen += 1
            if seen == expected:
                finish()

        return lambda: seen, count, take_counter

    async def until_all(self, **facts: float) -> None:
        """Wait for the last message, or until none came for a while, and report; what is given is passed on."""
        before, quiet = -1, 0.0
        while self.seen() < self.expected and (not before > 0 or quiet < PATIENCE_SECONDS):
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._all.wait()
            except TimeoutError:
                seen = self.seen()
                quiet = quiet + _LOOK_SECONDS if seen == before else 0.0
                if not quiet:
                    self._last = time.monotonic()
                before = seen
        self._report(**facts)

    def _report(self, **facts: float) -> None:
        """Say what has come."""
        latency = percentiles(self.latencies) if self.latencies else {}
        report(delivered=self.seen(), last=self._last, **latency, **facts)
