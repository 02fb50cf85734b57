"""Subscriptions that share their messages: of those with the same group, one gets each message."""

import itertools
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, final

__all__ = ["Groups", "Member", "Turns"]


class Member(Protocol):
    """A subscription of a group, here or behind a socket."""

    @property
    def load(self) -> int:
        """Messages that it has still to handle."""

    @property
    def group(self) -> str | None:
        """The group's name; None for none."""

    def wants(self, type_id: int) -> bool:
        """Whether a message of the type fits."""


T = TypeVar("T", bound=Member)


@final
class Turns(Generic[T]):
    """The members of one group that want one type. The next is who has least to do; among equals they take turns.

    Args:
        members: At least one.
        first: Whose turn it is at first.

    Attributes:
        members: See above.
    """

    def __init__(self, members: tuple[T, ...], first: int = 0) -> None:
        self.members = members
        self._next = first % len(members)

    def __repr__(self) -> str:
        return f"<Turns of {len(self.members)}>"

    def any(self, skip: Callable[[T], bool]) -> bool:
        """Whether somebody would be picked."""
        return not all(map(skip, self.members))

    def pick(self, skip: Callable[[T], bool] | None = None) -> T | None:
        """Whose turn it is; None where all are to be skipped."""
        members = self.members
        order: list[int] = [*range(self._next, len(members)), *range(self._next)]
        if skip is not None:
            order = [index for index in order if not skip(members[index])]
        if not order:
            return None
        chosen = min(order, key=lambda index: members[index].load)
        self._next = (chosen + 1) % len(members)
        return members[chosen]


@final
class Groups(Generic[T]):
    """The grouped subscriptions of a bus, or of a client.

    Args:
        on_change: Called when a turn may be another's.

    Attributes:
        members: Of each group by its name, in the order in which they came.
    """

    def __init__(self, on_change: Callable[[], object] = lambda: None) -> None:
        self._on_change = on_change
        self.members: dict[str, dict[T, None]] = {}
        self._turns: dict[int, tuple[Turns[T], ...]] = {}
        self._firsts = itertools.count()

    def __repr__(self) -> str:
        return f"<Groups {sorted(self.members)}>"

    def __bool__(self) -> bool:
        return bool(self.members)

    def add(self, member: T) -> None:
        """From now on it has its turns."""
        self.members.setdefault(member.group or "", {})[member] = None
        self.changed()

    def remove(self, member: T) -> None:
        """From now on it has none."""
        members = self.members.get(member.group or "", {})
        members.pop(member, None)
        if not members:
            self.members.pop(member.group or "", None)
        self.changed()

    def changed(self) -> None:
        """Somebody wants other types than before."""
        self._turns.clear()
        self._on_change()

    def of(self, type_id: int) -> tuple[Turns[T], ...]:
        """The turns of each group that has members for a type."""
        turns = self._turns.get(type_id)
        if turns is None:
            wanting = (tuple(one for one in members if one.wants(type_id)) for members in self.members.values())
            first = next(self._firsts)  # whoever comes or goes, nobody is always the first
            turns = self._turns[type_id] = tuple(Turns(members, first) for members in wanting if members)
        return turns
