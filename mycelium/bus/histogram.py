"""How often something took how long, or was how large: whole numbers in buckets, without any library."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
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
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def __len__(self) -> int:
        """Values that were counted."""
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"<Histogram of {len(self)} values>"

    def observe(self, value: float, number: int = 1) -> None:
        """Count a value, or so many that are alike."""
        self.counts[bisect_left(self.bounds, value)] += number
        self.total += value * number

    @property
    def cumulative(self) -> list[int]:
        """For each bucket the values that are no greater than its bound; in the end all of them."""
        return list(accumulate(self.counts))
