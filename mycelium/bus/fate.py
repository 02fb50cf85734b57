"""What becomes of messages that are routed."""

from typing import NamedTuple, TypeAlias

from mycelium.bus.holds import Hold
from mycelium.bus.lag import DropReason

__all__ = ["Fate", "Trouble"]

Trouble: TypeAlias = DropReason | Hold


class Fate(NamedTuple):
    """What became of consecutive frames of a batch, all alike.

    Attributes:
        start: Index of the first one.
        stop: Index behind the last one.
        matched: Subscriptions that each of them fitted.
        troubles: Of those that have not taken it, what became of it.
    """

    start: int
    stop: int
    matched: int
    troubles: tuple[Trouble, ...] = ()
