"""What a client has published and received, in figures."""

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from mycelium.bus.stats import SubscriptionStats

__all__ = ["ClientStats", "total"]


@frozen
class ClientStats:
    """Counters of a client over all its connections."""

    published: int = 0
    """Messages that `publish` and its like have taken."""
    buffered: int = 0
    """Those that wait in the send buffer."""
    buffered_bytes: int = 0
    """Their bytes."""
    expired: int = 0
    """Those that waited there for over 30 s, or, with `buffer=0`, when the connection ended."""
    refused: int = 0
    """Those that the bridge refused and nobody waited for a receipt of."""
    unconfirmed: int = 0
    """Those whose receipts are waited for."""
    late_replies: int = 0
    """Replies that nobody waited for any more."""
    reconnects: int = 0
    """Connections after the first."""
    skipped: int = 0
    """Messages of the bridge that could not be read."""
    matched: int = 0
    """Messages for subscriptions of this client, those that ended included, and those that were dropped."""
    delivered: int = 0
    """Messages that handlers are done with, or iterators gave out."""
    dropped: Mapping[str, int] = field(factory=dict)
    """By reason, as the wire protocol names it."""
    queued: int = 0
    in_flight: int = 0
    """Messages inside handlers."""


def total(stats: Iterable[SubscriptionStats]) -> SubscriptionStats:
    """The sums over several subscriptions."""
    matched = delivered = queued = in_flight = 0
    dropped: Counter[str] = Counter()
    for one in stats:
        matched += one.matched
        delivered += one.delivered
        queued += one.queued
        in_flight += one.in_flight
        dropped.update(one.dropped)
    return SubscriptionStats(matched, delivered, dict(dropped), queued, in_flight)
