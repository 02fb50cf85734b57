"""Which wire subscription of a client carries which type; bookkeeping without I/O."""

import itertools
from collections.abc import Callable, Iterable
from typing import final

from attrs import frozen

__all__ = ["Credit", "Interest", "Wish"]


@frozen
class Wish:
    """What the bridge has to be told: these types, and no others, belong to the subscription; none: it ends."""

    number: int
    type_ids: tuple[int, ...]


@final
class Credit:
    """Counts what handlers are done with, and gives it back to the bridge in batches of a quarter window.

    Args:
        window: Messages that the bridge sends ahead of the handlers.
        give: Tells the bridge.
    """

    def __init__(self, window: int, give: Callable[[int], None]) -> None:
        self.window = window
        self._batch = max(1, window // 4)
        self._give = give
        self._done = 0

    def one(self) -> None:
        """A message is done with."""
        self._done += 1
        if self._done >= self._batch:
            done, self._done = self._done, 0
            self._give(done)


@final
class Interest:
    """The wire subscriptions of a connection; a type belongs to one at most."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._number_of: dict[int, int] = {}

    def number_of(self, type_id: int) -> int | None:
        """The subscription that carries a type."""
        return self._number_of.get(type_id)

    def add(self, type_ids: Iterable[int]) -> Wish | None:
        """Carry these types from now on; None where all of them are carried already."""
        new = tuple(sorted(one for one in type_ids if one not in self._number_of))
        if not new:
            return None
        number = next(self._numbers)
        self._number_of.update(dict.fromkeys(new, number))
        return Wish(number, new)

    def remove(self, type_ids: Iterable[int]) -> list[Wish]:
        """Carry these types no more."""
        numbers = {self._number_of.pop(one) for one in set(type_ids) & self._number_of.keys()}
        return [Wish(number, self._types_of(number)) for number in sorted(numbers)]

    def _types_of(self, number: int) -> tuple[int, ...]:
        return tuple(sorted(type_id for type_id, its in self._number_of.items() if its == number))
