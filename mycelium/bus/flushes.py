"""Sessions of a bridge that have something to write: each writes once a turn of the loop, however much comes in it."""

import asyncio
import math
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol, final

__all__ = ["Flushes"]

_APART: Final = 50e-6
"""Seconds between small chunks that are written at once; what comes closer together is worth one write."""


class Writer(Protocol):
    """Who has something to write."""

    loop: asyncio.AbstractEventLoop

    def flush(self, now: float) -> None:
        """Write it; it must not raise."""


@final
class Flushes:
    """Who writes when this turn of the loop is over.

    What a small chunk has led to that comes alone is written at once (`hurry`), so that a request need not wait for the
    turn's end; nor is there anything left to do then at that end. Where the chunk is a single frame its first message
    for each writer passes by all queues (`pass_by`). What comes close behind others is gathered.

    Args:
        clock: Seconds of a monotonic clock, to the microsecond; uvloop's own goes by milliseconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: list[Writer] = []
        self._passed: set[Writer] = set()
        """Those that have written by themselves, and have to wait if there is more."""
        self._is_scheduled = self._is_hurrying = self._is_frame = False
        self._hurried_at = self._began = -math.inf

    def __repr__(self) -> str:
        return f"<Flushes, {len(self._waiting)} waiting>"

    def add(self, writer: Writer) -> None:
        """Have somebody write."""
        self._waiting.append(writer)
        if not (self._is_scheduled or self._is_hurrying):
            self._is_scheduled = True
            writer.loop.call_soon(self._end_turn, writer.loop)

    def begin(self, *, is_frame: bool) -> None:
        """A small chunk came, and `hurry` is called when it has been dealt with.

        Args:
            is_frame: Whether it is one whole frame.
        """
        self._began = self._clock()
        self._is_hurrying = not self._is_scheduled and self._began - self._hurried_at >= _APART
        self._is_frame = is_frame and self._is_hurrying

    def pass_by(self, writer: Writer) -> bool:
        """Whether somebody who has nothing else to write may write one message by himself, since it came alone."""
        if not self._is_frame or writer in self._passed:
            return False
        self._passed.add(writer)
        return True

    def hurry(self, now: float) -> None:
        """Have everybody write now, if the chunk has come alone.

        Args:
            now: Seconds of the loop's clock.
        """
        if self._is_hurrying:
            self._is_hurrying = self._is_frame = False
            if self._passed:
                self._hurried_at = self._began
                self._passed.clear()
            if self._waiting:
                self._hurried_at = self._began
                self._flush(now)

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        self._flush(loop.time())

    def _flush(self, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            writer.flush(now)
