"""Connections as people look at them: those that matter most first, and never more than were asked for."""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from mycelium.bus.moments import rfc3339
from mycelium.bus.session import Session
from mycelium.bus.transport import SessionProtocol
from mycelium.schema.model import Schema

__all__ = ["MOST_ROWS", "SORTS", "describe", "ranked"]

MOST_ROWS: Final = 1000
"""Connections in one answer."""
_AT_ONCE: Final = 500
"""Connections that are weighed before others get their turn: with 10,000 of them it takes longer than a message may
wait."""
Weight: TypeAlias = tuple[int, ...]


def _lag(session: Session) -> Weight:
    """First those with a queue that was full, then by what they have still to handle."""
    slow, behind = False, 0
    for one in session.subscriptions:
        slow |= one.outbox.is_slow
        behind += one.load
    return slow, behind


SORTS: Final[Mapping[str, Callable[[Session], Weight]]] = {
    "lag": _lag,
    "session": lambda session: (-session.number,),
    "dropped": lambda session: (sum(one.outbox.losses.by_reason.total() for one in session.subscriptions),),
    "received": lambda session: (session.intake.received,),
    "sent": lambda session: (session.outgoing.messages,),
}
"""By what connections are sorted, to what one weighs; the heaviest come first."""


async def ranked(connections: Sequence[SessionProtocol], sort: str, limit: int, newest: Schema) -> list[dict[str, Any]]:
    """Rows of the heaviest open connections; other work of the loop is done meanwhile.

    Args:
        connections: All of them.
        sort: One of `SORTS`.
        limit: How many rows.
        newest: The contracts in force.
    """
    weigh = SORTS[sort]
    first: list[tuple[Weight, int, SessionProtocol]] = []
    for start in range(0, len(connections), _AT_ONCE):
        some = (one for one in connections[start : start + _AT_ONCE] if one.session.is_open)
        first = heapq.nlargest(limit, [*first, *((weigh(one.session), -one.session.number, one) for one in some)])
        await asyncio.sleep(0)
    return [describe(one, newest) for _, _, one in first if one.session.is_open]


def describe(connection: SessionProtocol, newest: Schema) -> dict[str, Any]:
    """What is said of one connection, as a JSON object.

    Args:
        connection: See above.
        newest: The contracts in force.
    """
    session = connection.session
    schema = session.terms.contracts or newest
    age = max(asyncio.get_running_loop().time() - session.began, 0.0)
    return {
        "session": session.number,
        "client": session.client,
        "transport": session.traffic.transport,
        "peer": session.peer.place,
        "principal": session.identity.shown,
        "state": _state(session),
        "connected_at": rfc3339(time.time() - age),
        "connected_seconds": round(age, 3),
        "contracts": {"version": schema.version, "digest": schema.digest, "follows": session.terms.follows},
        "received_messages": session.intake.received,
        "refused_messages": session.intake.refused,
        "sent_messages": session.outgoing.messages,
        "received_bytes": connection.received_bytes,
        "sent_bytes": session.outgoing.written,
        "unsent_bytes": connection.unsent,
        **_sums(session),
    }


def _state(session: Session) -> str:
    if session.is_over:
        return "closing"
    return "open" if session.is_open else "handshake"


def _sums(session: Session) -> dict[str, Any]:
    """What its subscriptions have to do."""
    outboxes = [one.outbox for one in session.subscriptions]
    queued, out = sum(one.queued for one in outboxes), sum(one.out for one in outboxes)
    dropped: Counter[str] = Counter()
    for one in outboxes:
        dropped.update(one.losses.by_reason)
    return {
        "subscriptions": len(outboxes),
        "lag_messages": queued + out,
        "queued_messages": queued,
        "queued_bytes": sum(one.queued_bytes for one in outboxes),
        "capacity_messages": sum(one.limit for one in outboxes),
        "in_flight_messages": out,
        "dropped": dict(dropped),
        "slow": any(one.is_slow for one in outboxes),
    }
