"""What the last values of one type were at a moment, for as long as somebody has still to be sent them."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from mycelium.bus.retained import LastValue

__all__ = ["Kept", "Snapshot"]


@final
class Kept:
    """A last value.

    Attributes:
        number: When it was written.
        value: See above; not there any more once nobody needs it.
        gone: When another one took its place, or it was forgotten.
    """

    __slots__ = ("gone", "number", "value")

    def __init__(self, number: int, value: "LastValue") -> None:
        self.number = number
        self.value = value
        self.gone: float = math.inf

    def __repr__(self) -> str:
        return f"<Kept {self.number}>"


@final
class Snapshot:
    """Those values in a log of all values that were there at a moment, in the order of writing.

    Nothing is copied, so that it costs the same however many there are; everybody who comes before the next change
    reads the same one.

    Args:
        number: When it was made: higher than those of its values, lower than those of whatever comes and goes later.
        log: Values in the order of writing; more may be put behind them.
        start: Index of the first one that was there.
        count: How many were there; at least one.
        size: Bytes of their frames.
        on_change: Called with it when the first reader comes, and when the last one has gone.

    Attributes:
        number: See above.
        log: See above.
        start: See above.
        count: See above.
        size: See above.
        readers: How many have still to be sent some of it.
        orphans: Values that are kept for their sake alone.
    """

    __slots__ = ("_on_change", "count", "log", "number", "orphans", "readers", "size", "start")

    def __init__(
        self,
        number: int,
        log: Sequence[Kept],
        start: int,
        *,
        count: int,
        size: int,
        on_change: "Callable[[Snapshot], object]",
    ) -> None:
        self.number = number
        self.log = log
        self.start = start
        self.count = count
        self.size = size
        self.readers = 0
        self.orphans: list[Kept] = []
        self._on_change = on_change

    def __repr__(self) -> str:
        return f"<Snapshot of {self.count} values, {self.readers} readers>"

    def find(self, index: int) -> int:
        """Index of the first value that was there, from an index on; there has to be one."""
        log, number = self.log, self.number
        while log[index].gone < number:
            index += 1
        return index

    def values(self, index: int | None = None, count: int | None = None) -> Iterator[Kept]:
        """All, or so many from an index on."""
        index = self.start if index is None else index
        for _ in range(self.count if count is None else count):
            index = self.find(index)
            yield self.log[index]
            index += 1

    def open(self) -> None:
        """Somebody is to be sent it."""
        self.readers += 1
        if self.readers == 1:
            self._on_change(self)

    def close(self) -> None:
        """Somebody has been sent it, or wants it no more."""
        self.readers -= 1
        if not self.readers:
            self._on_change(self)
