"""What a bus has counted by type, put together from the places where it is counted."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any, final

from mycelium.bus.exchange import Exchange
from mycelium.bus.meter import Meter
from mycelium.bus.traffic import LOCAL
from mycelium.schema.model import Message

__all__ = ["Figures"]


@final
class Figures:
    """Of one bus, as it stands now.

    Args:
        exchange: Where it routes messages.
        meter: What it counts by type.

    Attributes:
        received: Messages that came into the bus, by type id and transport.
        delivered: Those that a receiver is done with, once for each, by the same.
        dropped: Those that a receiver did not get, by type id, transport and reason.
        retained: Last values, by type id.
    """

    def __init__(self, exchange: Exchange, meter: Meter) -> None:
        self._exchange = exchange
        self.received: Counter[tuple[int, str]] = Counter()
        self.delivered: Counter[tuple[int, str]] = Counter()
        self.dropped: Counter[tuple[int, str, str]] = Counter()
        self.retained = exchange.retained.counts()
        for transport, tally in meter.tallies.items():
            self.received.update({(one, transport): number for one, number in tally.received.items()})
            self.delivered.update({(one, transport): number for one, number in tally.delivered.items()})
            self.dropped.update({(one, transport, why): number for (one, why), number in tally.dropped.items()})
        self.received.update(_local(exchange.planned.received))
        self.delivered.update(_local(exchange.planned.delivered))

    def __repr__(self) -> str:
        return f"<Figures of {self.received.total()} messages>"

    def received_by_type(self) -> Counter[int]:
        """Over all transports."""
        return _by_type(self.received)

    def delivered_by_type(self) -> Counter[int]:
        """The same of deliveries."""
        return _by_type(self.delivered)

    def subscriptions(self, type_id: int) -> int:
        """How many a message of the type fits, the members of groups included."""
        exchange = self._exchange
        turns = exchange.groups.of(type_id) if exchange.groups else ()
        grouped = sum(len(one.members) for one in turns)
        return len(exchange.dispatcher.takers(type_id)) + len(exchange.router.takers(type_id)) + grouped

    def row(self, message: Message) -> dict[str, Any]:
        """What is said of one type, as a JSON object."""
        type_id = message.type_id
        return {
            "name": message.name,
            "type_id": type_id,
            "topic": message.topic,
            "subscriptions": self.subscriptions(type_id),
            "received": self._sums[0][type_id],
            "delivered": self._sums[1][type_id],
            "dropped": dict(self._drops[type_id]),
            "retained": self.retained[type_id],
        }

    def busiest(self, messages: Iterable[Message], limit: int) -> list[Message]:
        """The types of which most has come and gone; among equals those that stand first."""
        received, delivered = self._sums
        return heapq.nsmallest(limit, messages, key=lambda one: -received[one.type_id] - delivered[one.type_id])

    @cached_property
    def _sums(self) -> tuple[Counter[int], Counter[int]]:
        return self.received_by_type(), self.delivered_by_type()

    @cached_property
    def _drops(self) -> defaultdict[int, Counter[str]]:
        """Type id to what was dropped, by reason."""
        drops: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for (type_id, _, reason), number in self.dropped.items():
            drops[type_id][reason] += number
        return drops


def _local(counts: Counter[int]) -> dict[tuple[int, str], int]:
    return {(type_id, LOCAL): number for type_id, number in counts.items()}


def _by_type(counts: Counter[tuple[int, str]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for (type_id, _), number in counts.items():
        found[type_id] += number
    return found
