"""How fast the bus is on this machine: messages through real processes and sockets, and inside one process.

    python tools/bench_bus.py [--rounds 5] [--messages 100000] [--json] [ROW…]

Each row is measured in rounds that alternate with the other rows', and printed as median, minimum and maximum. What
runs is what a user writes: `await client.publish(message)`, a bridge by `bus.serve`, a handler. Every process is one of
this script, started with `--role`.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mycelium

CONTRACTS = Path(__file__).parent.parent / "contracts.yaml"
BURST = 4096
"""Messages between two barriers, which the bridge answers: fewer than a queue holds, so that little is dropped."""


def message_of(contracts: mycelium.Contracts, kind: str, number: int) -> mycelium.Message:
    """A message with values that change."""
    if kind == "text":
        made: mycelium.Message = contracts.TextMessage(sender="bench", content=f"message {number}", timestamp=number)
        return made
    counter: mycelium.Message = contracts.CounterUpdate(counter_id=number, value=number % 1000, delta=-1)
    return counter


# --- the processes ---


async def serve(args: argparse.Namespace) -> None:
    """A bridge, until standard input ends."""
    bus = mycelium.MessageBus(CONTRACTS)
    async with bus.serve(args.url) as bridge:
        print(bridge.urls[0], flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def subscribe(args: argparse.Namespace) -> None:
    """Count what comes until a Ping says that it was all; print how many came, and in how many seconds."""
    async with mycelium.connect(args.url, CONTRACTS) as client:
        types = client.types
        done = asyncio.Event()
        seen, first = 0, 0.0

        def take(message: mycelium.Message) -> None:
            nonlocal seen, first
            if not seen:
                first = time.perf_counter()
            if isinstance(message, types.Ping):
                done.set()
            else:
                seen += 1

        await client.subscribe(take, types.CounterUpdate, types.TextMessage, types.Ping)
        print("ready", flush=True)
        await done.wait()
        print(seen, time.perf_counter() - first, flush=True)


async def publish(args: argparse.Namespace) -> None:
    """Publish as fast as the bridge takes it without dropping."""
    async with mycelium.connect(args.url, CONTRACTS) as client:
        for number in range(args.messages):
            await client.publish(message_of(client.types, args.kind, number))
            if number % BURST == BURST - 1:
                await client.flush()
        await client.publish(client.types.Ping("that was all"))
        await client.flush()


# --- the rows ---


@contextlib.contextmanager
def role(name: str, args: argparse.Namespace, url: str, kind: str = "counter") -> Iterator[subprocess.Popen[str]]:
    """A process of this script."""
    command = [sys.executable, __file__, "--role", name, "--url", url, "--kind", kind, "--messages", str(args.messages)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def line(process: subprocess.Popen[str]) -> str:
    """What a process says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def through_a_bridge(args: argparse.Namespace, scheme: str, kind: str) -> float:
    """Messages a second from a publisher process through a bridge process to a subscriber process."""
    with tempfile.TemporaryDirectory() as folder:
        listen = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{folder}/bench.sock"
        with role("serve", args, listen) as bridge:
            url = line(bridge)
            with role("subscribe", args, url) as subscriber:
                line(subscriber)
                with role("publish", args, url, kind):
                    seen, seconds = line(subscriber).split()
    if int(seen) < args.messages:
        print(f"{args.messages - int(seen)} of {args.messages} were dropped: the subscriber is slower", file=sys.stderr)
    return int(seen) / float(seconds)


def in_process(args: argparse.Namespace) -> float:
    """`publish_nowait` to one sync handler, messages a second."""
    contracts = mycelium.load(CONTRACTS)
    bus = mycelium.MessageBus(contracts)
    seen: list[mycelium.Message] = []
    asyncio.run(bus.subscribe(seen.append, contracts.CounterUpdate)).stats()
    messages = [message_of(contracts, "counter", number) for number in range(args.messages)]
    start = time.perf_counter()
    for message in messages:
        bus.publish_nowait(message)
    seconds = time.perf_counter() - start
    assert len(seen) == args.messages
    return float(args.messages / seconds)


async def _round_trips(args: argparse.Namespace, url: str) -> list[float]:
    async with mycelium.connect(url, CONTRACTS) as client:
        times = []
        for _ in range(min(args.messages, 2000)):
            start = time.perf_counter()
            await client.flush()
            times.append(time.perf_counter() - start)
    return times


def round_trip(args: argparse.Namespace) -> float:
    """Median microseconds of a Ping and its Pong over TCP."""
    with role("serve", args, "tcp://127.0.0.1:0") as bridge:
        return statistics.median(asyncio.run(_round_trips(args, line(bridge)))) * 1e6


Row = tuple[str, str, Callable[[argparse.Namespace], float]]
ROWS: list[Row] = [
    ("tcp-counter", "msg/s", lambda args: through_a_bridge(args, "tcp", "counter")),
    ("unix-counter", "msg/s", lambda args: through_a_bridge(args, "unix", "counter")),
    ("tcp-text", "msg/s", lambda args: through_a_bridge(args, "tcp", "text")),
    ("in-process", "msg/s", in_process),
    ("tcp-round-trip", "us", round_trip),
]
ROLES = {"serve": serve, "subscribe": subscribe, "publish": publish}


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every chosen row, round by round."""
    chosen = [row for row in ROWS if not args.rows or row[0] in args.rows]
    figures: dict[str, list[float]] = {name: [] for name, _, _ in chosen}
    for _ in range(args.rounds):
        for name, _, run in chosen:
            figures[name].append(run(args))
    return [
        {"row": name, "unit": unit, "median": statistics.median(each), "min": min(each), "max": max(each)}
        for name, unit, _ in chosen
        for each in [figures[name]]
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "rows", metavar="ROW", nargs="*", help=f"of {', '.join(name for name, _, _ in ROWS)} (default all)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="counter", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.rows) - {name for name, _, _ in ROWS}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}")
    if args.role:
        asyncio.run(ROLES[args.role](args))
        return
    measured = measure(args)
    if args.json:
        print(json.dumps({"python": sys.version.split()[0], "messages": args.messages, "rows": measured}))
        return
    print(f"{'row':<16}{'median':>12}{'min':>12}{'max':>12}  unit")
    for row in measured:
        print(f"{row['row']:<16}{row['median']:>12,.0f}{row['min']:>12,.0f}{row['max']:>12,.0f}  {row['unit']}")


if __name__ == "__main__":
    main()
