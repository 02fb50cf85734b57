"""Sessions of a bridge that have something to write: each writes once a turn of the loop, however much comes in it."""

import asyncio
from collections.abc import Callable
from typing import final

__all__ = ["Flushes"]


@final
class Flushes:
    """What is to be called when this turn of the loop is over.

    What a single small chunk has led to is written at once (`hurry`), so that a request need not wait for the turn's
    end; whatever else comes in the turn is gathered.
    """

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._is_scheduled = self._has_hurried = False

    def __repr__(self) -> str:
        return f"<Flushes, {len(self._waiting)} waiting>"

    def add(self, flush: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Have a function called on the loop; it must not raise."""
        self._waiting.append(flush)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._end_turn)

    def hurry(self) -> None:
        """Call them now, but not twice in a turn."""
        if self._waiting and not self._has_hurried:
            self._has_hurried = True
            self._flush()

    def _end_turn(self) -> None:
        self._is_scheduled = self._has_hurried = False
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flush in waiting:
            flush()
