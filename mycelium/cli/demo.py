"""`mycelium demo`: a bridge, a publisher and a subscriber as three processes, and a view of what flows.

The command starts itself three times with `--role`; each role says what it does as one JSON object a line on its
standard output, and ends when its standard input does.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from attrs import define, field

from mycelium.cli.options import Commands, duration, new_command
from mycelium.cli.stdin import lines

__all__ = ["add_parser"]

_RATE: Final = 1000
"""Messages a second: lively, and far from what a machine can do."""
_REPORT_SECONDS: Final = 0.2
_SETTLE_SECONDS: Final = 5.0
"""How long the last messages may take to arrive."""


def add_parser(commands: Commands) -> None:
    """`demo`."""
    parser = new_command(
        commands,
        "demo",
        "Start a bridge, a publisher and a subscriber as separate processes on a free port, watch "
        "what flows between them, and sum up. Exit code 0 only if nothing was lost.",
        "mycelium demo --duration 10s",
    )
    parser.add_argument("--duration", type=duration, default=5.0, metavar="S", help="how long to publish (default 5s)")
    parser.add_argument("--role", choices=sorted(_ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo, or one of its processes."""
    role = _ROLES.get(args.role, _direct)
    return asyncio.run(role(args))


# --- the three processes ---------------------------------------------------------------------------------------------


def _report(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


async def _end_of_input() -> None:
    """Wait until whoever started this process closes its standard input, or is gone."""
    async for _ in lines():
        pass


async def _serve(_: argparse.Namespace) -> int:
    from mycelium.bus.bus import MessageBus
    from mycelium.examples import example_contracts

    bus = MessageBus(example_contracts())
    async with bus.serve("tcp://127.0.0.1:0", name="demo") as bridge:
        _report(url=bridge.urls[0])
        await _end_of_input()
    return 0


async def _publish(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.examples import example_contracts

    client = MyceliumClient(example_contracts(), name="demo publisher", stamp=True)
    await client.connect(args.url)
    types = client.types
    start, sent = time.perf_counter(), 0
    async with client:
        while (elapsed := time.perf_counter() - start) < args.duration:
            while sent < elapsed * _RATE:
                await client.publish(_message(types, sent))
                sent += 1
            _report(sent=sent)
            await asyncio.sleep(0.01)
        await client.flush()
        _report(sent=sent, done=True)
        await _end_of_input()
    return 0


def _message(types: Any, number: int) -> Any:
    """Mostly counters, now and then a line of text, and a ping each second."""
    if number % _RATE == 0:
        return types.Ping(value=f"ping {number // _RATE}")
    if number % 10 == 0:
        return types.TextMessage(sender="demo", content=f"message {number}", timestamp=int(time.time()))
    return types.CounterUpdate(counter_id=number % 7, value=number, delta=1)


async def _subscribe(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.examples import example_contracts

    client = MyceliumClient(example_contracts(), name="demo subscriber")
    await client.connect(args.url)
    seen = _Seen()
    async with client:
        await client.subscribe(seen.take, *client.types)
        _report(ready=True)
        ended = asyncio.ensure_future(_end_of_input())
        while not ended.done():
            await asyncio.wait([ended], timeout=_REPORT_SECONDS)
            _report(**seen.report())
    _report(**seen.report(), percentiles=seen.percentiles())
    return 0


@define
class _Seen:
    """What the subscriber saw."""

    counts: Counter[str] = field(factory=Counter)
    last: dict[str, str] = field(factory=dict)
    latencies: list[int] = field(factory=list)

    def take(self, message: Any, delivery: Any) -> None:
        name = type(message).__name__
        self.counts[name] += 1
        self.last[name] = repr(message)
        self.latencies.append(time.time_ns() - delivery.published_at)

    def report(self) -> dict[str, Any]:
        return {"received": self.counts.total(), "counts": dict(self.counts), "last": self.last}

    def percentiles(self) -> dict[str, float]:
        """Milliseconds from publish to handler."""
        ordered = sorted(self.latencies) or [0]
        return {name: ordered[int(len(ordered) * share)] / 1e6 for name, share in (("p50", 0.5), ("p99", 0.99))}


# --- the view --------------------------------------------------------------------------------------------------------


@define
class _Facts:
    """What the processes said so far."""

    url: str = ""
    sent: int = 0
    received: int = 0
    done: bool = False
    ready: bool = False
    counts: dict[str, int] = field(factory=dict)
    last: dict[str, str] = field(factory=dict)
    percentiles: dict[str, float] = field(factory=dict)
    changed: asyncio.Event = field(factory=asyncio.Event)

    def take(self, facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            setattr(self, name, value)
        self.changed.set()

    async def until(self, holds: Callable[[], object], timeout: float, show: Callable[[], None] = lambda: None) -> bool:
        """Wait until a condition on the facts holds, calling `show` as they change; False if time ran out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not holds():
                    self.changed.clear()
                    await self.changed.wait()
                    show()
        return bool(holds())


class _Process:
    """One of the three, and the task that listens to it."""

    def __init__(self, process: asyncio.subprocess.Process, facts: _Facts) -> None:
        self._process = process
        self._listener = asyncio.ensure_future(self._listen(facts))

    async def _listen(self, facts: _Facts) -> None:
        assert self._process.stdout is not None  # noqa: S101  it was started with a pipe
        async for line in self._process.stdout:
            facts.take(json.loads(line))

    async def end(self) -> int:
        """Close its input, and wait until it has ended; killed after a while."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._listener
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()


@contextlib.asynccontextmanager
async def _started(facts: _Facts, role: str, *arguments: str) -> AsyncIterator[_Process]:
    command = [sys.executable, "-m", "mycelium", "demo", "--role", role, *arguments]
    pipe = asyncio.subprocess.PIPE
    # A session of its own: Ctrl-C is for the command, which ends its processes in order.
    made = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
    process = _Process(made, facts)
    try:
        yield process
    finally:
        await process.end()


async def _direct(args: argparse.Namespace) -> int:
    from mycelium.cli.failures import fail
    from mycelium.cli.view import summary, watching

    facts = _Facts()
    async with _started(facts, "bridge"):
        if not await facts.until(lambda: facts.url, _SETTLE_SECONDS * 2):
            return fail(1, "the bridge did not start", "", "`mycelium serve --listen tcp://127.0.0.1:0` shows why")
        async with _started(facts, "subscriber", "--url", facts.url) as subscriber:
            if not await facts.until(lambda: facts.ready, _SETTLE_SECONDS * 2):
                return fail(1, "the subscriber did not start")
            async with _started(facts, "publisher", "--url", facts.url, "--duration", f"{args.duration}s"):
                with watching(facts, args.duration) as show:
                    await facts.until(lambda: facts.done, args.duration + _SETTLE_SECONDS * 2, show)
                    await facts.until(lambda: facts.received >= facts.sent, _SETTLE_SECONDS, show)
            await subscriber.end()
    summary(facts)
    return 0 if facts.done and facts.sent == facts.received > 0 else 1


_ROLES: Final = {"bridge": _serve, "publisher": _publish, "subscriber": _subscribe}
