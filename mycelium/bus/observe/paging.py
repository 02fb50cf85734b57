"""Which part of a long list is asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

from attrs import frozen

from mycelium.bus.errors import UsageError

__all__ = ["MOST_ROWS", "Json", "Page", "chosen"]

MOST_ROWS: Final = 1000
_ROWS: Final = 100
Json: TypeAlias = dict[str, Any]
"""A JSON object."""


@frozen
class Page:
    """A part of a list.

    Attributes:
        offset: Rows before it.
        limit: Rows of it, at the most.
    """

    offset: int = 0
    limit: int = _ROWS

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """What `?offset=…&limit=…` asks for.

        Raises:
            UsageError: One is no number, or makes no sense.
        """
        return cls(_number(query, "offset", 0, 0, None), _number(query, "limit", _ROWS, 1, MOST_ROWS))

    def cut(self, name: str, rows: Sequence[Any], describe: Callable[[Any], Json]) -> Json:
        """The part of a list with its place in it.

        Args:
            name: What the rows are called.
            rows: All of them.
            describe: Makes a JSON object of one.
        """
        part = rows[self.offset : self.offset + self.limit]
        return {"total": len(rows), "offset": self.offset, "limit": self.limit, name: [describe(one) for one in part]}


def chosen(query: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """One of several words of a query, by default the first.

    Raises:
        UsageError: It is another one.
    """
    word = query.get(name, choices[0])
    if word not in choices:
        raise UsageError(f"{name}={word!r} is none of {', '.join(choices)}")
    return word


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int | None) -> int:
    text = query.get(name)
    if text is None:
        return default
    limits = f"from {least} on" if most is None else f"from {least} to {most}"
    if not (text.isascii() and text.isdecimal()) or not least <= (number := int(text[:19])) <= (most or number):
        raise UsageError(f"{name}={text[:40]!r} is no number {limits}")
    return number
