"""Requests that a session has published and got no reply to yet."""

from collections import OrderedDict
from typing import Final, final

__all__ = ["Asks"]

_MOST: Final = 65_536


@final
class Asks:
    """Correlation ids of one session; over the bound the oldest goes."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._open: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Asks, {len(self)} open>"

    def open(self, correlation: bytes) -> None:
        """A request was published."""
        self._open[correlation] = None
        self._open.move_to_end(correlation)
        if len(self._open) > self._most:
            self._open.popitem(last=False)

    def close(self, correlation: bytes) -> bool:
        """A reply came, or nobody is there to give one; whether it was waited for."""
        return self._open.pop(correlation, self) is None
