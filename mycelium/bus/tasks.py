"""Work that goes on by itself: the event loop alone would let go of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, final

__all__ = ["Tasks"]


@final
class Tasks:
    """Tasks that somebody has started and is to end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Tasks, {len(self._running)} running>"

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it done; what it raises goes to the loop's exception handler when it is collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Cancel what is still running, and wait until it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
