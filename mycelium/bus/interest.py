"""Which wire subscription of a client carries which type, and how much it may be sent; bookkeeping without I/O."""

import itertools
from collections.abc import Callable, Iterable
from typing import Final, final

from attrs import frozen

from mycelium.bus.errors import UsageError

__all__ = ["DEFAULT_WINDOW", "Credit", "Interest", "Options", "Wish"]

DEFAULT_WINDOW: Final = 1024
"""Messages that the bridge sends ahead of the handlers."""


@frozen
class Options:
    """Of a wire subscription.

    Attributes:
        window: Messages that the bridge sends ahead of the handlers.
        queue: Messages that wait at the bridge beyond that; None: as many as the bridge likes.
    """

    window: int = DEFAULT_WINDOW
    queue: int | None = None


@frozen
class Wish:
    """What the bridge has to be told: these types, and no others, belong to the subscription; none: it ends."""

    number: int
    type_ids: tuple[int, ...]
    options: Options


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

    def __repr__(self) -> str:
        return f"<Credit of {self.window}, {self._done} to give back>"

    def one(self) -> None:
        """A message is done with."""
        self._done += 1
        if self._done >= self._batch:
            self.settle()

    def settle(self) -> None:
        """Give back what is left of a batch; to be called now and then."""
        if self._done:
            done, self._done = self._done, 0
            self._give(done)


@final
class Interest:
    """The wire subscriptions of a connection; a type belongs to one at most.

    A change takes effect at the bridge when it answers. Until then frames of a type still come through the subscription
    that carried it before, and count against its credit.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._wanted: dict[int, int] = {}
        self._carried: dict[int, int] = {}
        self._options: dict[int, Options] = {}

    def __repr__(self) -> str:
        return f"<Interest in {sorted(self._wanted)}>"

    def number_of(self, type_id: int) -> int | None:
        """The subscription that is to carry a type."""
        return self._wanted.get(type_id)

    def carrier_of(self, type_id: int) -> int | None:
        """The subscription through which a frame of the type comes now."""
        return self._carried.get(type_id) or self._wanted.get(type_id)

    def add(self, type_ids: Iterable[int], window: int | None = None, queue: int | None = None) -> Wish | None:
        """Carry these types from now on; None where all of them are carried already.

        Raises:
            UsageError: One of them is carried already, and with other options than those that are given.
        """
        type_ids = sorted(set(type_ids))
        for type_id in type_ids:
            if type_id in self._wanted:
                _check_same(type_id, self._options[self._wanted[type_id]], window, queue)
        new = tuple(one for one in type_ids if one not in self._wanted)
        if not new:
            return None
        number = next(self._numbers)
        options = self._options[number] = Options(DEFAULT_WINDOW if window is None else window, queue)
        self._wanted.update(dict.fromkeys(new, number))
        return Wish(number, new, options)

    def remove(self, type_ids: Iterable[int]) -> list[Wish]:
        """Carry these types no more."""
        numbers = {self._wanted.pop(one) for one in set(type_ids) & self._wanted.keys()}
        wishes = [Wish(number, self._types_of(number), self._options[number]) for number in sorted(numbers)]
        for wish in wishes:
            if not wish.type_ids:
                del self._options[wish.number]
        return wishes

    def settle(self, wish: Wish) -> None:
        """The bridge has carried out a wish."""
        self._carried = {type_id: number for type_id, number in self._carried.items() if number != wish.number}
        self._carried.update(dict.fromkeys(wish.type_ids, wish.number))

    def _types_of(self, number: int) -> tuple[int, ...]:
        return tuple(sorted(type_id for type_id, its in self._wanted.items() if its == number))


def _check_same(type_id: int, options: Options, window: int | None, queue: int | None) -> None:
    for name, given, have in (("window", window, options.window), ("queue", queue, options.queue)):
        if given is not None and given != have:
            raise UsageError(
                f"type id {type_id} is subscribed already, with {name}={have}; a client has one {name} for each type, "
                "so leave it out here or use the same"
            )
