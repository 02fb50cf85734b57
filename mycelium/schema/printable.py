"""Text from elsewhere, as it may be shown."""

from collections.abc import Iterable
from typing import Final

__all__ = ["for_people", "listed", "printable"]

_MOST_SHOWN: Final = 128
"""Characters of a peer's text that are repeated to people."""
_MOST_LISTED: Final = 10


def printable(text: str) -> str:
    """Text in which what cannot be seen, moves a cursor or ends a line is written as Python escapes it."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def for_people(text: str) -> str:
    """A peer's text, cut, and with nothing in it that could move a cursor."""
    return printable(text[:_MOST_SHOWN])


def listed(names: Iterable[str]) -> str:
    """Names, or the first few of them, in one line."""
    every = list(names)
    more = len(every) - _MOST_LISTED
    return ", ".join(every[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
