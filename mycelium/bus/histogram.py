"""How often something took how long, or was how large: whole numbers in buckets, without any library."""

from bisect import bisect_left
from itertools import accumulate
from operator import add
from time import time
from typing import final

__all__ = ["Histogram"]


@final
class Histogram:
    """Counts by size.

    Args:
        bounds: The greatest value of each bucket, ascending; there is one more bucket for what is greater.

    Attributes:
        bounds: See above.
        counts: Of each bucket.
        total: The sum of all values.
        examples: Of some buckets the id of a trace, its value, and when that was, in seconds since the epoch.
    """

    __slots__ = ("bounds", "counts", "examples", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.examples: dict[int, tuple[str, float, float]] = {}

    def __len__(self) -> int:
        """Values that were counted."""
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"<Histogram of {len(self)} values>"

    def observe(self, value: float, number: int = 1) -> None:
        """Count a value, or so many that are alike."""
        self.counts[bisect_left(self.bounds, value)] += number
        self.total += value * number

    def copy(self) -> "Histogram":
        """The same, to be added to."""
        return self.plus(Histogram(self.bounds))

    def plus(self, other: "Histogram") -> "Histogram":
        """The sum of two with the same bounds."""
        made = Histogram(self.bounds)
        made.counts = list(map(add, self.counts, other.counts))
        made.total = self.total + other.total
        made.examples = {**self.examples, **other.examples}
        return made

    def example(self, value: float, trace: str) -> None:
        """Remember the trace of a value, in the place of an older one of its bucket."""
        self.examples[bisect_left(self.bounds, value)] = trace, value, time()

    @property
    def cumulative(self) -> list[int]:
        """For each bucket the values that are no greater than its bound; in the end all of them."""
        return list(accumulate(self.counts))
