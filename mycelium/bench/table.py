"""Figures as people read them, in a terminal and in Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mycelium.bench.claims import UNITS, Verdict, figure_of
from mycelium.bench.figures import Figure, Results

__all__ = ["VERDICT_HEAD", "figure_lines", "figure_objects", "grid", "number", "verdict_cells"]

VERDICT_HEAD = ("row", "number", "mycelium", "peer", "its", "ratio", "min", "max", "must", "aim", "")


_WHOLE: Final = 100
"""From here on nobody wants to see a fraction."""


def number(value: float) -> str:
    """Three digits that matter, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


def _with_unit(figure: Figure) -> str:
    return f"{number(figure.median)} {figure.unit}".replace(" /", "/")


def verdict_cells(verdict: Verdict) -> tuple[str, ...]:
    """The cells of a verdict; losses are said with its word."""
    claim, ratio = verdict.claim, verdict.ratio
    lost = f", {verdict.lost:,.0f} lost" if verdict.lost else ""
    unit = f" {verdict.ours.unit}" if claim.is_absolute else "x"
    name = "" if claim.ours == "mycelium" else f" ({claim.ours})"
    return (
        claim.row,
        claim.number,
        f"{_with_unit(verdict.ours)}{name}",
        claim.peer,
        _with_unit(verdict.theirs),
        *(f"{value:.2f}x" for value in (ratio.median, ratio.low, ratio.high)),
        *("-" if value is None else f"{value:,g}{unit}" for value in (claim.must, claim.aim)),
        f"{verdict.word}{lost}",
    )


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: columns as wide as they need to be."""
    widths = [max(len(each[place]) for each in (head, *rows)) for place in range(len(head))]
    for cells in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _figures(results: Results) -> Iterator[tuple[str, str, str, Figure]]:
    """Row, contender, number and figure."""
    for row, runs in results.items():
        for name, rounds in runs.items():
            found = ((one, figure_of(rounds, one)) for one in UNITS)
            yield from ((row, name, one, figure) for one, figure in found if figure is not None)


def figure_lines(results: Results, row: str = "row", contender: str = "contender") -> Iterator[str]:
    """Every number of every contender: median, least and greatest; losses where there are any."""
    shown = [
        (*names, number(figure.median), number(figure.low), number(figure.high), figure.unit)
        for *names, figure in _figures(results)
        if names[-1] != "lost" or figure.high
    ]
    yield from grid((row, contender, "number", "median", "min", "max", "unit"), shown)


def figure_objects(results: Results, row: str = "row", contender: str = "contender") -> Iterator[dict[str, Any]]:
    """The same for JSON, with the figure of each round."""
    for place, name, one, figure in _figures(results):
        yield {row: place, contender: name, "number": one, **figure.to_plain(), "rounds": list(figure.values)}
