"""A metric as data: its name, what it means, and where its figures come from."""

from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeAlias, TypeVar

from attrs import frozen

from mycelium.bus.histogram import Histogram

__all__ = ["Family", "Kind", "Samples", "Value"]

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Value: TypeAlias = float | Histogram
Samples: TypeAlias = Iterable[tuple[tuple[str, ...], Value]]
"""Values of labels, and a figure."""
S = TypeVar("S")


@frozen
class Family(Generic[S]):
    """One metric.

    Attributes:
        name: As it is written; that of a counter ends in `_total`.
        kind: See above.
        help: One line.
        labels: Their names.
        samples: Its figures, from what a scrape is made from.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: Callable[[S], Samples]
