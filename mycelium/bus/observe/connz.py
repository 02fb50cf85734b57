"""`/connz`: who is connected, and who was."""

from collections.abc import Mapping
from operator import attrgetter

from mycelium.bus.hub import Closed
from mycelium.bus.moments import rfc3339
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.paging import Json, Page, chosen
from mycelium.bus.ranking import SORTS, describe

__all__ = ["connz"]


def connz(observed: Observed, query: Mapping[str, str]) -> Json:
    """Connections, by default those that lag most first; with `state=closed` those that are gone, the last one first.

    Raises:
        UsageError: The query makes no sense.
    """
    page = Page.of(query)
    if chosen(query, "state", ("open", "closed")) == "closed":
        gone = sorted((one for bridge in observed.bridges for one in bridge.closed), key=attrgetter("at"), reverse=True)
        return page.cut("connections", gone, _describe_closed)
    weigh = SORTS[chosen(query, "sort", tuple(SORTS))]
    ordered = sorted(observed.connections, key=lambda one: weigh(one.session), reverse=True)  # equal ones stay in order
    newest = observed.exchange.registry.schema
    return page.cut("connections", ordered, lambda one: describe(one, newest))


def _describe_closed(one: Closed) -> Json:
    return {
        "session": one.session,
        "client": one.client,
        "transport": one.transport,
        "state": "closed",
        "reason": one.reason,
        "closed_at": rfc3339(one.at),
        "received_messages": one.received,
    }
