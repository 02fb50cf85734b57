"""What a client has published and received, in figures."""

from attrs import frozen

from mycelium.bus.stats import SubscriptionStats

__all__ = ["ClientStats"]


@frozen
class ClientStats(SubscriptionStats):
    """The sums over all subscriptions of a client, those that have ended included, and what else it has counted.

    Everything is counted over all its connections.
    """

    published: int = 0
    """Messages that `publish` and its like have taken."""
    buffered: int = 0
    """Those that wait in the send buffer."""
    buffered_bytes: int = 0
    """Their bytes."""
    expired: int = 0
    """Those that waited there for over 30 s, or, with `buffer=0`, when the connection ended; an event tells of them."""
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
