"""A process of the benchmark as it sees itself: it says that it is ready, is told to go, and reports.

Facts are JSON objects, a line each on standard output; words come as lines on standard input. When that ends, so does
the process.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import resource
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mycelium.bench.spec import Spec

__all__ = ["Role", "await_end", "await_go", "perform", "report", "until_end", "until_go"]

Role = Callable[[Spec], Awaitable[None] | None]
"""What a process does; a function without `async` for contenders that do not use asyncio."""


def report(**facts: Any) -> None:
    """Tell whoever started this process."""
    print(json.dumps(facts), flush=True)  # noqa: T201  that is how they talk


def until_go() -> None:
    """Say that everything is set up, and wait for the word.

    Raises:
        SystemExit: It never came: whoever started this process is gone.
    """
    gc.collect()
    report(ready=True)
    if not sys.stdin.readline():
        raise SystemExit


def until_end() -> None:
    """Wait until this process may end."""
    while sys.stdin.readline():
        pass


async def await_go() -> None:
    """The same, while the event loop goes on."""
    gc.collect()
    report(ready=True)
    await _next_line()


async def await_end() -> None:
    """Wait until this process may end."""
    while await _next_line():
        pass


async def _next_line() -> str:
    """A line of standard input; a daemon thread reads it, which can be left behind when the process is interrupted."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def settle(line: str) -> None:
        if not found.done():
            found.set_result(line)

    def read() -> None:
        line = sys.stdin.readline()
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, line)

    threading.Thread(target=read, daemon=True).start()
    return await found


def perform(roles: Mapping[str, Role]) -> None:
    """Do what the command line says."""
    spec = Spec.from_json(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    role = roles[spec.role]
    if not asyncio.iscoroutinefunction(role):
        role(spec)
        return
    factory = importlib.import_module("uvloop").new_event_loop if spec.uvloop else None
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(role(spec))
