"""Work that takes long, beside the event loop."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

__all__ = ["aside"]

P = ParamSpec("P")
R = TypeVar("R")
_INTERVAL: Final = 0.0005
"""Seconds after which the interpreter is handed over, in place of Python's 5 ms: the loop asks for it often."""


class _Interval:
    """The interpreter's switch interval, short as long as somebody works beside a loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(_INTERVAL, self._usual))
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._usual)


_short_interval: Final = _Interval()


async def aside(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function in a thread, and let the loop have the interpreter whenever it wants it."""

    def run() -> R:
        with _short_interval:
            return work(*args, **kwargs)

    return await asyncio.to_thread(run)
