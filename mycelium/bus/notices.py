"""What is told of one subscription: its gaps, its times of slowness, and an end that nobody has asked for."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, final

from mycelium.bus.errors import Refused
from mycelium.bus.heldlines import HeldLines
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.localqueue import LocalQueue
from mycelium.bus.worker import guarded
from mycelium.events import Event, Gap, Recovered, SlowConsumer, SubscriptionRefused
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Notices", "Tell"]

_log = Log("mycelium.bus")
_QUIET_SECONDS: Final = 2.0
"""A bridge tells within a second of what it drops; when it has told of nothing for so long the subscriber keeps up."""
_FREE_LINES: Final = 5
"""Times of slowness of a subscription that are logged in any second; beyond, one is, with how many more there were."""
_POLICIES: Final[Mapping[DropReason, Lag]] = {
    DropReason.DROPPED_OLDEST: Lag.DROP_OLDEST,
    DropReason.DROPPED_NEWEST: Lag.DROP_NEWEST,
    DropReason.REJECTED: Lag.REJECT,
    DropReason.BLOCK_TIMEOUT: Lag.BLOCK,
}
"""What a bridge does to a subscriber that is too slow, by what it says of it."""
Tell: TypeAlias = Callable[[Event], None]


@final
class Notices:
    """Of one subscription.

    Args:
        subscriber: Its name, for people.
        types: Gives the names of what it is subscribed to now.
        tell: Where events go.
        name_of: The name of a type id.
        on_gap: What the subscriber has given for gaps.
    """

    def __init__(
        self,
        subscriber: str,
        types: Callable[[], tuple[str, ...]],
        *,
        tell: Tell,
        name_of: Callable[[int], str],
        on_gap: Callable[[Gap], object] | None,
    ) -> None:
        self._subscriber = subscriber
        self._types = types
        self._tell = tell
        self._name_of = name_of
        self._on_gap = on_gap
        self._lost = 0
        self._last = 0.0
        self._watching: asyncio.TimerHandle | None = None
        self._lines = HeldLines(_FREE_LINES)
        self._is_told = False
        """Whether the log says that it is slow: then it says when it is not any more."""

    def __repr__(self) -> str:
        return f"<Notices of {self._subscriber}>"

    def losses(self, lost: Iterable[tuple[int, DropReason, int]]) -> list[Gap]:
        """A Gap for each type and reason."""
        return [
            Gap((self._name_of(type_id),), count, reason.reason, self._subscriber) for type_id, reason, count in lost
        ]

    def interruption(self, reason: str) -> Gap:
        """A Gap of which nobody knows how large it is."""
        return Gap(self._types(), None, reason, self._subscriber)

    def gap(self, gap: Gap) -> None:
        """Tell a Gap."""
        if self._on_gap is not None:
            guarded(f"on_gap of {self._subscriber}", self._on_gap, gap)
        self._tell(gap)

    def refused(self, error: Refused) -> None:
        """It has ended, and nobody here has asked for that."""
        _log(Line.SUB_ENDED, subscriber=self._subscriber, reason=error.name, error=str(error))
        self._tell(SubscriptionRefused(self._subscriber, self._types(), error.code, error.text))

    def missed(self, reason: DropReason, count: int) -> None:
        """A bridge has dropped messages: the subscriber is slow until it has dropped none for a while."""
        lag = _POLICIES.get(reason)
        if lag is None:
            return
        loop = asyncio.get_running_loop()
        self._last, self._lost = loop.time(), self._lost + count
        if self._watching is None:
            self._tell(SlowConsumer(self._subscriber, self._types(), lag.word, None))
            self._watching = loop.call_later(_QUIET_SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + _QUIET_SECONDS - loop.time()
        if left > 0:
            self._watching = loop.call_later(left, self._look)
            return
        self._watching = None
        lost, self._lost = self._lost, 0
        self._recovered(lost, told=True)

    def _recovered(self, lost: int, *, told: bool) -> None:
        if told:
            _log(Line.CONSUMER_RECOVERED, subscriber=self._subscriber, dropped=lost)
        self._tell(Recovered(self._subscriber, self._types(), lost))

    def close(self) -> None:
        """Tell nothing later."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._lines.settle()

    def slow(self, queue: LocalQueue) -> None:
        """The queue is full for the first time, or has been empty again."""
        if queue.is_slow:
            lag = queue.acting.word
            facts: dict[str, Any] = {"queue_messages": len(queue), "queue_capacity": queue.limit, "reason": lag}
            line = partial(_log, Line.CONSUMER_SLOW_HERE, subscriber=self._subscriber, **facts)
            self._is_told = self._lines.write(lag, time.monotonic(), line)
            self._tell(SlowConsumer(self._subscriber, self._types(), lag, len(queue)))
        else:
            self._recovered(queue.losses.episode, told=self._is_told)
