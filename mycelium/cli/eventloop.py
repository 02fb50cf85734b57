"""The event loop that the command runs on: uvloop where it is installed, else asyncio's own."""

import argparse
import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mycelium.bus.errors import UsageError

__all__ = ["event_loop", "run_on"]

LOOPS: Final = ("auto", "asyncio", "uvloop")
"""`auto` is uvloop where it is installed."""


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
    with asyncio.Runner(loop_factory=_factory(choice)) as runner:
        return runner.run(work())


def _factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if choice == "uvloop" and not is_installed:
        raise UsageError("uvloop is not installed; `pip install 'mycelium-py[speed]'`, or leave out --loop")
    if choice == "asyncio" or not is_installed:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
