"""Requests that a session has published and got no reply to yet."""

from collections import Counter, OrderedDict
from enum import Enum
from typing import Final, final

__all__ = ["Asked", "Asks"]

_MOST: Final = 65_536
_MOST_ANSWERED: Final = 4_096
"""Answered ones that are remembered: a second reply to them is no lie."""


class Asked(Enum):
    """What is known of a correlation id for which a reply comes."""

    OPEN = "open"
    """It was asked with, and has got no reply yet."""
    ANSWERED = "answered"
    """Somebody was faster."""
    NEVER = "never"
    """Nobody has asked, or so long ago that it is forgotten."""


@final
class Asks:
    """Correlation ids of one session; over a bound the oldest goes.

    Args:
        most: Open ones.
        most_answered: Answered ones.
        outcomes: Where it is counted what became of requests, by the type of the request: `replied`, `no_responders`,
            or `timeout` for one that got nothing as long as it was remembered.
    """

    def __init__(
        self,
        most: int = _MOST,
        most_answered: int = _MOST_ANSWERED,
        outcomes: "Counter[tuple[int, str]] | None" = None,
    ) -> None:
        self._most = most
        self._most_answered = most_answered
        self._outcomes = Counter() if outcomes is None else outcomes
        self._open: OrderedDict[bytes, int | None] = OrderedDict()
        """With the type; None where it has been counted what became of it, although a reply may come."""
        self._answered: OrderedDict[bytes, int | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Asks, {len(self)} open>"

    def open(self, correlation: bytes, type_id: int) -> None:
        """A request was published."""
        self._answered.pop(correlation, None)
        self._open.pop(correlation, None)
        self._open[correlation] = type_id
        if len(self._open) > self._most:
            self._count(self._open.popitem(last=False)[1], "timeout")

    def close(self, correlation: bytes, outcome: str = "replied") -> Asked:
        """A reply came, or nobody is there to give one; what is known of the request."""
        if correlation in self._open:
            self._count(self._open.pop(correlation), outcome)
            self._answered[correlation] = None
            if len(self._answered) > self._most_answered:
                self._answered.popitem(last=False)
            return _OPEN
        return Asked.ANSWERED if correlation in self._answered else Asked.NEVER

    def give_up(self, correlation: bytes) -> None:
        """Nobody waits for the reply any more; one that comes all the same is late."""
        if correlation in self._open:
            self._count(self._open[correlation], "timeout")
            self._open[correlation] = None

    def end(self) -> None:
        """Nobody waits for any reply any more."""
        for type_id in self._open.values():
            self._count(type_id, "timeout")
        self._open.clear()

    def _count(self, type_id: int | None, outcome: str) -> None:
        if type_id is not None:
            self._outcomes[type_id, outcome] += 1


_OPEN: Final = Asked.OPEN
