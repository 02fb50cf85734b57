"""Requests that a session has published and got no reply to yet."""

from collections import OrderedDict
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
    """

    def __init__(self, most: int = _MOST, most_answered: int = _MOST_ANSWERED) -> None:
        self._most = most
        self._most_answered = most_answered
        self._open: OrderedDict[bytes, None] = OrderedDict()
        self._answered: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Asks, {len(self)} open>"

    def open(self, correlation: bytes) -> None:
        """A request was published."""
        if correlation in self._answered:
            del self._answered[correlation]
        _remember(self._open, correlation, self._most)

    def close(self, correlation: bytes) -> Asked:
        """A reply came, or nobody is there to give one; what is known of the request."""
        if correlation in self._open:
            del self._open[correlation]
            _remember(self._answered, correlation, self._most_answered)
            return _OPEN
        return Asked.ANSWERED if correlation in self._answered else Asked.NEVER


def _remember(known: "OrderedDict[bytes, None]", correlation: bytes, most: int) -> None:
    if correlation in known:
        known.move_to_end(correlation)
        return
    known[correlation] = None
    if len(known) > most:
        known.popitem(last=False)


_OPEN: Final = Asked.OPEN
