"""Last values: the newest message, per key, of contracts that say `retain: last`, for whoever subscribes later."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Final, TypeAlias, final

from attrs import frozen

from mycelium.bus.ledger import Ledger
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch

__all__ = ["LastValue", "Retained"]

Slot: TypeAlias = tuple[int, Hashable]
"""A type, and a key."""
_MOST_KEYS: Final = 65_536
_MOST_BYTES: Final = 64 * 1024 * 1024


@frozen(eq=False)
class LastValue:
    """The newest message of a type and key.

    Attributes:
        type_id: Its type.
        frame: A batch of one, without the metadata of a request.
        message: The message itself, where it was published in this process.
    """

    type_id: int
    frame: Batch
    message: Message | None = None


@final
class Retained:
    """Type and key -> the last value. Over its bounds the one that was written longest ago goes first.

    Args:
        ledger: Where the bytes are counted.
        most_keys: Values that are kept.
        most_bytes: Bytes of their frames.
    """

    def __init__(self, ledger: Ledger, most_keys: int = _MOST_KEYS, most_bytes: int = _MOST_BYTES) -> None:
        self.bytes = 0
        self._ledger = ledger
        self._most_keys = most_keys
        self._most_bytes = most_bytes
        self._values: OrderedDict[Slot, LastValue] = OrderedDict()
        self._of_type: dict[int, dict[Slot, int]] = {}
        """Type -> its slots in the order of writing, which the numbers say: who subscribes looks at no other type."""
        self._written = 0

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Retained, {len(self)} values, {self.bytes} bytes>"

    def keep(self, slot: Slot, value: LastValue) -> None:
        """Remember the newest value of a type and key."""
        self._forget(slot)
        self._values[slot] = value
        self._written += 1
        self._of_type.setdefault(value.type_id, {})[slot] = self._written
        self.bytes += value.frame.size
        self._ledger.hold(value.frame.data)
        while len(self._values) > self._most_keys or (self.bytes > self._most_bytes and len(self._values) > 1):
            self._forget(next(iter(self._values)))

    def counts(self) -> Counter[int]:
        """How many of each type there are."""
        return Counter({type_id: len(slots) for type_id, slots in self._of_type.items()})

    def of(self, wants: Callable[[int], bool]) -> Iterator[LastValue]:
        """The last values of types that somebody wants, the one that was written longest ago first."""
        wanted = [slots.items() for type_id, slots in self._of_type.items() if wants(type_id)]
        return (self._values[slot] for slot, _ in merge(*wanted, key=itemgetter(1)))

    def _forget(self, slot: Slot) -> None:
        value = self._values.pop(slot, None)
        if value is not None:
            slots = self._of_type[value.type_id]
            del slots[slot]
            if not slots:
                del self._of_type[value.type_id]
            self.bytes -= value.frame.size
            self._ledger.release(value.frame.data)
