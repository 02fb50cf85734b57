"""A process of the benchmark as it sees itself: it says that it is ready, is told to go, and reports.

Facts are JSON objects, a line each on standard output; words come as lines on standard input. When that ends, so does
the process.
"""

import asyncio
import contextlib
import gc
import importlib
import inspect
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from mycelium.bench.spec import Spec

__all__ = ["Role", "await_end", "await_go", "perform", "report", "until_end", "until_go"]

_GO: Final[Future[None]] = Future()
_END: Final[Future[None]] = Future()
_GRACE_SECONDS: Final = 0.3
"""For an orderly end."""
Role = Callable[[Spec], Awaitable[None] | None]
"""What a process does; a function without `async` for contenders that do not use asyncio."""


def report(**facts: Any) -> None:
    """Tell whoever started this process."""
    print(json.dumps(facts), flush=True)  # noqa: T201  that is how they talk


def until_go() -> None:
    """Say that everything is set up, and wait for the word."""
    gc.collect()
    report(ready=True)
    _GO.result()


def until_end() -> None:
    """Wait until this process may end."""
    _END.result()


async def await_go() -> None:
    """What `until_go` does, while the event loop goes on."""
    gc.collect()
    report(ready=True)
    await asyncio.wrap_future(_GO)


async def await_end() -> None:
    """What `until_end` does, while the event loop goes on."""
    await asyncio.wrap_future(_END)


def _listen() -> None:
    """Hear the word and the end; nobody outlives whoever started it by much, whatever it is doing."""
    if sys.stdin.readline():
        _GO.set_result(None)
        sys.stdin.read()
    _END.set_result(None)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def perform(roles: Mapping[str, Role]) -> None:
    """Do what the command line says."""
    spec = Spec.from_json(sys.argv[1])
    threading.Thread(target=_listen, daemon=True).start()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    role = roles[spec.role]
    if not inspect.iscoroutinefunction(role):
        role(spec)
        return
    factory = importlib.import_module("uvloop").new_event_loop if spec.uvloop else None
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(role(spec))
