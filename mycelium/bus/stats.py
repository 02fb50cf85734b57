"""What became of messages: of one subscription, and of all that a bus has had."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import final

from attrs import field, frozen

__all__ = ["BusStats", "Calls", "Count", "Counts", "SubscriptionStats", "Totals"]


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


@frozen
class BusStats(SubscriptionStats):
    """The sums over all subscriptions of a bus, those that have ended included, and what else it has counted."""

    published: int = 0
    """Messages, those of socket clients included."""
    subscriptions: int = 0
    """That there are now, here and of socket clients."""
    sessions: int = 0
    """Socket clients that are connected now."""
    replies: int = 0
    """Answers to requests that were handed on; they pass no queue, and are counted apart."""
    replies_dropped: Mapping[str, int] = field(factory=dict)
    """Answers that were not, by reason: `late`, and `disconnected` where the requester is gone."""
    retained: int = 0
    """Last values that are kept."""
    memory_used: int = 0
    """Bytes that queues, unsent bytes and last values hold."""
    memory_limit: int = 0
    """The ceiling of that."""
    blocked_seconds: float = 0.0
    """How long publishers have waited under `block`, all together."""


@final
class Count:
    """One number that several count in."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def __repr__(self) -> str:
        return f"<Count: {self.number}>"


@final
class Calls:
    """How often plans have called one sync handler with messages of one type.

    Attributes:
        begun: So often.
        done: How many of these calls are over.
        settled: How many of those that have begun the bus has counted among all its messages, see `Planned`.
    """

    __slots__ = ("begun", "done", "settled")

    def __init__(self) -> None:
        self.begun = self.done = self.settled = 0

    def __repr__(self) -> str:
        return f"<Calls: {self.begun} begun, {self.done} done>"

    @property
    def inside(self) -> int:
        """1 while the handler is being called, else 0."""
        return self.begun - self.done

    @property
    def unsettled(self) -> int:
        """How many of those that have begun the bus has not counted otherwise."""
        return self.begun - self.settled


@final
class Counts:
    """What one subscription counts, and those who work for it.

    Attributes:
        matched: Messages that were offered to it while it took any.
        delivered: Those that it is done with.
        in_flight: Those that are inside its handler.
        calls: Messages that plans have called its sync handler with, by type id; the other attributes are without them.
        by_type: Where those that it is done with are counted by type id; None where nobody asks for it.
    """

    __slots__ = ("by_type", "calls", "delivered", "in_flight", "matched")

    def __init__(self) -> None:
        self.matched = self.delivered = self.in_flight = 0
        self.calls: defaultdict[int, Calls] = defaultdict(Calls)
        self.by_type: Counter[int] | None = None

    @property
    def sums(self) -> tuple[int, int, int]:
        """Messages that matched, were delivered, and are in flight, those of plans included."""
        begun = sum(one.begun for one in self.calls.values())
        inside = sum(one.inside for one in self.calls.values())
        return self.matched + begun, self.delivered + begun - inside, self.in_flight + inside

    @property
    def inside(self) -> int:
        """Messages that are in flight, those of plans included."""
        return self.sums[2] if self.calls else self.in_flight  # groups ask each member, whom no plan calls

    def handled(self, type_id: int) -> None:
        """The subscription is done with a message."""
        self.delivered += 1
        if self.by_type is not None:
            self.by_type[type_id] += 1

    def __repr__(self) -> str:
        matched, delivered, in_flight = self.sums
        return f"<Counts: {matched} matched, {delivered} delivered, {in_flight} in flight>"


@final
class Totals:
    """The sums over subscriptions that have ended."""

    def __init__(self) -> None:
        self._matched = self._delivered = 0
        self._dropped: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Totals of {self._matched} messages>"

    def add(self, stats: SubscriptionStats) -> None:
        """A subscription has ended; what still waited will not be handled."""
        self._matched += stats.matched
        self._delivered += stats.delivered
        self._dropped.update(stats.dropped)
        left = stats.queued + stats.in_flight
        if left:
            self._dropped["disconnected"] += left

    def with_live(self, live: Iterable[SubscriptionStats]) -> SubscriptionStats:
        """The sums with those of subscriptions that go on."""
        matched, delivered, dropped = self._matched, self._delivered, Counter(self._dropped)
        queued = in_flight = 0
        for one in live:
            matched += one.matched
            delivered += one.delivered
            queued += one.queued
            in_flight += one.in_flight
            dropped.update(one.dropped)
        return SubscriptionStats(matched, delivered, dict(dropped), queued, in_flight)
