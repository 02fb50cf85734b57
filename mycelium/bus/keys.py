"""By what one message stands in for another: its type, and the fields that its contract names as `key`."""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Final

from mycelium.bus.lag import Lag
from mycelium.schema.classes import Message, frozen_value
from mycelium.schema.model import Message as Model

__all__ = ["key_of", "lag_of"]

_POLICIES: Final[Mapping[str | None, Lag]] = MappingProxyType({None: Lag.DROP_OLDEST, **{one.word: one for one in Lag}})


def key_of(message: Message) -> Hashable:
    """The values of the key's fields; an empty tuple for a message whose contract names none."""
    names = message.__mycelium__.message.key
    return tuple([frozen_value(getattr(message, name)) for name in names])


def lag_of(model: Model) -> Lag:
    """The lag policy of a message where the subscription has none of its own."""
    return _POLICIES[model.on_lag]
