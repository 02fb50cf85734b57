"""Which wire subscription of a client carries which type, and on what terms; bookkeeping without I/O."""

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, final

from attrs import evolve, frozen

from mycelium.bus.errors import UsageError
from mycelium.bus.lag import Lag
from mycelium.bus.options import DEFAULT_WINDOW

__all__ = ["Interest", "WireOptions", "Wish"]

_AS_THERE_IS: Final[Mapping[str, Any]] = MappingProxyType({})


@frozen
class WireOptions:
    """Of a wire subscription.

    Attributes:
        window: Messages that the bridge sends ahead of the handlers.
        queue: Messages that wait at the bridge beyond that; None: as many as the bridge likes.
        on_lag: What happens when they are more; None: what the contract of each message says.
        no_echo: Whether the client's own messages are left out.
        group: Who shares the messages; None for nobody.
    """

    window: int = DEFAULT_WINDOW
    queue: int | None = None
    on_lag: Lag | None = None
    no_echo: bool = False
    group: str | None = None


@frozen
class Wish:
    """What the bridge has to be told: these types, and no others, belong to the subscription; none: it ends."""

    number: int
    type_ids: tuple[int, ...]
    options: WireOptions


@final
class Interest:
    """The wire subscriptions of a client; a type belongs to one at most.

    A change takes effect at the bridge when it answers. Until then frames of a type still come through the subscription
    that carried it before, and count against its credit.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._wanted: dict[int, int] = {}
        self._carried: dict[int, int] = {}
        self._options: dict[int, WireOptions] = {}

    def __repr__(self) -> str:
        return f"<Interest in {sorted(self._wanted)}>"

    def number_of(self, type_id: int) -> int | None:
        """The subscription that is to carry a type."""
        return self._wanted.get(type_id)

    def carrier_of(self, type_id: int) -> int | None:
        """The subscription through which a frame of the type comes now."""
        return self._carried.get(type_id) or self._wanted.get(type_id)

    def options_of(self, type_id: int) -> WireOptions | None:
        """The options of the subscription that is to carry a type."""
        number = self._wanted.get(type_id)
        return None if number is None else self._options[number]

    def types_of(self, number: int) -> tuple[int, ...]:
        """What a subscription is to carry."""
        return tuple(sorted(type_id for type_id, its in self._wanted.items() if its == number))

    def add(self, type_ids: Iterable[int], asked: Mapping[str, Any] = _AS_THERE_IS) -> Wish | None:
        """Carry these types from now on; None where all of them are carried already.

        Args:
            type_ids: The types.
            asked: Options by the names of `WireOptions`; those that are left out may be whatever they are.

        Raises:
            UsageError: One of them is carried already, and with other options than those that are given.
        """
        type_ids = sorted(set(type_ids))
        for type_id in type_ids:
            if type_id in self._wanted:
                _check_same(type_id, self._options[self._wanted[type_id]], asked)
        new = tuple(one for one in type_ids if one not in self._wanted)
        if not new:
            return None
        number = next(self._numbers)
        options = self._options[number] = evolve(WireOptions(), **asked)
        self._wanted.update(dict.fromkeys(new, number))
        return Wish(number, new, options)

    def again(self) -> list[Wish]:
        """What another bridge has to be told, to which nothing of before matters."""
        return [self.wish_of(number) for number in sorted(self._options)]

    def wish_of(self, number: int) -> Wish:
        """What the bridge has been told, or is to be told, of a subscription."""
        return Wish(number, self.types_of(number), self._options[number])

    def remove(self, type_ids: Iterable[int]) -> list[Wish]:
        """Carry these types no more."""
        numbers = {self._wanted.pop(one) for one in set(type_ids) & self._wanted.keys()}
        wishes = [Wish(number, self.types_of(number), self._options[number]) for number in sorted(numbers)]
        for wish in wishes:
            if not wish.type_ids:
                del self._options[wish.number]
        return wishes

    def interrupt(self) -> set[int]:
        """The connection is gone; the types that it carried."""
        carried = set(self._carried)
        self._carried.clear()
        return carried

    def settle(self, wish: Wish) -> None:
        """The bridge has carried out a wish."""
        self._carried = {type_id: number for type_id, number in self._carried.items() if number != wish.number}
        self._carried.update(dict.fromkeys(wish.type_ids, wish.number))


def _check_same(type_id: int, options: WireOptions, asked: Mapping[str, Any]) -> None:
    for name, given in asked.items():
        have = getattr(options, name)
        if given != have:
            raise UsageError(
                f"type id {type_id} is subscribed already, with {name}={_shown(have)}; a client has one {name} for "
                "each type, so use the same here, or another client"
            )


def _shown(value: object) -> str:
    """An option's value as a caller writes it."""
    return repr(value.word if isinstance(value, Lag) else value)
