"""Who waits for a message: first come, first served, and nobody takes a turn along who gives up."""

import asyncio
import contextlib
from collections import deque
from typing import final

__all__ = ["Waiters"]


@final
class Waiters:
    """Calls that wait for messages of one subscription.

    Attributes:
        waiting: What each of them waits for.
    """

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<Waiters, {len(self.waiting)}>"

    async def wait(self) -> None:
        """Wait to be woken; a call that is cancelled wakes the next one, if it has been woken itself."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self.wake()  # it was for a message that this call does not take any more
            raise
        finally:
            with contextlib.suppress(ValueError):
                self.waiting.remove(waiter)

    def wake(self, most: int = 1) -> None:
        """Wake one, or some; there may be nobody."""
        while most and self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                most -= 1
