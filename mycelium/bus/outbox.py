"""What waits at the bridge for a socket subscriber: a queue of frames with bounds, credit and lag policies.

Pure bookkeeping, without I/O and without a clock. The policies act here and nowhere else; their twin for the objects of
a process is `localqueue`.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from itertools import chain
from typing import Final, final

from mycelium.bus.backlog import Backlog
from mycelium.bus.custody import Custody
from mycelium.bus.framequeue import Cell, FrameQueue, fitting, leading_bytes
from mycelium.bus.holds import Hold, Holds
from mycelium.bus.lag import REFUSALS, DropReason, Lag
from mycelium.bus.ledger import Ledger
from mycelium.bus.localqueue import Outcome
from mycelium.bus.losses import Losses
from mycelium.bus.meter import Tally
from mycelium.bus.options import DEFAULT_QUEUE
from mycelium.bus.snapshot import Snapshot
from mycelium.bus.stats import SubscriptionStats
from mycelium.wire.buffer import Batch

__all__ = ["DEFAULT_QUEUE_BYTES", "HOLD_BYTES", "Outbox"]

DEFAULT_QUEUE_BYTES: Final = 8 * 1024 * 1024
_DROP_OLDEST, _LATEST = Lag.DROP_OLDEST, Lag.LATEST
HOLD_BYTES: Final = 2048
"""What it takes to remember a message that waits for room, beside its frame."""


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
        acting: The policy that acted first then.
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
        self.acting = Lag.DROP_OLDEST
        self._ledger = ledger or Ledger(0)
        self._on_slow = on_slow
        self._tally: Tally | None = None
        self._queue = FrameQueue(self._ledger)
        self._holds: Holds[Cell] = Holds()
        self._held = self._held_bytes = 0
        self._backlog = Backlog()
        """Last values from before the subscription: they come first, and count once they are taken."""
        self._credit = window
        self._matched = 0
        self._custody = Custody()

    def __repr__(self) -> str:
        return f"<Outbox of {self.queued} messages, {self.queued_bytes} bytes, credit {self._credit}>"

    @property
    def queued(self) -> int:
        """Messages that wait, those that have no room yet included."""
        return self._queue.messages + self._held

    @property
    def queued_bytes(self) -> int:
        """Bytes of their frames."""
        return self._queue.bytes + self._held_bytes

    @property
    def out(self) -> int:
        """Messages that the client has been sent and not given back."""
        return self._custody.out

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return self._credit != 0 and bool(self._queue.messages or self._backlog.messages)

    @property
    def sendable_bytes(self) -> int:
        """Bytes that only the socket keeps from being sent."""
        if self._credit is None:
            return self._backlog.size + self._queue.bytes
        return leading_bytes(chain(self._backlog, self._queue), self._credit)

    @property
    def is_clear(self) -> bool:
        """Whether a message may be sent past the queue: it has credit, nothing is before it or to be told first."""
        is_empty = not (self._queue.messages or self._backlog.messages or self._holds.waiting)
        return is_empty and self._credit != 0 and not (self.is_slow or self.losses.pending)

    def count_by_type(self, tally: Tally) -> None:
        """Do so from now on."""
        self._tally = self.losses.tally = tally
        self._custody.count_by_type(tally)

    # --- in ---

    def alike(self, run: Batch, start: int, lag: Lag, deadline: float | None, *, exactly: bool) -> int:
        """How many messages of a run, from `start` on, fare alike, so that they may be `put` as one.

        Args:
            run: The messages.
            start: Index of the first one.
            lag: The policy.
            deadline: As for `put`.
            exactly: Whether each message that has to wait for room has to be decided by itself.
        """
        left = len(run) - start
        if lag is Lag.LATEST:
            return 1
        if lag is Lag.DROP_OLDEST:
            return 1 if self._holds else left
        room = 0 if self._holds else self._queue.room(run, start, self.limit, self.limit_bytes)
        if room:
            return min(room, left)
        if lag is Lag.DISCONNECT:
            return 1  # the others find nobody
        if lag is Lag.BLOCK and deadline is not None:
            return 1 if exactly else left
        return left if run.is_even or self._holds or self._queue.messages >= self.limit else 1

    def put(
        self, run: Batch, lag: Lag = Lag.DROP_OLDEST, slot: Hashable = None, deadline: float | None = None
    ) -> Outcome:
        """Queue messages, or do what the policy says, with all of them: under another policy than `drop_oldest` they
        are one, or as many as `alike` says.

        Args:
            run: The messages.
            lag: The policy.
            slot: By what a newer message takes the place of an older one under `latest`.
            deadline: Until when its publisher waits for room under `block`; None for one that does not wait.
        """  # noqa: D205
        self._matched += len(run.type_ids)
        mark = None if self._tally is None else self._tally.meter.mark
        if lag is _LATEST and (older := self._queue.slots.get(slot)) is not None:
            older.mark = mark
            self._conflate(older, run)
            return None
        cell = Cell(run, slot if lag is _LATEST else None, mark)
        if not self._holds.waiting and (lag is _DROP_OLDEST or self._queue.room(run, 0, self.limit, self.limit_bytes)):
            queue = self._queue
            queue.append(cell)
            if queue.messages > self.limit or queue.bytes > self.limit_bytes:
                self._trim()
            return None
        self._note_slow(lag)
        if (reason := REFUSALS.get(lag)) is not None:
            return self._drop(cell, reason)
        if lag is not Lag.BLOCK:
            self._make_room(cell)
            return None
        return self._drop(cell, DropReason.REJECTED) if deadline is None else self._hold(cell, deadline)

    def passed(self, run: Batch) -> None:
        """Count a message that was sent past the queue, which `is_clear`, as if it had been put and taken."""
        self._matched += 1
        if self._tally is not None:
            self._tally.sent(self._tally.meter.mark, run)
        self._custody.give(run, for_good=self._credit is None)
        if self._credit is not None:
            self._credit -= 1

    def refuse(self, type_id: int, reason: DropReason) -> DropReason:
        """Count a message that is not let in at all."""
        self._matched += 1
        self.losses.count(type_id, reason)
        return reason

    def remember(self, snapshots: Iterable[Snapshot]) -> None:
        """Send last values before everything that is queued."""
        self._backlog.add(snapshots)

    @property
    def remembered(self) -> int:
        """Last values that have not been sent yet."""
        return len(self._backlog)

    # --- out ---

    def take(self, most_bytes: int) -> Batch | None:
        """The next messages that may be sent now, from one batch.

        They are within credit, and at most `most_bytes`, but for a single message that is larger.
        """
        credit, queue = self._credit, self._queue
        if credit == 0:
            return None
        if self._backlog.messages:
            self._matched += 1
            return self._leave(self._backlog.take())
        if not queue.messages:
            return None
        batch = queue.head
        count = len(batch.type_ids)
        if credit is not None and credit < count:
            count = credit
        if batch.size > most_bytes:
            count = min(count, max(1, bisect_right(batch.bounds, batch.bounds[0] + most_bytes) - 1))
        tally = self._tally
        taken = queue.shorten(count) if tally is None else tally.sent(queue.mark, queue.shorten(count))
        if self.is_slow or self._holds.waiting or self._holds.listeners:
            self._admit()
        return self._leave(taken)

    def add_credit(self, messages: int) -> None:
        """The client's handlers are done with so many messages; it cannot give back more than it was sent."""
        if self._credit is not None:
            given = min(messages, self.out)
            self._credit += given
            self._custody.take_back(given)

    def replace(self, limit: int, window: int | None, fits: Callable[[int], bool]) -> None:
        """Go on with other options: what is queued and still fits stays, credit is the new window less what is out."""
        self.limit = limit
        self._credit = None if window is None else max(0, window - self.out)
        self.window = window
        if window is None:
            self._custody.take_back(self.out)
        for type_id, number in self._leave_out(fits, DropReason.DISCONNECTED).items():
            self.losses.write_off(type_id, DropReason.DISCONNECTED, number)  # the client knows, it has asked for it
        while (excess := self._queue.excess(self.limit, self.limit_bytes)) > 0:
            self._drop_oldest(excess, DropReason.DROPPED_OLDEST)
        self._admit()

    def fail(self, type_id: int, reason: DropReason) -> None:
        """A message that was taken, where there is no credit, has turned out to be one that cannot be sent."""
        self._custody.fail(type_id)
        self.losses.count(type_id, reason)

    def revoke(self, type_ids: frozenset[int]) -> None:
        """Drop what the client may not have any more."""
        for type_id, number in self._leave_out(lambda one: one not in type_ids, DropReason.DENIED).items():
            self.losses.count(type_id, DropReason.DENIED, number)
        self._admit()

    def relieve(self, most_bytes: int) -> None:
        """Give up the oldest messages, whatever the policy, because memory is short."""
        if self._queue:
            oldest = self._queue.head
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
        self._backlog.keep(lambda _: False)
        self._holds.give_up_all(reason)
        while self._queue:
            self._drop_oldest(len(self._queue.head), reason)
        if handled:
            self._custody.take_back(self.out)
        for type_id, number in self._custody.write_off().items():
            self.losses.write_off(type_id, DropReason.DISCONNECTED, number)
        self._admit()

    def stats(self) -> SubscriptionStats:
        """The counters; without a window a message is delivered when it is given to the socket."""
        dropped = dict(self.losses.by_reason)
        return SubscriptionStats(self._matched, self._custody.returned, dropped, self.queued, self.out)

    # --- inside ---

    def _trim(self) -> None:
        while (excess := self._queue.excess(self.limit, self.limit_bytes)) > 0:
            self._note_slow(Lag.DROP_OLDEST)
            self._drop_oldest(excess, DropReason.DROPPED_OLDEST)

    def _leave(self, batch: Batch) -> Batch:
        """Count a batch as sent."""
        self._custody.give(batch, for_good=self._credit is None)
        if self._credit is not None:
            self._credit -= len(batch.type_ids)
        return batch

    def _conflate(self, cell: Cell, frame: Batch) -> None:
        self.losses.count(cell.batch.type_ids[0], DropReason.CONFLATED)
        grown = self._queue.swap(cell, frame)
        if cell.is_held:
            self._held_bytes += grown
        else:
            self._trim()

    def _drop_oldest(self, count: int, reason: DropReason) -> None:
        self.losses.count_each(self._queue.shorten(count).type_ids, reason)

    def _note_slow(self, lag: Lag) -> None:
        if not self.is_slow:
            self.is_slow = True
            self.acting = lag
            self.losses.episode = 0
            self._on_slow()

    def _make_room(self, cell: Cell) -> None:
        """Drop the head. Where others wait for room the new one comes after them, so that order is kept."""
        if self._holds:
            self._hold(cell, math.inf)
            self._drop_oldest(1, DropReason.DROPPED_OLDEST)
            self._admit()
        else:
            self._queue.append(cell)
            self._trim()

    def _drop(self, cell: Cell, reason: DropReason) -> DropReason:
        self.losses.count_each(cell.batch.type_ids, reason)
        return reason

    def _hold(self, cell: Cell, deadline: float) -> Hold:
        self._ledger.hold(cell.batch.data)
        self._ledger.charge(HOLD_BYTES)
        self._held += len(cell.batch)
        self._held_bytes += cell.batch.size
        cell.is_held = True
        if cell.slot is not None:
            self._queue.slots[cell.slot] = cell
        return self._holds.add(cell.batch.types, deadline, cell, self._given_up)

    def _given_up(self, _: Hold, reason: DropReason, cell: Cell) -> None:
        self._queue.slots.pop(cell.slot, None)
        self._unhold(cell)
        self._drop(cell, reason)
        if reason is DropReason.BLOCK_TIMEOUT:  # the queue goes on, and the next one may be smaller
            self._admit()

    def _let_in(self, cell: Cell, count: int) -> Batch:
        """The first of the messages that wait together; the others go on waiting."""
        batch = cell.batch
        first, cell.batch = batch.part(0, count), batch.part(count, len(batch))
        self._held -= count
        self._held_bytes -= first.size
        return first

    def _leave_out(self, fits: Callable[[int], bool], reason: DropReason) -> Counter[int]:
        """Drop what does not fit any more; of what is queued the numbers by type, which are still to be counted."""
        self._backlog.keep(fits)
        self._holds.give_up_all(reason, lambda cell: not any(map(fits, cell.batch.types)))
        for cell in self._holds:
            self._keep_waiting(cell, fits, reason)
        return self._queue.keep(fits)

    def _keep_waiting(self, cell: Cell, fits: Callable[[int], bool], reason: DropReason) -> None:
        """Have those wait no more whose type does not fit any more."""
        before = cell.batch
        if all(map(fits, before.types)):
            return
        kept = cell.batch = fitting(before, fits)
        self._ledger.hold(kept.data)
        self._ledger.release(before.data)
        self._held -= len(before) - len(kept)
        self._held_bytes -= before.size - kept.size
        self.losses.count_each((one for one in before.type_ids if not fits(one)), reason)

    def _unhold(self, cell: Cell) -> None:
        cell.is_held = False
        self._held -= len(cell.batch)
        self._held_bytes -= cell.batch.size
        self._ledger.release(cell.batch.data)
        self._ledger.charge(-HOLD_BYTES)

    def _admit(self) -> None:
        """Let in those that have waited for room, and see whether the queue is in order again."""
        while self._holds:
            cell = self._holds.first
            room = self._queue.room(cell.batch, 0, self.limit, self.limit_bytes)
            if not room:
                break
            if room < len(cell.batch):
                self._queue.append(Cell(self._let_in(cell, room), mark=cell.mark))
            else:
                hold, cell = self._holds.take()
                self._queue.append(cell)
                self._unhold(cell)
                hold.decide()
        if self.queued_bytes <= self.limit_bytes // 2:  # few large messages are no empty queue
            self._holds.look(self.queued, self.limit)
        if self.is_slow and not self._queue:
            self.is_slow = False
            self._on_slow()
