"""What idle connections cost a bridge process: memory and CPU with heartbeats on, and how fast they come and go.

    python tools/bench_bus.py connections            # 10,000 of them, plain, the bridge on uvloop where it is there
    python tools/bench_bus.py connections --transport tls --loop asyncio --count 2000 --seconds 30

A bridge (`mycelium serve`) and a holder are processes of their own. The holder's clients are the wire protocol's state
machine on bare sockets: each says Hello, subscribes, answers Pings and sends its own. First they come and go, some
hundreds at a time; then all of them stay. The figures are those of reliability, section 4.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from attrs import frozen

import mycelium
from mycelium.bench.machine import machine_facts
from mycelium.bench.process import Process, cpu_seconds, memory_bytes, started
from mycelium.bench.table import grid, number
from mycelium.bus.errors import BusError
from mycelium.bus.heartbeat import DEFAULT_HEARTBEAT_MS, Due, Heartbeat
from mycelium.bus.security.channel import Channel
from mycelium.bus.security.contexts import client_context
from mycelium.bus.urls import parse_url
from mycelium.bus.wheel import Wheel
from mycelium.handle import core_protocol
from mycelium.wire.connection import Connection
from mycelium.wire.state import Role

CONTRACTS: Final = Path(__file__).resolve().parent.parent / "contracts.yaml"
TOKEN: Final = "0123456789abcdef-bench"  # noqa: S105  of a bridge that lives for a minute
AT_ONCE: Final = 200
"""Connections that are on their way at a time."""
WARM_UP: Final = 2_000
"""Connections that come and go first: what a process allocates once, it has then."""
PROBES: Final = 200
"""Round trips while all the others are silent."""
SPARE_FILES: Final = 200
CLIENT_TICK_SECONDS: Final = 0.5
"""How often a client looks at its clock."""
KIB, MIB = 1024, 1024 * 1024
_SETTLE_SECONDS: Final = 3.0


# --- the process that holds the connections ---


class Held(asyncio.Protocol):
    """One client: in when its Ack came."""

    transport: asyncio.Transport

    def __init__(self, channel: Channel | None) -> None:
        self.core = core_protocol()
        self.connection = Connection(Role.CLIENT, self.core)
        self.channel = channel
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.said_hello = False
        self.heartbeat = Heartbeat(DEFAULT_HEARTBEAT_MS / 1000, asyncio.get_running_loop().time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.channel is None:
            self.hello()
        else:
            self.channel.start()
            self.transport.write(self.channel.take_output())

    def hello(self) -> None:
        """Say who this is."""
        self.said_hello = True
        self.say(self.core.Hello(protocol=1, client="held", token=TOKEN, heartbeat_ms=DEFAULT_HEARTBEAT_MS))

    def say(self, message: Any) -> None:
        """Send a core message."""
        self.heartbeat.said_at = asyncio.get_running_loop().time()
        data = self.connection.send(message)
        self.transport.write(data if self.channel is None else self.channel.send(data))

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.heartbeat.heard_at = asyncio.get_running_loop().time()
        if self.channel is not None:
            data = self.channel.receive_data(data)
            self.transport.write(self.channel.take_output())
            if self.channel.is_secure and not self.said_hello:
                self.hello()
        if data:
            self.connection.receive_data(data)
        while (event := self.connection.next_event()) is not None:
            self.answer(event)

    def answer(self, event: Any) -> None:
        """What one thing that came leads to."""
        match type(event).__name__:
            case "Welcome":
                self.say(self.core.Subscribe(request=1, subscription=1, type_ids=[1010], window=1024))
            case "Ack":
                self.ready.set_result(None)
            case "Ping":
                self.say(self.core.Pong(nonce=event.nonce))
            case "Error":
                print(f"the bridge says: {event.message}", file=sys.stderr)
            case _:
                pass

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is to be lost unnoticed."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the bridge closed it"))


async def come(url: str, ca: str, count: int) -> list[Held]:
    """Connect so many, some at a time."""
    address, loop = parse_url(url), asyncio.get_running_loop()
    context = client_context(Path(ca), None, None) if ca else None
    gate = asyncio.Semaphore(AT_ONCE)

    def make() -> Held:
        return Held(None if context is None else Channel(context, address.host))

    async def one() -> Held:
        async with gate:
            if address.scheme == "unix":
                _, made = await loop.create_unix_connection(make, address.path)
            else:
                _, made = await loop.create_connection(make, address.host, address.port)
            await made.ready
            return made

    return await asyncio.gather(*(one() for _ in range(count)))


async def beat(held: list[Held]) -> None:
    """Send a Ping on each connection that is quiet for too long, as clients do."""
    clock = asyncio.get_running_loop().time
    wheel: Wheel[Held] = Wheel(CLIENT_TICK_SECONDS, clock())
    for one in held:
        wheel.put(one, one.heartbeat.due_at)
    while True:
        await asyncio.sleep(CLIENT_TICK_SECONDS)
        for one in wheel.due(clock()):
            due = one.heartbeat.check(clock())
            assert due is not Due.DEAD, "the bridge is silent"
            if due is Due.PING:
                one.say(one.core.Ping(nonce=0))
            wheel.put(one, one.heartbeat.due_at)


async def hold(args: argparse.Namespace) -> None:
    """Connect, hold and leave whenever a line says so."""
    beating: asyncio.Task[None] | None = None
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, count = line.split()
        start = time.perf_counter()
        if word == "visit":
            for _ in range(0, int(count), AT_ONCE):
                for one in await come(args.url, args.ca, min(AT_ONCE, int(count))):
                    one.transport.close()
        else:
            held = await come(args.url, args.ca, int(count))
            beating = asyncio.create_task(beat(held))
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    if beating is not None:
        beating.cancel()


# --- the one that measures ---


@frozen
class Figure:
    """One line of the result; what must hold, and what is aimed at, where somebody has said so."""

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.must is None:
            return ""
        if self.value > self.must:
            return "MISSED"
        return "aim" if self.aim is not None and self.value <= self.aim else "holds"

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        limits = ("" if each is None else f"{number(each)} {self.unit}" for each in (self.must, self.aim))
        return self.name, f"{number(self.value)} {self.unit}", *limits, self.verdict


def certificates(folder: Path) -> tuple[str, str, str]:
    """An authority's file, and a certificate with its key for this machine."""
    import trustme  # of the dev extra

    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    paths = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(str(paths[0]))
    made.cert_chain_pems[0].write_to_path(str(paths[1]))
    made.private_key_pem.write_to_path(str(paths[2]))
    paths[2].chmod(0o600)
    ca, cert, key = map(str, paths)
    return ca, cert, key


def serving(args: argparse.Namespace, folder: Path) -> tuple[list[str], dict[str, str], str]:
    """The bridge's command, its environment, and the authority's file."""
    listen = {"tcp": "tcp://127.0.0.1:0", "tls": "tls://127.0.0.1:0", "unix": f"unix://{folder}/s"}[args.transport]
    words = ["python", "-m", "mycelium", "serve", str(CONTRACTS), "--listen", listen, "--loop", args.loop]
    words += ["--max-connections", str(args.count + SPARE_FILES), "--no-reload", "--http", "off"]
    ca = ""
    if args.transport == "tls":
        ca, cert, key = certificates(folder)
        words += ["--tls-cert", cert, "--tls-key", key]
    environment = {"MYCELIUM_TOKENS": f"bench: {TOKEN}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return words, environment, ca


async def probe(url: str, ca: str) -> list[float]:
    """Round trips of a client beside all the others, in seconds."""
    times = []
    async with mycelium.connect(url, from_bridge=True, token=TOKEN, tls_ca=ca or None) as client:
        for _ in range(PROBES):
            start = time.perf_counter()
            await client.flush()
            times.append(time.perf_counter() - start)
            await asyncio.sleep(0.01)
    return sorted(times)


def settled_memory(process: Process, seconds: float = _SETTLE_SECONDS) -> int:
    """Bytes, when what the last connection has caused is over."""
    time.sleep(seconds)
    found = memory_bytes(process)
    assert found is not None, "there is no /proc here"
    return found


def measure(args: argparse.Namespace) -> list[Figure]:
    """All figures."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        words, environment, ca = serving(args, folder)
        bridge = stack.enter_context(started("bridge", words, talks_on_stderr=True, env=environment, grace=0))
        url = bridge.line_with("listening on").split()[-1]
        bridge.ignore()
        command = ["python", __file__, "--hold", "--url", url, "--ca", ca]
        holder = stack.enter_context(started("holder", command, env=environment))
        holder.facts()

        def told(word: str, count: int) -> float:
            holder.say(f"{word} {count}")
            return float(holder.facts()["seconds"])

        told("visit", WARM_UP)
        empty = settled_memory(bridge)
        visited = told("visit", args.count)
        before = settled_memory(bridge)
        told("hold", args.count)
        after = settled_memory(bridge)
        spent, start = cpu_seconds([bridge]), time.monotonic()
        times = asyncio.run(probe(url, ca))
        time.sleep(max(args.seconds - (time.monotonic() - start), 0))
        share = ((cpu_seconds([bridge]) or 0) - (spent or 0)) / (time.monotonic() - start)
        held = asyncio.run(sessions(url, ca))
    must, aim = (64, 48) if args.transport == "tls" else (16, 8)
    return [
        Figure("connections held", held, ""),
        Figure("memory of one, with a subscription", (after - before) / args.count / KIB, "KiB", must, aim),
        Figure("CPU of all, heartbeats on", share * 100, "% of a core", 5, 2),
        Figure("connects and leaves a second", args.count / visited, ""),
        Figure("growth by that many", (before - empty) / MIB, "MiB", empty / MIB / 10, 2),
        Figure("round trip beside them, median", statistics.median(times) * 1000, "ms"),
        Figure("round trip beside them, p99", times[int(len(times) * 0.99)] * 1000, "ms", 100, 25),
    ]


async def sessions(url: str, ca: str) -> int:
    """How many connections the bridge has beside this one."""
    async with mycelium.connect(url, from_bridge=True, token=TOKEN, tls_ca=ca or None) as client:
        (info,) = await client.query("info")
    return int(info["sessions"]) - 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench_bus.py connections", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="connections (default 10,000)")
    parser.add_argument("--transport", choices=("tcp", "tls", "unix"), default="tcp", help="default tcp")
    parser.add_argument("--loop", choices=("auto", "asyncio", "uvloop"), default="auto", help="the bridge's")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they are held (default 30)")
    parser.add_argument("--json", action="store_true", help="figures for machines")
    for hidden in ("--url", "--ca"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < args.count + SPARE_FILES:
        parser.error(f"this process may open {hard} files (`ulimit -n`), {soft} of them now; take a smaller --count")
    return args


def main(arguments: list[str]) -> int:
    """Measure and print; 1 where a figure does not hold."""
    args = parse(arguments)
    if args.hold:
        asyncio.run(hold(args))
        return 0
    try:
        figures = measure(args)
    except (BusError, OSError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 1
    if args.json:
        rows = [{"name": one.name, "value": one.value, "unit": one.unit, "verdict": one.verdict} for one in figures]
        print(json.dumps({**machine_facts(), "count": args.count, "transport": args.transport, "figures": rows}))
    else:
        print(f"{args.count:,} connections, {args.transport}, loop {args.loop}, held for {args.seconds:g} s\n")
        for line in grid(("figure", "value", "must", "aim", ""), [one.cells() for one in figures]):
            print(line)
    return 1 if any(one.verdict == "MISSED" for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
