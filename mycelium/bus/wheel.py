"""Who is to be looked at when, for many of whom few are due: nobody is looked at before his time."""

from math import ceil
from typing import Generic, TypeVar, final

__all__ = ["Wheel"]

T = TypeVar("T")


@final
class Wheel(Generic[T]):
    """Slots of time, each with those who are due by its end.

    Args:
        step: Seconds of a slot.
        now: Seconds of a monotonic clock.
    """

    def __init__(self, step: float, now: float) -> None:
        self._step = step
        self._turned = int(now / step)
        """The newest slot that was emptied."""
        self._slots: dict[int, list[T]] = {}

    def __repr__(self) -> str:
        return f"<Wheel with {sum(map(len, self._slots.values()))} waiting>"

    def put(self, one: T, when: float) -> None:
        """Have somebody be due at a time, or soon after it."""
        slot = max(ceil(when / self._step), self._turned + 1)
        self._slots.setdefault(slot, []).append(one)

    def due(self, now: float) -> list[T]:
        """Those whose time has come; they have to be put in again, if they are to be."""
        last = int(now / self._step)
        found: list[T] = []
        for slot in (
            range(self._turned + 1, last + 1) if last - self._turned < len(self._slots) else sorted(self._slots)
        ):
            if slot <= last:
                found += self._slots.pop(slot, ())
        self._turned = max(last, self._turned)
        return found
