"""Last values: the newest message, per key, of contracts that say `retain: last`, for whoever subscribes later."""

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final, TypeAlias, final

from attrs import frozen

from mycelium.bus.ledger import Ledger
from mycelium.bus.snapshot import Snapshot
from mycelium.bus.table import Table
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.wire.codec import Codec

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
        codec_of: What reads a type by the newest contracts; None where nobody looks into the values.
        most_keys: Values that are kept.
        most_bytes: Bytes of their frames.
    """

    def __init__(
        self,
        ledger: Ledger,
        codec_of: "Callable[[int], Codec | None]" = lambda _: None,
        *,
        most_keys: int = _MOST_KEYS,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self.bytes = 0
        self._ledger = ledger
        self._codec_of = codec_of
        self._most_keys = most_keys
        self._most_bytes = most_bytes
        self._slots: OrderedDict[Slot, None] = OrderedDict()
        self._tables: dict[int, Table] = {}
        """By type: who subscribes looks at no other."""
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._slots)

    def __repr__(self) -> str:
        return f"<Retained, {len(self)} values, {self.bytes} bytes>"

    def keep(self, slot: Slot, value: LastValue) -> None:
        """Remember the newest value of a type and key."""
        if slot in self._slots:
            self._forget(slot)
        type_id, key = slot
        table = self._tables.get(type_id)
        if table is None:
            table = self._tables[type_id] = Table(self._ledger, self._codec_of(type_id))
        table.put(key, next(self._numbers), value)
        self._slots[slot] = None
        self.bytes += value.frame.size
        while len(self._slots) > self._most_keys or (self.bytes > self._most_bytes and len(self._slots) > 1):
            self._forget(next(iter(self._slots)))

    def counts(self) -> Counter[int]:
        """How many of each type there are."""
        return Counter({type_id: len(table) for type_id, table in self._tables.items()})

    def of(self, wants: Callable[[int], bool]) -> list[Snapshot]:
        """The last values of each type that somebody wants, as far as the newest contracts can read them."""
        wanted = [(table, type_id) for type_id, table in self._tables.items() if wants(type_id)]
        made = (table.snapshot(next(self._numbers), self._codec_of(type_id)) for table, type_id in wanted)
        return [snapshot for snapshot in made if snapshot is not None]

    def _forget(self, slot: Slot) -> None:
        type_id, key = slot
        del self._slots[slot]
        table = self._tables[type_id]
        self.bytes -= table.remove(key, next(self._numbers))
        if not table:
            del self._tables[type_id]
