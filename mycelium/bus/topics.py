"""Which types a subscription is about: named classes, the annotation of a handler, or a topic."""

from mycelium.bus.errors import UsageError
from mycelium.bus.handlers import HandlerFunction, types_of
from mycelium.bus.subscription import LocalSubscription
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry
from mycelium.wire.codec import Codec

__all__ = ["chosen_types", "new_of_topic", "type_id_of"]


def chosen_types(
    contracts: Contracts, handler: HandlerFunction | None, types: tuple[type[Message], ...], topic: str | None
) -> frozenset[int]:
    """Type ids of a subscription.

    Raises:
        UsageError: Types and a topic are given, or neither; a type is none of these contracts'; no message has the
            topic.
    """
    if topic is not None:
        if types:
            raise UsageError("give message types or a topic, not both")
        return _topic_types(contracts, topic)
    if not types:
        if handler is None:
            raise UsageError("messages() needs a type or a topic; write messages(Pong)")
        types = types_of(handler, contracts)
    return frozenset(type_id_of(contracts, one) for one in types)


def new_of_topic(contracts: Contracts, subscription: LocalSubscription) -> frozenset[int]:
    """Type ids that have come to the topic of a subscription since it was made; none for one without a topic."""
    messages = contracts.schema.by_topic.get(subscription.topic or "", ())
    return frozenset(message.type_id for message in messages) - subscription.type_ids


def type_id_of(contracts: Contracts, cls: object) -> int:
    """The type id of a message class, which must be one of these contracts.

    Raises:
        UsageError: It is not.
    """
    if not (isinstance(cls, type) and issubclass(cls, Message) and cls is not Message):
        raise UsageError(f"{cls!r} is no message type; take one from the contracts")
    entry: Entry[Codec] = cls.__mycelium__  # type: ignore[assignment]  # what the codecs' registry has made
    if contracts.registry.by_id.get(entry.message.type_id) is not entry:
        raise UsageError(
            f"{cls.__name__} is not of {contracts!r}; take the type from the contracts that the bus was made with"
        )
    return entry.message.type_id


def _topic_types(contracts: Contracts, topic: str) -> frozenset[int]:
    messages = contracts.schema.by_topic.get(topic)
    if not messages:
        topics = ", ".join(sorted(contracts.schema.by_topic)) or "none"
        raise UsageError(f"no message has the topic {topic!r}; there are: {topics}")
    return frozenset(message.type_id for message in messages)
