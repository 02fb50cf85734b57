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
        must: The worst that will do.
        aim: What is hoped for.
    """

    name: str
    against: str
    unit: str
    values: Sequence[float]
    must: float
    aim: float

    @property
    def verdict(self) -> str:
        """aim, must or LOST, by the median."""
        sign = 1 if self.unit == "x" else -1
        value = statistics.median(self.values) * sign
        return "aim" if value >= self.aim * sign else "must" if value >= self.must * sign else "LOST"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        targets = {"must": round(self.must, 3), "aim": round(self.aim, 3), "verdict": self.verdict}
        return {"row": self.name, "against": self.against, "unit": self.unit, **spread(self.values), **targets}


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Lines for people."""
    yield f"{'':<32}{'against':<22}{'median':>10}{'min':>9}{'max':>9}{'must':>9}{'aim':>9}"
    for row in rows:
        figures = spread(row.values)
        shown = [figures["median"], figures["min"], figures["max"], row.must, row.aim]
        width = [10, 9, 9, 9, 9]
        columns = "".join(f"{f'{value:.2f}{row.unit}':>{room}}" for value, room in zip(shown, width, strict=True))
        yield f"{row.name:<32}{row.against:<22}{columns}  {row.verdict}"
