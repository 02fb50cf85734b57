"""`/connz`: who is connected, and who was."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from mycelium.bus.hub import Closed
from mycelium.bus.observe.moments import rfc3339
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.paging import Json, Page, chosen
from mycelium.bus.session import Session
from mycelium.bus.transport import SessionProtocol

__all__ = ["connz"]


def _queued(one: SessionProtocol) -> int:
    return sum(each.outbox.queued for each in one.session.subscriptions)


def _dropped(one: SessionProtocol) -> int:
    return sum(each.outbox.losses.by_reason.total() for each in one.session.subscriptions)


_SORTS: Final[Mapping[str, Callable[[SessionProtocol], int]]] = {
    "lag": lambda one: -_queued(one),
    "session": attrgetter("session.number"),
    "dropped": lambda one: -_dropped(one),
    "received": lambda one: -one.session.intake.received,
    "sent": lambda one: -one.session.outgoing.messages,
}
"""By what connections are sorted; the first where nobody says."""


def connz(observed: Observed, query: Mapping[str, str]) -> Json:
    """Connections, by default those that lag most first; with `state=closed` those that are gone, the last one first.

    Raises:
        UsageError: The query makes no sense.
    """
    page = Page.of(query)
    if chosen(query, "state", ("open", "closed")) == "closed":
        gone = sorted((one for bridge in observed.bridges for one in bridge.closed), key=attrgetter("at"), reverse=True)
        return page.cut("connections", gone, _describe_closed)
    ordered = sorted(observed.connections, key=_SORTS[chosen(query, "sort", tuple(_SORTS))])
    version = observed.exchange.registry.schema
    now, clock = time.time(), asyncio.get_running_loop().time()

    def describe(one: SessionProtocol) -> Json:
        session = one.session
        schema = session.terms.contracts or version
        age = max(clock - session.began, 0.0)
        return {
            "session": session.number,
            "client": session.client,
            "transport": session.traffic.transport,
            "peer": one.peer,
            "state": _state(session),
            "connected_at": rfc3339(now - age),
            "connected_seconds": round(age, 3),
            "contracts": {"version": schema.version, "digest": schema.digest, "follows": session.terms.follows},
            "received_messages": session.intake.received,
            "refused_messages": session.intake.refused,
            "sent_messages": session.outgoing.messages,
            "received_bytes": one.received_bytes,
            "sent_bytes": session.outgoing.written,
            "unsent_bytes": one.unsent,
            **_sums(session),
        }

    return page.cut("connections", ordered, describe)


def _state(session: Session) -> str:
    if session.is_over:
        return "closing"
    return "open" if session.is_open else "handshake"


def _sums(session: Session) -> Json:
    """What its subscriptions have to do."""
    outboxes = [one.outbox for one in session.subscriptions]
    dropped: Counter[str] = Counter()
    for one in outboxes:
        dropped.update(one.losses.by_reason)
    return {
        "subscriptions": len(outboxes),
        "queued_messages": sum(one.queued for one in outboxes),
        "queued_bytes": sum(one.queued_bytes for one in outboxes),
        "in_flight_messages": sum(one.out for one in outboxes),
        "dropped": dict(dropped),
        "slow": any(one.is_slow for one in outboxes),
    }


def _describe_closed(one: Closed) -> dict[str, Any]:
    return {
        "session": one.session,
        "client": one.client,
        "transport": one.transport,
        "state": "closed",
        "reason": one.reason,
        "closed_at": rfc3339(one.at),
        "received_messages": one.received,
    }
