"""What the newest generation says of each message beyond its bytes: lag policy, key, and whether it is retained."""

from collections.abc import Hashable
from typing import final

from mycelium.bus.keys import key_of, lag_of
from mycelium.bus.lag import Lag
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec

__all__ = ["Catalog"]


@final
class Catalog:
    """Of one registry.

    Attributes:
        registry: See above.
        retained: Type ids whose last values are kept.
        policies: Type id to lag policy, where the contract names another one than `drop_oldest`.
    """

    def __init__(self, registry: Registry[Codec]) -> None:
        self.registry = registry
        models = registry.schema.messages.values()
        self.retained = frozenset(one.type_id for one in models if one.retain is not None)
        policies = {one.type_id: lag_of(one) for one in models}
        self.policies = {type_id: lag for type_id, lag in policies.items() if lag is not Lag.DROP_OLDEST}

    def __repr__(self) -> str:
        return f"<Catalog, {len(self.policies)} policies, {len(self.retained)} types retained>"

    def slot(self, type_id: int, payload: bytes) -> Hashable:
        """By what a newer message stands in for an older one: its type and key."""
        entry = self.registry.by_id[type_id]
        return type_id, key_of(entry.codec.decode(payload)) if entry.message.key else ()

    def name(self, type_id: int) -> str:
        """The name of a message, for people."""
        entry = self.registry.by_id.get(type_id)
        return str(type_id) if entry is None else entry.message.name
