"""What became of the messages of a subscription."""

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["SubscriptionStats"]


@frozen
class SubscriptionStats:
    """Counters of one subscription; at every quiet moment matched = delivered + dropped + queued + in flight."""

    matched: int = 0
    """Messages that fitted the subscription when the bus routed them."""
    delivered: int = 0
    """Messages that the handler is done with, or the iterator gave out."""
    dropped: Mapping[str, int] = field(factory=dict)
    """By reason, as the wire protocol names it."""
    queued: int = 0
    in_flight: int = 0
    """Messages inside a handler, or sent ahead to a client that has not given them back."""

    @property
    def balanced(self) -> bool:
        """Whether every message is accounted for."""
        return self.matched == self.delivered + sum(self.dropped.values()) + self.queued + self.in_flight
