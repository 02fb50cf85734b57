"""A send buffer that is full: what is raised, and what is logged of it."""

import time
from typing import final

from mycelium.bus.budget import LogLimit
from mycelium.bus.errors import BufferFull
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Overflow"]

_log = Log("mycelium.client")


@final
class Overflow:
    """Of one client."""

    def __init__(self) -> None:
        self._lines = LogLimit()

    def __repr__(self) -> str:
        return f"<Overflow, {self._lines!r}>"

    def error(self, messages: int, problem: str) -> BufferFull:
        """What is raised where a message has no room; the log has a line a second of it.

        Args:
            messages: How many wait.
            problem: What is the matter, and what to do.
        """
        held = self._lines.admit(Line.CLIENT_BUFFER_FULL.event, time.monotonic())
        if held is not None:
            _log(Line.CLIENT_BUFFER_FULL, reason=problem, queue_messages=messages, suppressed=held)
        return BufferFull(problem)
