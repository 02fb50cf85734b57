"""What waits at the bridge for a socket subscriber: a queue of batches with bounds, credit and a lag policy.

Pure bookkeeping, without I/O and without a clock.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final, final

from mycelium.bus.lag import DropReason
from mycelium.bus.options import DEFAULT_QUEUE
from mycelium.bus.stats import SubscriptionStats
from mycelium.wire.buffer import Batch

__all__ = ["DEFAULT_QUEUE_BYTES", "Outbox"]

DEFAULT_QUEUE_BYTES: Final = 8 * 1024 * 1024


@final
class Outbox:
    """The queue of one subscription of one connection.

    Args:
        limit: Messages that may wait.
        window: Messages that the client takes ahead of its handlers; None: whatever the socket takes.
        limit_bytes: Bytes of frames that may wait; a single message may be larger.

    Attributes:
        queued: Messages that wait.
        queued_bytes: Bytes of their frames.
    """

    def __init__(
        self, limit: int = DEFAULT_QUEUE, window: int | None = None, limit_bytes: int = DEFAULT_QUEUE_BYTES
    ) -> None:
        self.limit = limit
        self.window = window
        self.limit_bytes = limit_bytes
        self.queued = self.queued_bytes = 0
        self._batches: deque[Batch] = deque()
        self._credit = window
        self._matched = self._taken = self._returned = 0
        self._dropped: Counter[str] = Counter()
        self._lagged: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"<Outbox of {self.queued} messages, {self.queued_bytes} bytes, credit {self._credit}>"

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._batches) and self._credit != 0

    @property
    def lagging(self) -> bool:
        """Whether messages were dropped that `take_lagged` has not told of."""
        return bool(self._lagged)

    def put(self, batch: Batch) -> None:
        """Queue a batch; where that is over a bound the oldest messages are dropped."""
        count = len(batch)
        self._matched += count
        self._batches.append(batch)
        self.queued += count
        self.queued_bytes += batch.size
        while (excess := self._excess()) > 0:
            self._drop_oldest(excess)

    def put_fitting(self, batch: Batch, blocked: frozenset[int]) -> None:
        """Queue a batch but for the messages of some types, which are dropped for the reason `schema`."""
        dropped = sum(type_id in blocked for type_id in batch.type_ids)
        self._matched += dropped
        if dropped:
            self._dropped[DropReason.SCHEMA.reason] += dropped
        for part in _fitting(batch, lambda type_id: type_id not in blocked):
            self.put(part)

    def take(self, most_bytes: int) -> Batch | None:
        """The next messages that may be sent now, from one batch.

        They are within credit, and at most `most_bytes`, but for a single message that is larger.
        """
        if not self._batches or self._credit == 0:
            return None
        batch = self._batches[0]
        count = len(batch)
        if self._credit is not None:
            count = min(count, self._credit)
        if batch.size > most_bytes:
            count = min(count, max(1, bisect_right(batch.bounds, batch.bounds[0] + most_bytes) - 1))
        if count == len(batch):
            self._batches.popleft()
        else:
            self._batches[0] = batch.part(count, len(batch))
            batch = batch.part(0, count)
        self._leave(batch)
        return batch

    def add_credit(self, messages: int) -> None:
        """The client's handlers are done with so many messages; it cannot give back more than it was sent."""
        if self._credit is not None:
            given = min(messages, self._taken - self._returned)
            self._credit += given
            self._returned += given

    def replace(self, limit: int, window: int | None, fits: Callable[[int], bool]) -> None:
        """Go on with other options: what is queued and still fits stays, credit is the new window less what is out."""
        out = self._taken - self._returned
        self.limit, self.window = limit, window
        self._credit = None if window is None else max(0, window - out)
        if window is None:
            self._returned = self._taken
        kept = deque(part.compact() for batch in self._batches for part in _fitting(batch, fits))
        left = sum(map(len, kept))
        if left < self.queued:
            self._dropped["disconnected"] += self.queued - left
        self._batches, self.queued, self.queued_bytes = kept, left, sum(part.size for part in kept)
        while self.queued and (excess := self._excess()) > 0:
            self._drop_oldest(excess)

    def take_lagged(self) -> list[tuple[int, int]]:
        """Type ids and how many of each were dropped since the last call."""
        if not self._lagged:
            return []
        lagged = sorted(self._lagged.items())
        self._lagged.clear()
        return lagged

    def stats(self) -> SubscriptionStats:
        """The counters; without a window a message is delivered when it is given to the socket."""
        out = self._taken - self._returned
        return SubscriptionStats(self._matched, self._returned, dict(self._dropped), self.queued, out)

    def _leave(self, batch: Batch) -> None:
        """Count a batch as sent."""
        count = len(batch)
        self.queued -= count
        self.queued_bytes -= batch.size
        self._taken += count
        if self._credit is None:
            self._returned += count
        else:
            self._credit -= count

    def _excess(self) -> int:
        """How many messages of the oldest batch are too many; one message is never too many, however large."""
        oldest = self._batches[0]
        over = self.queued - self.limit
        over_bytes = self.queued_bytes - self.limit_bytes
        if over_bytes > 0:
            over = max(over, bisect_left(oldest.bounds, oldest.bounds[0] + over_bytes))
        return min(over, len(oldest), self.queued - 1)

    def _drop_oldest(self, count: int) -> None:
        oldest = self._batches[0]
        self.queued -= count
        self.queued_bytes -= oldest.bounds[count] - oldest.bounds[0]
        self._dropped["dropped_oldest"] += count
        self._lagged.update(oldest.type_ids[:count])
        if count == len(oldest):
            self._batches.popleft()
        else:
            self._batches[0] = oldest.part(count, len(oldest))


def _fitting(batch: Batch, fits: Callable[[int], bool]) -> Iterator[Batch]:
    """Runs of the messages whose type still fits."""
    start = 0
    for index, type_id in enumerate(batch.type_ids):
        if not fits(type_id):
            if start < index:
                yield batch.part(start, index)
            start = index + 1
    if start < len(batch):
        yield batch.part(start, len(batch))
