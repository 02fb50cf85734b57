"""`/messagez`: what is counted of each message."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.paging import Json, Page
from mycelium.schema.model import Message

__all__ = ["messagez"]


def messagez(observed: Observed, query: Mapping[str, str]) -> Json:
    """Messages of the contracts in file order, with what was counted since somebody looks.

    Raises:
        UsageError: The query makes no sense.
    """
    figures = observed.figures
    received, delivered = figures.received_by_type(), figures.delivered_by_type()
    dropped: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for (type_id, _, reason), number in figures.dropped.items():
        dropped[type_id][reason] += number

    def describe(one: Message) -> Json:
        type_id = one.type_id
        return {
            "name": one.name,
            "type_id": type_id,
            "topic": one.topic,
            "subscriptions": figures.subscriptions(type_id),
            "received": received[type_id],
            "delivered": delivered[type_id],
            "dropped": dict(dropped[type_id]),
            "retained": figures.retained[type_id],
        }

    models = list(observed.exchange.registry.schema.messages.values())
    return Page.of(query).cut("messages", models, describe)
