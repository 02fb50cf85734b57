"""Last values from before a subscription that wait to be sent."""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush, heapreplace, merge
from typing import TypeAlias, final

from mycelium.bus.snapshot import Snapshot
from mycelium.wire.buffer import Batch

__all__ = ["Backlog"]


@final
class _Run:
    """What is left of a snapshot.

    Attributes:
        snapshot: See above.
        turn: Those of one Subscribe come before those of the next.
        at: Index of the next value in its log.
        left: How many there are.
        size: Their bytes.
        type_id: Of all of them.
    """

    __slots__ = ("at", "left", "size", "snapshot", "turn", "type_id")

    def __init__(self, snapshot: Snapshot, turn: int) -> None:
        self.snapshot = snapshot
        self.turn = turn
        self.at = snapshot.start
        self.left = snapshot.count
        self.size = snapshot.size
        self.type_id = snapshot.log[self.at].value.type_id

    @property
    def place(self) -> "_Place":
        """Of the next value."""
        return self.turn, self.snapshot.log[self.at].number, self

    def take(self) -> Batch:
        """The next value."""
        frame = self.snapshot.log[self.at].value.frame
        self.left -= 1
        self.size -= frame.size
        if self.left:
            self.at = self.snapshot.find(self.at + 1)
        return frame

    def frames(self) -> Iterator[tuple[int, int, Batch]]:
        """All that are left, each with its place."""
        return ((self.turn, kept.number, kept.value.frame) for kept in self.snapshot.values(self.at, self.left))


_Place: TypeAlias = tuple[int, int, _Run]
"""By its turn and by when it was written, which no two values have in common."""


@final
class Backlog:
    """Snapshots, one for each type, that are read in the order of writing; to begin with one takes no time.

    Attributes:
        messages: How many are left.
        size: Their bytes.
    """

    def __init__(self) -> None:
        self.messages = self.size = 0
        self._turn = 0
        self._runs: list[_Place] = []
        """A heap."""

    def __repr__(self) -> str:
        return f"<Backlog of {len(self)} messages, {self.size} bytes>"

    def __len__(self) -> int:
        return self.messages

    def __iter__(self) -> Iterator[Batch]:
        return (frame for _, _, frame in merge(*(run.frames() for _, _, run in self._runs)))

    def add(self, snapshots: Iterable[Snapshot]) -> None:
        """Read these, too, after all that is left."""
        self._turn += 1
        for snapshot in snapshots:
            snapshot.open()
            run = _Run(snapshot, self._turn)
            self.messages += run.left
            self.size += run.size
            heappush(self._runs, run.place)

    def take(self) -> Batch:
        """The next one, a batch of one."""
        run = self._runs[0][2]
        frame = run.take()
        self.messages -= 1
        self.size -= frame.size
        if run.left:
            heapreplace(self._runs, run.place)
        else:
            heappop(self._runs)
            run.snapshot.close()
        return frame

    def keep(self, fits: Callable[[int], bool]) -> None:
        """Leave out types that do not fit any more."""
        places, self._runs = self._runs, []
        for place in places:
            run = place[2]
            if fits(run.type_id):
                self._runs.append(place)
            else:
                self.messages -= run.left
                self.size -= run.size
                run.snapshot.close()
        heapify(self._runs)
