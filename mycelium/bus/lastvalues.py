"""The last message of each type and key that a client has got, for handlers that join a subscription later."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.keys import key_of
from mycelium.schema.classes import Message

__all__ = ["LastValues"]

_MOST_VALUES: Final = 65_536
_MOST_BYTES: Final = 64 * 1024 * 1024


@final
class LastValues:
    """Messages whose contract says `retain: last`, of types that are subscribed; the least recent goes first."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[int, Hashable], tuple[Message, Delivery, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<LastValues, {len(self)} of {self._size} bytes>"

    def put(self, message: Message, delivery: Delivery, size: int) -> None:
        """Remember a message.

        Args:
            message: The message.
            delivery: Its context.
            size: Bytes of its payload.
        """
        place = message.TYPE_ID, key_of(message)
        self._remove(place)
        self._values[place] = message, delivery.as_retained(), size
        self._size += size
        while len(self._values) > _MOST_VALUES or self._size > _MOST_BYTES:
            self._remove(next(iter(self._values)))

    def of(self, type_id: int) -> list[tuple[Message, Delivery]]:
        """What is known of a type, the oldest first."""
        return [(message, delivery) for (its, _), (message, delivery, _) in self._values.items() if its == type_id]

    def forget(self, type_id: int) -> None:
        """Nothing more comes of a type."""
        for place in [place for place in self._values if place[0] == type_id]:
            self._remove(place)

    def clear(self) -> None:
        """Nobody knows what has changed meanwhile."""
        self._values.clear()
        self._size = 0

    def _remove(self, place: tuple[int, Hashable]) -> None:
        gone = self._values.pop(place, None)
        if gone is not None:
            self._size -= gone[2]
