"""Work that goes on by itself: the event loop alone would let go of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, final

from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Tasks"]

_log = Log("mycelium.bus")


@final
class Tasks:
    """Tasks that somebody has started and is to end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Tasks, {len(self._running)} running>"

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it done; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Cancel what is still running, and wait until it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log(Line.FAULT, caused_by=error, problem="work that nobody waited for has failed")
