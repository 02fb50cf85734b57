"""By what one message stands in for another: its type, and the fields that its contract names as `key`."""

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from mycelium.bus.lag import Lag
from mycelium.schema.classes import Message, frozen_value
from mycelium.schema.model import Message as Model

__all__ = ["conflates", "key_of", "lag_of"]

_POLICIES: Final[Mapping[str | None, Lag]] = MappingProxyType({None: Lag.DROP_OLDEST, **{one.word: one for one in Lag}})


def key_of(message: Message) -> Hashable:
    """The values of the key's fields; an empty tuple for a message whose contract names none."""
    names = message.__mycelium__.message.key
    return tuple([frozen_value(getattr(message, name)) for name in names])


def lag_of(model: Model) -> Lag:
    """The lag policy of a message where the subscription has none of its own."""
    return _POLICIES[model.on_lag]


def conflates(messages: Iterable[Message], lag: Lag | None) -> bool:
    """Whether one of these messages may take the place of an older one.

    Args:
        messages: The messages.
        lag: The policy of the subscription; None where it has none of its own.
    """
    if lag is not None:
        return lag is Lag.LATEST
    classes: set[type[Message]] = set(map(type, messages))
    return any(lag_of(cls.__mycelium__.message) is Lag.LATEST for cls in classes)
