"""Handlers that hold the event loop up are named: nobody else can be served meanwhile."""

import logging
import time
from collections.abc import Awaitable, Generator
from typing import Any, Final, final

from mycelium.bus.budget import LogLimit

__all__ = ["HoldupWatch", "Watched"]

_log = logging.getLogger("mycelium.bus")
_HOLDUP_SECONDS: Final = 0.1
clock: Final = time.perf_counter


@final
class HoldupWatch:
    """Warns of one handler, once a second."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines = LogLimit()

    def __repr__(self) -> str:
        return f"<HoldupWatch of {self._name}>"

    def check(self, start: float) -> None:
        """To be called after each stretch of work with the `clock` at its beginning."""
        now = clock()
        if now - start >= _HOLDUP_SECONDS:
            held = self._lines.admit("", now)
            if held is not None:
                text = "handler %s held the event loop for %d ms; nothing else could run (use asyncio.to_thread there)"
                _log.warning(text, self._name, (now - start) * 1000)


@final
class Watched(Awaitable[Any]):
    """Awaits something, and looks at the clock around each step."""

    __slots__ = ("_inner", "_watch")

    def __init__(self, inner: Awaitable[Any], watch: HoldupWatch) -> None:
        self._inner = inner
        self._watch = watch

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._inner.__await__()
        check = self._watch.check
        step, value = steps.send, None
        while True:
            start = clock()
            try:
                waited_for = step(value)
            except StopIteration as end:
                return end.value
            finally:
                check(start)
            try:
                value, step = (yield waited_for), steps.send
            except BaseException as error:  # noqa: BLE001  it is for whatever is awaited, a cancellation above all
                value, step = error, steps.throw
