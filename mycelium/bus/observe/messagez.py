"""`/messagez`: what is counted of each message."""

from collections.abc import Mapping

from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.paging import Json, Page

__all__ = ["messagez"]


def messagez(observed: Observed, query: Mapping[str, str]) -> Json:
    """Messages of the contracts in file order, with what was counted since somebody looks.

    Raises:
        UsageError: The query makes no sense.
    """
    page, models = Page.of(query), list(observed.exchange.registry.schema.messages.values())
    return page.cut("messages", models, observed.figures.row)
