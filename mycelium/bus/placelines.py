"""Lines of log that the clients of one place may cause, however often they connect anew."""

import math
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.heldlines import HeldLines

__all__ = ["PlaceLines"]

_FREE: Final = 20
"""In any second; beyond, there is one a second of each matter, which says how many were left out."""


@final
class PlaceLines:
    """By the origin of peers that were let in; this machine and this user are one place, too."""

    def __init__(self) -> None:
        self._by_origin: dict[str | None, HeldLines] = {}

    def __repr__(self) -> str:
        return f"<PlaceLines of {len(self._by_origin)} places>"

    def write(self, origin: str | None, matter: str, now: float, line: Callable[..., object], count: int = 1) -> bool:
        """Write a line, or hold it back; see `HeldLines.write`."""
        lines = self._by_origin.get(origin)
        if lines is None:
            lines = self._by_origin[origin] = HeldLines(_FREE)
        return lines.write(matter, now, line, count)

    def settle(self, now: float = math.inf) -> None:
        """Write what was held back, as `HeldLines.settle` does, and forget places of which there is nothing more."""
        for origin, lines in list(self._by_origin.items()):
            lines.settle(now)
            if lines.is_quiet(now):
                del self._by_origin[origin]
