"""What waits at the bridge for a socket subscriber: a queue of frames with bounds, credit and lag policies.

Pure bookkeeping, without I/O and without a clock. The policies act here and nowhere else; their twin for the objects of
a process is `localqueue`.
"""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, final

from mycelium.bus.holds import Hold, Holds
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.ledger import Ledger
from mycelium.bus.localqueue import Outcome
from mycelium.bus.losses import Losses
from mycelium.bus.options import DEFAULT_QUEUE
from mycelium.bus.stats import SubscriptionStats
from mycelium.wire.buffer import Batch

__all__ = ["DEFAULT_QUEUE_BYTES", "Outbox"]

DEFAULT_QUEUE_BYTES: Final = 8 * 1024 * 1024


@final
class _Cell:
    """A run of frames that wait; under `latest` one frame, in whose place a newer one may be put."""

    __slots__ = ("batch", "is_held", "slot")

    def __init__(self, batch: Batch, slot: Hashable = None) -> None:
        self.batch = batch
        self.slot = slot
        self.is_held = False
        """Whether it waits for room."""


@final
class Outbox:
    """The queue of one subscription of one connection.

    Args:
        limit: Messages that may wait.
        window: Messages that the client takes ahead of its handlers; None: whatever the socket takes.
        limit_bytes: Bytes of frames that may wait; a single message may be larger.
        ledger: Where the bytes are counted.
        on_slow: Called when the queue is full for the first time, and when it has been empty again.

    Attributes:
        losses: What was dropped.
        is_slow: Whether the queue was full, and has not been empty since.
    """

    def __init__(
        self,
        limit: int = DEFAULT_QUEUE,
        window: int | None = None,
        limit_bytes: int = DEFAULT_QUEUE_BYTES,
        ledger: Ledger | None = None,
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self.limit = limit
        self.window = window
        self.limit_bytes = limit_bytes
        self.losses = Losses()
        self.is_slow = False
        self._ledger = ledger or Ledger(0)
        self._on_slow = on_slow
        self._messages = self._bytes = 0
        self._cells: deque[_Cell] = deque()
        self._slots: dict[Hashable, _Cell] = {}
        self._holds: Holds[_Cell] = Holds()
        self._held_bytes = 0
        self._backlog: deque[Batch] = deque()
        """Last values from before the subscription: they come first, and count once they are taken."""
        self._credit = window
        self._matched = self._taken = self._returned = 0

    def __repr__(self) -> str:
        return f"<Outbox of {self.queued} messages, {self.queued_bytes} bytes, credit {self._credit}>"

    @property
    def queued(self) -> int:
        """Messages that wait, those that have no room yet included."""
        return self._messages + len(self._holds)

    @property
    def queued_bytes(self) -> int:
        """Bytes of their frames."""
        return self._bytes + self._held_bytes

    @property
    def out(self) -> int:
        """Messages that the client has been sent and not given back."""
        return self._taken - self._returned

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return self._credit != 0 and (bool(self._cells) or bool(self._backlog))

    @property
    def sendable_bytes(self) -> int:
        """Bytes that only the socket keeps from being sent."""
        left = math.inf if self._credit is None else self._credit
        total = 0
        for batch in (*self._backlog, *(cell.batch for cell in self._cells)):
            if left < len(batch):
                return total + batch.bounds[int(left)] - batch.bounds[0]
            left -= len(batch)
            total += batch.size
        return total

    # --- in ---

    def put(self, batch: Batch) -> None:
        """Queue a batch under `drop_oldest`: where that is over a bound the oldest messages are dropped."""
        count = len(batch)
        self._matched += count
        self._append(_Cell(batch))
        while (excess := self._excess()) > 0:
            self._note_slow()
            self._drop_oldest(excess, DropReason.DROPPED_OLDEST)

    def put_one(self, frame: Batch, lag: Lag, slot: Hashable, deadline: float | None) -> Outcome:
        """Queue one message, or do what the policy says.

        Args:
            frame: A batch of one.
            lag: The policy.
            slot: By what a newer message takes the place of an older one under `latest`.
            deadline: Until when its publisher waits for room under `block`; None for one that does not wait.
        """
        self._matched += 1
        if lag is Lag.LATEST and (older := self._slots.get(slot)) is not None:
            self._replace(older, frame)
            return None
        cell = _Cell(frame, slot if lag is Lag.LATEST else None)
        if self._has_room(frame):
            self._append(cell)
            return None
        self._note_slow()
        return self._WHEN_FULL[lag](self, cell, deadline)

    def refuse(self, type_id: int, reason: DropReason) -> DropReason:
        """Count a message that is not let in at all."""
        self._matched += 1
        self.losses.count(type_id, reason)
        return reason

    def remember(self, frames: Sequence[Batch]) -> None:
        """Send last values, batches of one, before everything that is queued."""
        self._backlog.extend(frames)

    @property
    def remembered(self) -> int:
        """Last values that have not been sent yet."""
        return len(self._backlog)

    @property
    def holding(self) -> bool:
        """Whether messages wait for room."""
        return len(self._holds) > 0

    # --- out ---

    def take(self, most_bytes: int) -> Batch | None:
        """The next messages that may be sent now, from one batch.

        They are within credit, and at most `most_bytes`, but for a single message that is larger.
        """
        if self._credit == 0:
            return None
        if self._backlog:
            self._matched += 1
            return self._leave(self._backlog.popleft())
        if not self._cells:
            return None
        cell = self._cells[0]
        batch = cell.batch
        count = len(batch)
        if self._credit is not None:
            count = min(count, self._credit)
        if batch.size > most_bytes:
            count = min(count, max(1, bisect_right(batch.bounds, batch.bounds[0] + most_bytes) - 1))
        taken = batch if count == len(batch) else batch.part(0, count)
        self._shorten(count)
        self._admit()
        if self.is_slow and not self._cells:
            self.is_slow = False
            self._on_slow()
        return self._leave(taken)

    def add_credit(self, messages: int) -> None:
        """The client's handlers are done with so many messages; it cannot give back more than it was sent."""
        if self._credit is not None:
            given = min(messages, self.out)
            self._credit += given
            self._returned += given

    def replace(self, limit: int, window: int | None, fits: Callable[[int], bool]) -> None:
        """Go on with other options: what is queued and still fits stays, credit is the new window less what is out."""
        self.limit = limit
        self._credit = None if window is None else max(0, window - self.out)
        self.window = window
        if window is None:
            self._returned = self._taken
        self._backlog = deque(frame for frame in self._backlog if fits(frame.type_ids[0]))
        for cell in [self._cells.popleft() for _ in range(len(self._cells))]:
            self._keep_fitting(cell, fits)
        while self._messages and (excess := self._excess()) > 0:
            self._drop_oldest(excess, DropReason.DROPPED_OLDEST)
        self._admit()

    def relieve(self, most_bytes: int) -> None:
        """Give up the oldest messages, whatever the policy, because memory is short."""
        if self._cells:
            oldest = self._cells[0].batch
            count = bisect_left(oldest.bounds, oldest.bounds[0] + most_bytes)
            self._drop_oldest(min(max(1, count), len(oldest)), DropReason.MEMORY)
            self._admit()

    def clear(self, reason: DropReason, *, handled: bool) -> None:
        """Drop everything.

        Args:
            reason: Why.
            handled: Whether the client handles what it has been sent and not given back; else nobody knows, and it
                counts as dropped too.
        """
        self._backlog.clear()
        self._holds.give_up_all(reason)
        while self._cells:
            self._drop_oldest(len(self._cells[0].batch), reason)
        if handled:
            self._returned = self._taken
        elif self.out:
            self.losses.by_reason[DropReason.DISCONNECTED.reason] += self.out
            self._taken = self._returned
        self._holds.look(0, self.limit)

    def stats(self) -> SubscriptionStats:
        """The counters; without a window a message is delivered when it is given to the socket."""
        dropped = dict(self.losses.by_reason)
        return SubscriptionStats(self._matched, self._returned, dropped, self.queued, self.out)

    # --- inside ---

    def _has_room(self, frame: Batch) -> bool:
        if not self._messages:
            return True
        return self._messages < self.limit and self._bytes + frame.size <= self.limit_bytes

    def _append(self, cell: _Cell) -> None:
        batch = cell.batch
        self._ledger.hold(batch.data)
        self._cells.append(cell)
        if cell.slot is not None:
            self._slots[cell.slot] = cell
        self._messages += len(batch)
        self._bytes += batch.size

    def _shorten(self, count: int) -> None:
        """Take so many messages from the oldest cell."""
        cell = self._cells[0]
        batch = cell.batch
        self._messages -= count
        self._bytes -= batch.bounds[count] - batch.bounds[0]
        if count == len(batch):
            self._cells.popleft()
            self._slots.pop(cell.slot, None)
            self._ledger.release(batch.data)
        else:
            cell.batch = batch.part(count, len(batch))

    def _leave(self, batch: Batch) -> Batch:
        """Count a batch as sent."""
        count = len(batch)
        self._taken += count
        if self._credit is None:
            self._returned += count
        else:
            self._credit -= count
        return batch

    def _replace(self, cell: _Cell, frame: Batch) -> None:
        older = cell.batch
        self.losses.count(older.type_ids[0], DropReason.CONFLATED)
        self._ledger.hold(frame.data)
        self._ledger.release(older.data)
        if cell.is_held:
            self._held_bytes += frame.size - older.size
        else:
            self._bytes += frame.size - older.size
        cell.batch = frame

    def _keep_fitting(self, cell: _Cell, fits: Callable[[int], bool]) -> None:
        """Put a cell back as far as it fits; it is counted out first."""
        batch = cell.batch
        self._messages -= len(batch)
        self._bytes -= batch.size
        self._slots.pop(cell.slot, None)
        for part in _fitting(batch, fits):
            self._append(_Cell(part.compact(), cell.slot))
        unwanted = sum(not fits(type_id) for type_id in batch.type_ids)
        if unwanted:  # the client knows, it has asked for it
            self.losses.by_reason[DropReason.DISCONNECTED.reason] += unwanted
        self._ledger.release(batch.data)

    def _excess(self) -> int:
        """How many messages of the oldest batch are too many; one message is never too many, however large."""
        oldest = self._cells[0].batch
        over = self._messages - self.limit
        over_bytes = self._bytes - self.limit_bytes
        if over_bytes > 0:
            over = max(over, bisect_left(oldest.bounds, oldest.bounds[0] + over_bytes))
        return min(over, len(oldest), self._messages - 1)

    def _drop_oldest(self, count: int, reason: DropReason) -> None:
        for type_id in self._cells[0].batch.type_ids[:count]:
            self.losses.count(type_id, reason)
        self._shorten(count)

    def _note_slow(self) -> None:
        if not self.is_slow:
            self.is_slow = True
            self.losses.episode = 0
            self._on_slow()

    # --- what the policies do ---

    def _make_room(self, cell: _Cell, _: float | None) -> None:
        """Drop the head. Where others wait for room the new one comes after them, so that order is kept."""
        if self._holds:
            self._hold(cell, math.inf)
            self._drop_oldest(1, DropReason.DROPPED_OLDEST)
            self._admit()
            return
        self._append(cell)
        while (excess := self._excess()) > 0:
            self._drop_oldest(excess, DropReason.DROPPED_OLDEST)

    def _drop(self, cell: _Cell, reason: DropReason) -> DropReason:
        self.losses.count(cell.batch.type_ids[0], reason)
        return reason

    def _wait(self, cell: _Cell, deadline: float | None) -> Outcome:
        if deadline is None:
            return self._drop(cell, DropReason.REJECTED)
        return self._hold(cell, deadline)

    def _hold(self, cell: _Cell, deadline: float) -> Hold:
        self._ledger.hold(cell.batch.data)
        self._held_bytes += cell.batch.size
        cell.is_held = True
        if cell.slot is not None:
            self._slots[cell.slot] = cell
        return self._holds.add(
            cell.batch.type_ids[0], deadline, cell, lambda _, reason, held: self._given_up(held, reason)
        )

    def _given_up(self, cell: _Cell, reason: DropReason) -> None:
        self._held_bytes -= cell.batch.size
        self._slots.pop(cell.slot, None)
        self._ledger.release(cell.batch.data)
        self._drop(cell, reason)

    def _admit(self) -> None:
        """Let in those that have waited for room."""
        while self._holds and self._has_room(next(iter(self._holds)).batch):
            hold, cell = self._holds.take()
            cell.is_held = False
            self._held_bytes -= cell.batch.size
            self._append(cell)
            self._ledger.release(cell.batch.data)
            hold.decide()
        self._holds.look(self.queued, self.limit)

    _WHEN_FULL: ClassVar[Mapping[Lag, Callable[["Outbox", _Cell, float | None], Outcome]]] = {
        Lag.DROP_OLDEST: _make_room,
        Lag.DROP_NEWEST: lambda self, cell, _: self._drop(cell, DropReason.DROPPED_NEWEST),
        Lag.LATEST: _make_room,
        Lag.BLOCK: _wait,
        Lag.REJECT: lambda self, cell, _: self._drop(cell, DropReason.REJECTED),
        Lag.DISCONNECT: lambda self, cell, _: self._drop(cell, DropReason.DISCONNECTED),
    }


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
