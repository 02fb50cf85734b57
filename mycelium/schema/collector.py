"""Python's cycle collector, and when it had better rest."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused(*, when: bool) -> Iterator[None]:
    """Lets the cycle collector rest while something large is built that has no cycles.

    It would walk over the growing tree again and again and find nothing, which is a third of the time to load a large
    contracts file. Two threads here at once only end the pause of one of them early.

    Args:
        when: Whether what is built is large enough to care.
    """
    pause = when and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()
