"""The last values of one type, and what they were when somebody subscribed who has not been sent them yet."""

from bisect import bisect_left
from collections.abc import Hashable
from operator import attrgetter
from typing import TYPE_CHECKING, Final, final

from mycelium.bus.ledger import Ledger
from mycelium.bus.snapshot import Kept, Snapshot
from mycelium.wire.errors import DecodeError

if TYPE_CHECKING:
    from mycelium.bus.retained import LastValue
    from mycelium.wire.codec import Codec

__all__ = ["Table"]

_SPARE: Final = 64
"""So many values of a log may be gone."""
_SHARE: Final = 4
"""And one more for every so many that are not."""


@final
class Table:
    """Key -> the last value, in the order of writing.

    Values are in a log as well, with those that are gone until these are too many. Who subscribes is given a snapshot,
    which is a place in that log. A value that goes is kept, and counted in the ledger, for the newest snapshot that has
    it and is still read; when that one is done, for the next older one.

    Args:
        ledger: Where the bytes are counted.
        codec: What can read the values that come; None where nobody looks into them.
    """

    def __init__(self, ledger: Ledger, codec: "Codec | None" = None) -> None:
        self._ledger = ledger
        self._codec = codec
        self._values: dict[Hashable, Kept] = {}
        self._log: list[Kept] = []
        self._start = 0
        """Index of the first one that is not gone, or before it."""
        self._gone = 0
        """How many of the log are."""
        self._unreadable: dict[Hashable, Kept] = {}
        """By the newest contracts; there may be others again, by force."""
        self._size = 0
        """Bytes of those that are readable."""
        self._current: Snapshot | None = None
        self._open: list[Snapshot] = []
        """Those that somebody reads, the oldest first."""

    def __repr__(self) -> str:
        return f"<Table of {len(self)} values, {len(self._open)} snapshots open>"

    def __len__(self) -> int:
        return len(self._values) + len(self._unreadable)

    def put(self, key: Hashable, number: int, value: "LastValue") -> None:
        """Remember the newest value of a key that has none now."""
        self._current = None
        kept = self._values[key] = Kept(number, value)
        self._log.append(kept)
        self._size += value.frame.size
        self._ledger.hold(value.frame.data)

    def remove(self, key: Hashable, number: int) -> int:
        """Forget the value of a key; the bytes of its frame."""
        self._current = None
        kept = self._values.pop(key, None)
        if kept is None:
            kept = self._unreadable.pop(key)
        else:
            self._size -= kept.value.frame.size
            self._gone += 1
            if self._gone > _SPARE + len(self._values) // _SHARE:
                self._begin_log()
        kept.gone = number
        size = kept.value.frame.size
        self._let_go(kept, len(self._open))
        return size

    def snapshot(self, number: int, codec: "Codec | None") -> Snapshot | None:
        """What of it the newest contracts can read, as it is now; None for nothing.

        Args:
            number: Higher than that of any value, and of any snapshot before.
            codec: Of the newest contracts.
        """
        if codec is not self._codec:
            self._sort(codec)
        if self._current is None and self._values:
            while self._log[self._start].gone < number:
                self._start += 1
            self._current = Snapshot(
                number, self._log, self._start, count=len(self._values), size=self._size, on_change=self._changed
            )
        return self._current

    # --- inside ---

    def _changed(self, snapshot: Snapshot) -> None:
        """The first reader of a snapshot has come, or the last one has gone."""
        if snapshot.readers:
            self._open.append(snapshot)
            return
        index = bisect_left(self._open, snapshot.number, key=attrgetter("number"))
        del self._open[index]
        orphans, snapshot.orphans = snapshot.orphans, []
        for kept in orphans:
            self._let_go(kept, index)

    def _let_go(self, kept: Kept, before: int) -> None:
        """A value is needed no more, unless the newest of the first so many open snapshots has it."""
        if before and self._open[before - 1].number > kept.number:
            self._open[before - 1].orphans.append(kept)
        else:
            self._ledger.release(kept.value.frame.data)
            del kept.value

    def _begin_log(self) -> None:
        """Snapshots that were made before go on with the old one."""
        self._log = list(self._values.values())
        self._start = self._gone = 0

    def _sort(self, codec: "Codec | None") -> None:
        """There are other contracts: see what they can read."""
        self._codec, self._current, self._size = codec, None, 0
        every = sorted((*self._values.items(), *self._unreadable.items()), key=lambda item: item[1].number)
        self._values, self._unreadable = {}, {}
        for key, kept in every:
            if codec is None or _is_readable(kept, codec):
                self._values[key] = kept
                self._size += kept.value.frame.size
            else:
                self._unreadable[key] = kept
        self._begin_log()


def _is_readable(kept: Kept, codec: "Codec") -> bool:
    try:
        codec.verify(kept.value.frame.payload(0))
    except DecodeError:
        return False
    return True
