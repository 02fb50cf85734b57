"""What all metrics of one scrape of a bus are made from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, final

from mycelium.bus.figures import Figures
from mycelium.bus.histogram import Histogram
from mycelium.bus.meter import UNKNOWN
from mycelium.bus.observe.family import Samples
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.subsz import Row, rows
from mycelium.bus.traffic import LOCAL, Traffic
from mycelium.schema.model import Schema

__all__ = ["MOST_MESSAGES", "OTHER", "Scrape", "labels_of"]

MOST_MESSAGES: Final = 200
"""Message types with series of their own."""
OTHER: Final = "_other"
"""The label of all others."""
_UNKNOWN: Final = "_unknown"


def labels_of(schema: Schema) -> Mapping[int, str]:
    """The label of each type id, which are not too many."""
    messages = enumerate(schema.messages.values())
    return {**{one.type_id: one.name if place < MOST_MESSAGES else OTHER for place, one in messages}, UNKNOWN: _UNKNOWN}


@final
class Scrape:
    """What all metrics of one scrape are made from, each part when it is first asked for.

    Args:
        observed: What is looked at.

    Attributes:
        observed: See above.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed

    def __repr__(self) -> str:
        return f"<Scrape of {self.observed!r}>"

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """The label of each type id; types that the contracts do not have any more are left out."""
        return labels_of(self.observed.exchange.registry.schema)

    @cached_property
    def figures(self) -> Figures:
        """What is counted by type."""
        return self.observed.figures

    @cached_property
    def rows(self) -> list[Row]:
        """All subscriptions."""
        return list(rows(self.observed))

    @cached_property
    def traffic(self) -> list[Traffic]:
        """What is counted of connections."""
        return list(self.observed.exchange.traffic.values())

    @cached_property
    def sockets(self) -> list[Traffic]:
        """The same without what happens in the process, which has none."""
        return [one for one in self.traffic if one.transport != LOCAL]

    def by_message(self, counts: Iterable[tuple[int, tuple[str, ...], float]]) -> Samples:
        """Figures with the label of their message first; types that share a label are added up.

        Args:
            counts: Type id, other labels, and the figure.
        """
        sums: Counter[tuple[str, ...]] = Counter()
        labels = self.labels
        for type_id, more, number in counts:
            label = labels.get(type_id)
            if label is not None:
                sums[(label, *more)] += number  # type: ignore[assignment]  # some are no whole numbers
        return sums.items()

    def histograms(self, found: Mapping[int, Histogram]) -> Iterator[tuple[tuple[str, ...], Histogram]]:
        """The same of histograms."""
        merged: dict[str, Histogram] = {}
        for type_id, one in found.items():
            label = self.labels.get(type_id)
            if label is not None:
                merged[label] = one.plus(merged[label]) if label in merged else one
        return (((label,), one) for label, one in merged.items())
