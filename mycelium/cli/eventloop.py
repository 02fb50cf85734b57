"""The event loop that the command runs on: uvloop where it is installed, else asyncio's own."""

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from mycelium.bus.errors import UsageError

__all__ = ["event_loop", "run_on"]

LOOPS: Final = ("auto", "asyncio", "uvloop")
"""`auto` is uvloop where it is installed."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def event_loop(text: str) -> str:
    """One of `LOOPS`."""
    if text not in LOOPS:
        raise argparse.ArgumentTypeError(f"{text!r} is no event loop; take one of {', '.join(LOOPS)}")
    return text


def run_on(choice: str, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """What `asyncio.run` does, on the loop of that name.

    Raises:
        UsageError: uvloop is asked for and not installed.
    """
    with _same_signals(), asyncio.Runner(loop_factory=_factory(choice)) as runner:
        return runner.run(work())


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Handle signals after the block as before: uvloop leaves handlers of its own, and they reach nobody any more."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # it was not set from Python
                signal.signal(number, handler)


def _factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if choice == "uvloop" and not is_installed:
        raise UsageError("uvloop is not installed; `pip install 'mycelium-py[speed]'`, or leave out --loop")
    if choice == "asyncio" or not is_installed:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
