"""Which types the bridge takes no more of for now (wire protocol, Flow)."""

from collections.abc import Iterable
from typing import final

__all__ = ["FlowGate"]


@final
class FlowGate:
    """Paused types of one connection.

    A pause of everything, for want of memory, and those of single types, whose subscribers are full, know nothing of
    each other: a type that was paused by its name goes on by its name.

    Attributes:
        is_shut: Whether anything is paused.
    """

    def __init__(self) -> None:
        self.is_shut = self._all = False
        self._types: set[int] = set()

    def __repr__(self) -> str:
        return f"<FlowGate, {'all' if self._all else sorted(self._types)} paused>"

    def apply(self, type_ids: Iterable[int], *, paused: bool) -> None:
        """What the bridge said; no type ids stand for all."""
        types = set(type_ids)
        if types:
            self._types = self._types | types if paused else self._types - types
        else:
            self._all = paused
        self.is_shut = self._all or bool(self._types)

    def holds(self, type_id: int) -> bool:
        """Whether messages of the type have to wait."""
        return self._all or type_id in self._types

    def clear(self) -> None:
        """The connection is gone, and what it said with it."""
        self.is_shut = self._all = False
        self._types.clear()
