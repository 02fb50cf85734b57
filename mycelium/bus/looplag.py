"""How late the event loop comes to what is due."""

import asyncio
from typing import Final, final

from mycelium.bus.histogram import Histogram

__all__ = ["LoopLag"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@final
class LoopLag:
    """Of one loop.

    Attributes:
        seconds: How late it was.
    """

    def __init__(self) -> None:
        self.seconds = Histogram(_SECONDS)

    def __repr__(self) -> str:
        return f"<LoopLag, {len(self.seconds)} times looked at>"

    def look(self, timer: asyncio.TimerHandle | None, now: float) -> None:
        """A timer has fired just now; None for the first time, where there was none."""
        if timer is not None:
            self.seconds.observe(max(now - timer.when(), 0.0))
