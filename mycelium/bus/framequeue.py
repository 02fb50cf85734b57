"""Frames that wait in order: runs of them as they came, counted in messages and bytes, and in the ledger."""

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import accumulate, pairwise
from typing import final

from mycelium.bus.ledger import Ledger
from mycelium.bus.meter import Mark
from mycelium.wire.buffer import Batch

__all__ = ["Cell", "FrameQueue", "fitting", "leading_bytes"]


@final
class Cell:
    """A run of frames that wait; under `latest` one frame, in whose place a newer one may be put.

    Attributes:
        batch: The frames.
        slot: By what a newer message takes its place; None for one that stays.
        is_held: Whether it waits outside the queue, for room.
        mark: When it came; None where nobody asks for it.
    """

    __slots__ = ("batch", "is_held", "mark", "slot")

    def __init__(self, batch: Batch, slot: Hashable = None, mark: Mark | None = None) -> None:
        self.batch = batch
        self.slot = slot
        self.mark = mark
        self.is_held = False


@final
class FrameQueue:
    """Cells in order.

    Args:
        ledger: Where the bytes are counted.

    Attributes:
        messages: How many wait.
        bytes: Of their frames.
        slots: Cells in whose place a newer message may be put, those that wait for room included.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.messages = self.bytes = 0
        self.slots: dict[Hashable, Cell] = {}
        self._ledger = ledger
        self._cells: deque[Cell] = deque()

    def __repr__(self) -> str:
        return f"<FrameQueue of {self.messages} messages, {self.bytes} bytes>"

    def __bool__(self) -> bool:
        return bool(self._cells)

    def __iter__(self) -> Iterator[Batch]:
        return (cell.batch for cell in self._cells)

    @property
    def head(self) -> Batch:
        """The oldest run."""
        return self._cells[0].batch

    @property
    def mark(self) -> Mark | None:
        """When it came."""
        return self._cells[0].mark

    def append(self, cell: Cell) -> None:
        """Put a run at the end."""
        batch = cell.batch
        self._ledger.hold(batch.data)
        self._cells.append(cell)
        if cell.slot is not None:
            self.slots[cell.slot] = cell
        self.messages += len(batch.type_ids)
        self.bytes += batch.size

    def shorten(self, count: int) -> Batch:
        """Take so many messages from the oldest run."""
        cell = self._cells[0]
        batch = cell.batch
        if count < len(batch.type_ids):
            taken, cell.batch = batch.part(0, count), batch.part(count, len(batch))
        else:
            taken = batch
            self._cells.popleft()
            if cell.slot is not None:
                del self.slots[cell.slot]
            self._ledger.release(batch.data)
        self.messages -= count
        self.bytes -= taken.size
        return taken

    def swap(self, cell: Cell, frame: Batch) -> int:
        """Put a newer message in the place of an older one; by how many bytes it is larger."""
        older, cell.batch = cell.batch, frame
        self._ledger.hold(frame.data)
        self._ledger.release(older.data)
        grown = frame.size - older.size
        if not cell.is_held:
            self.bytes += grown
        return grown

    def keep(self, fits: Callable[[int], bool]) -> Counter[int]:
        """Leave out types that do not fit any more; how many messages of each type that were."""
        gone = Counter(type_id for cell in self._cells for type_id in cell.batch.type_ids if not fits(type_id))
        cells, self._cells = self._cells, deque()
        self.messages = self.bytes = 0
        for cell in cells:
            self.slots.pop(cell.slot, None)
            for part in _fitting(cell.batch, fits):
                self.append(Cell(part.compact(), cell.slot, cell.mark))
            self._ledger.release(cell.batch.data)
        return gone

    def room(self, run: Batch, start: int, limit: int, limit_bytes: int) -> int:
        """For how many messages of a run there is room now; for one always, where nothing is queued."""
        bounds = run.bounds
        room = min(limit - self.messages, len(run) - start)
        if room <= 0:
            return 0
        last = bounds[start] + limit_bytes - self.bytes
        if bounds[start + room] > last:
            room = bisect_right(bounds, last) - 1 - start
        return max(room, 0 if self._cells else 1)

    def excess(self, limit: int, limit_bytes: int) -> int:
        """How many messages of the oldest run are too many; one message is never too many, however large."""
        over = self.messages - limit
        over_bytes = self.bytes - limit_bytes
        if over <= 0 and over_bytes <= 0:
            return 0
        oldest = self.head
        if over_bytes > 0:
            over = max(over, bisect_left(oldest.bounds, oldest.bounds[0] + over_bytes))
        return min(over, len(oldest), self.messages - 1)


def leading_bytes(batches: Iterable[Batch], count: int) -> int:
    """Bytes of the first so many messages."""
    total = 0
    for batch in batches:
        if count < len(batch):
            return total + batch.bounds[count] - batch.bounds[0]
        count -= len(batch)
        total += batch.size
    return total


def fitting(batch: Batch, fits: Callable[[int], bool]) -> Batch:
    """The messages whose type still fits, in bytes of their own."""
    parts = list(_fitting(batch, fits))
    type_ids = [type_id for part in parts for type_id in part.type_ids]
    sizes = (after - before for part in parts for before, after in pairwise(part.bounds))
    return Batch(b"".join(part.to_bytes() for part in parts), type_ids, list(accumulate(sizes, initial=0)))


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
