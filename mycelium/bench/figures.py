"""Rounds that alternate between contenders, and what is made of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import frozen

from mycelium.bench.errors import BenchError
from mycelium.bench.scenes import Figures

__all__ = ["Figure", "Results", "Run", "alternate"]

Run: TypeAlias = Callable[[], Figures]
"""One round of one contender."""
Results: TypeAlias = dict[str, dict[str, list[Figures]]]
"""Row to contender to the figures of its rounds, in order."""
_DIGITS: Final = 4


@frozen
class Figure:
    """A number that was measured several times.

    Attributes:
        values: One a round.
        unit: What they are.
    """

    values: Sequence[float]
    unit: str = ""

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)

    def over(self, other: "Figure") -> "Figure":
        """Ratios, round by round: whatever else the machine did in a round hit both."""
        return Figure([ours / theirs for ours, theirs in zip(self.values, other.values, strict=True)], "x")

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        found = {"median": self.median, "min": self.low, "max": self.high}
        return {**{name: float(f"{value:.{_DIGITS}g}") for name, value in found.items()}, "unit": self.unit}


def alternate(
    rows: Mapping[str, Mapping[str, Run]], rounds: int, say: Callable[[str], None] = lambda _: None
) -> tuple[Results, list[str]]:
    """Run every contender of every row once a round; who begins is another one each round.

    Args:
        rows: Name to contenders.
        rounds: How many.
        say: Told what is about to run.

    Returns:
        The figures, and what failed: such a contender is left out of its row.
    """
    results: Results = {row: {name: [] for name in runs} for row, runs in rows.items()}
    failures: list[str] = []
    for number in range(rounds):
        for row, runs in rows.items():
            for name in _rotated(list(runs), number):
                if name not in results[row]:
                    continue
                say(f"round {number + 1} of {rounds}: {row}, {name}")
                try:
                    results[row][name].append(runs[name]())
                except BenchError as error:
                    failures.append(f"{row}, {name}: {error}")
                    del results[row][name]
    return results, failures


def _rotated(names: Sequence[str], by: int) -> list[str]:
    place = by % len(names) if names else 0
    return [*names[place:], *names[:place]]
