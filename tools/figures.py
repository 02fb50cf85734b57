"""What benchmarks print: figures in rounds, held against what must be and what is aimed at."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Row", "spread", "table"]


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, smallest and largest."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in figures.items()}


@dataclass(frozen=True)
class Row:
    """One figure and its targets.

    Attributes:
        name: What is measured.
        against: What with.
        unit: "x" for how many times as fast as the other one, else a unit of time.
        values: One for each round.
        must: The worst that will do, if anything is asked for.
        aim: What is hoped for.
    """

    name: str
    against: str
    unit: str
    values: Sequence[float]
    must: float | None
    aim: float | None

    @property
    def verdict(self) -> str:
        """aim, must or LOST, by the median; empty where nothing is asked for."""
        if self.must is None or self.aim is None:
            return ""
        sign = 1 if self.unit == "x" else -1
        value = statistics.median(self.values) * sign
        return "aim" if value >= self.aim * sign else "must" if value >= self.must * sign else "LOST"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        names = {"row": self.name, "against": self.against, "unit": self.unit}
        return {**names, **spread(self.values), "must": self.must, "aim": self.aim, "verdict": self.verdict}


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Lines for people."""
    yield f"{'':<32}{'against':<22}{'median':>11}{'min':>11}{'max':>11}{'must':>11}{'aim':>11}"
    for row in rows:
        figures = [*spread(row.values).values(), row.must, row.aim]
        shown = ("" if figure is None else f"{figure:.2f} {row.unit}" for figure in figures)
        yield f"{row.name:<32}{row.against:<22}{''.join(f'{one:>11}' for one in shown)}  {row.verdict}".rstrip()
