"""An open loop: messages are due by the clock, whether or not the earlier ones have gone out.

The event loop's own timers are a millisecond coarse, which would hide what is measured. A thread that sleeps wakes the
loop instead, some tens of microseconds after the time.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

__all__ = ["SLOT_NANOSECONDS", "slots"]

SLOT_NANOSECONDS: Final = 1_000_000


@contextlib.contextmanager
def _ticking(start: int, count: int, tick: asyncio.Event) -> Iterator[None]:
    """Set an event at the beginning of each slot."""
    loop, stopped = asyncio.get_running_loop(), threading.Event()

    def run() -> None:
        for slot in range(count):
            wait = start + slot * SLOT_NANOSECONDS - time.monotonic_ns()
            if wait > 0:
                time.sleep(wait / 1e9)
                if stopped.is_set():
                    return
                loop.call_soon_threadsafe(tick.set)
        loop.call_soon_threadsafe(tick.set)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


async def slots(messages: int, rate: int) -> AsyncIterator[tuple[int, range]]:
    """When messages are due, and the numbers of those that are: each slot as soon as it has begun, none before.

    Args:
        messages: How many in all.
        rate: Messages a second.
    """
    each = max(1, rate * SLOT_NANOSECONDS // 1_000_000_000)
    count = -(-messages // each)
    start = time.monotonic_ns() + SLOT_NANOSECONDS
    tick = asyncio.Event()
    with _ticking(start, count, tick):
        for slot in range(count):
            due = start + slot * SLOT_NANOSECONDS
            while time.monotonic_ns() < due:
                tick.clear()
                await tick.wait()
            yield due, range(slot * each, min(messages, (slot + 1) * each))
