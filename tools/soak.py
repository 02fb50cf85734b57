"""Load and faults for some minutes, and an account of every message in the end.

    python tools/soak.py [--minutes 10] [--seed 1] [--restart-every 0] [--transport unix|tcp|tls] [--churn 30]

A bridge process, publisher processes and subscriber processes with different lag policies talk over a Unix socket, TCP
or TLS. Meanwhile subscribers are stopped and go on, clients are killed and come back, others come and go, and the
contracts are edited; over TLS tokens and certificates change, and for moments access rules let nobody have anything;
with --restart-every the bridge itself is killed now and then. Each second the bridge's own counters are asked for: the
law of conservation has to hold for each subscription at every moment. In the end everybody stops publishing, and the
law is printed for each subscription, with the memory's slope, open files and the loop's lag. Exit code 1 if anything
was lost in silence, came twice, or came out of order, or if files were left open.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field

import mycelium
from soak_security import Guarded

CONTRACTS = Path(__file__).parent.parent / "contracts.yaml"
PUBLISHERS = 3
SUBSCRIBERS = ("drop_oldest", "drop_newest", "latest", "drop_oldest", "drop_oldest", "drop_newest")
RATE = 500
"""Messages a second of each publisher."""
PAUSE_SECONDS = 3.0
FAULT_SECONDS = 4.0
LAG_SECONDS = 0.05
"""How often the bridge looks how late its loop is."""
REVOKED_SECONDS = 2.0
"""How long subscribers may have nothing."""
SPARE_FILES = 40
"""By how many the bridge's open files may differ between the first minute and the end."""
PAGE = 4096
MIB = 1024 * 1024
EXTRA = "      note: {type: String, optional: true}\n"
ANCHOR = "      delta: {type: i32, description: How far it moved}\n"


# --- the processes ---


async def serve(args: argparse.Namespace) -> None:
    """A bridge that follows its contracts file, until standard input ends; print how late its loop was."""
    contracts = mycelium.load(Path(args.contracts))
    bus = mycelium.MessageBus(contracts)
    lags: list[float] = []
    async with contracts.watching(), bus.serve(args.url, security=Guarded.of(args.folder).security()) as bridge:
        print(bridge.urls[0], flush=True)
        ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        while not ended.done():
            start = time.monotonic()
            await asyncio.sleep(LAG_SECONDS)
            lags.append(time.monotonic() - start - LAG_SECONDS)
    ordered = sorted(lags)
    print(json.dumps({"p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}), flush=True)


async def publish(args: argparse.Namespace) -> None:
    """Publish numbered messages at a steady rate until standard input ends; print how many."""
    async with mycelium.connect(args.url, from_bridge=True, name=f"publisher {args.number}") as client:
        update = client.types.CounterUpdate
        ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        start, sent, unsure = time.monotonic(), 0, 0
        while not ended.done():
            while sent < (time.monotonic() - start) * RATE:
                sent += 1
                try:
                    await client.publish(update(counter_id=args.number, value=sent, delta=0))
                except mycelium.BusError:
                    unsure += 1
            await asyncio.sleep(0.005)
        with contextlib.suppress(mycelium.BusError, TimeoutError):
            await client.flush()
        print(json.dumps({"sent": sent, "refused": unsure}), flush=True)


async def subscribe(args: argparse.Namespace) -> None:
    """Take messages until standard input ends; print what came, and what was wrong with it."""
    seen: Counter[int] = Counter()
    last: dict[int, int] = {}
    wrong = 0
    async with mycelium.connect(args.url, from_bridge=True, name=f"subscriber {args.number}") as client:

        async def take(message: Any) -> None:
            nonlocal wrong
            seen[message.counter_id] += 1
            wrong += message.value <= last.get(message.counter_id, 0)
            last[message.counter_id] = message.value

        subscription = await client.subscribe(take, client.types.CounterUpdate, on_lag=args.on_lag, queue=512)
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await client.drain()
        stats = subscription.stats()
        facts = {"matched": stats.matched, "delivered": stats.delivered, "dropped": dict(stats.dropped)}
        balanced = stats.balanced and stats.queued == stats.in_flight == 0
        print(json.dumps({"seen": seen.total(), "wrong": wrong, "balanced": balanced, **facts}), flush=True)


ROLES = {"serve": serve, "publish": publish, "subscribe": subscribe}


# --- those who start them ---


class Process:
    """One of the processes above, by its id."""

    def __init__(self, role: str, url: str, *arguments: str) -> None:
        command = [sys.executable, __file__, "--role", role, "--url", url, *arguments]
        self.role = role
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()
        self._close()

    def finish(self) -> dict[str, Any]:
        """Have it stop, and take what it says."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        said: dict[str, Any] = json.loads(self.line() or "{}")
        self.process.wait()
        self._close()
        return said

    def resident(self) -> int:
        """Bytes of memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def files(self) -> int:
        """Open files."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@define
class Soak:
    """A run: its processes, and what was measured."""

    url: str
    contracts: Path
    random: random.Random
    guarded: Guarded
    visitors: int
    bridge: Process
    publishers: dict[int, Process] = field(factory=dict)
    subscribers: dict[int, Process] = field(factory=dict)
    memory: list[tuple[float, int]] = field(factory=list)
    files: list[int] = field(factory=list)
    checks: int = 0
    faults: Counter[str] = field(factory=Counter)
    violations: list[str] = field(factory=list)

    def start(self) -> None:
        """Everybody comes."""
        for number in range(len(SUBSCRIBERS)):
            self.start_subscriber(number)
        for number in range(PUBLISHERS):
            self.start_publisher(number)

    def start_subscriber(self, number: int) -> None:
        """A subscriber comes, and is there when this returns."""
        made = Process("subscribe", self.url, "--number", str(number), "--on-lag", SUBSCRIBERS[number])
        self.subscribers[number] = made
        made.line()

    def start_publisher(self, number: int) -> None:
        """A publisher comes; its numbers begin anew, so it has another one."""
        self.publishers[number] = Process("publish", self.url, "--number", str(number))

    # --- faults ---

    async def pause(self) -> None:
        """A subscriber stops for some seconds."""
        process = self.random.choice(list(self.subscribers.values())).process
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSE_SECONDS)
        process.send_signal(signal.SIGCONT)

    async def kill_subscriber(self) -> None:
        """A subscriber is killed, and another one comes."""
        number = self.random.choice(list(self.subscribers))
        self.subscribers.pop(number).kill()
        await asyncio.to_thread(self.start_subscriber, number)

    async def kill_publisher(self) -> None:
        """A publisher is killed, and another one comes."""
        number = self.random.choice(list(self.publishers))
        self.publishers.pop(number).kill()
        self.start_publisher(max([*self.publishers, number]) + 1)

    async def churn(self) -> None:
        """Clients come and go."""

        async def visit() -> None:
            with contextlib.suppress(mycelium.BusError, TimeoutError):
                async with mycelium.connect(self.url, from_bridge=True, name="visitor") as client:
                    await client.subscribe(lambda _: None, client.types.CounterUpdate)

        await asyncio.gather(*(visit() for _ in range(self.visitors)))

    async def edit(self) -> None:
        """The contracts gain an optional field, or lose it again."""
        text = self.contracts.read_text()
        edited = text.replace(EXTRA, "") if EXTRA in text else text.replace(ANCHOR, ANCHOR + EXTRA)
        fresh = self.contracts.with_suffix(".new")
        fresh.write_text(edited)
        fresh.replace(self.contracts)

    async def rotate(self) -> None:
        """There are other tokens, and another certificate."""
        self.guarded.rotate()
        self.guarded.renew()

    async def revoke(self) -> None:
        """Nobody may have anything for some seconds."""
        self.guarded.permit(subscribing=False)
        await asyncio.sleep(REVOKED_SECONDS)
        self.guarded.permit(subscribing=True)
        await asyncio.sleep(REVOKED_SECONDS)  # whoever subscribes next may do so again

    async def restart(self) -> None:
        """The bridge is killed, and another one takes its place."""
        self.faults["restart"] += 1
        self.bridge.kill()
        self.memory.clear()
        self.files.clear()
        self.bridge = await asyncio.to_thread(start_bridge, self.url, self.contracts, self.guarded)

    # --- what is looked at ---

    async def look(self, client: mycelium.MyceliumClient) -> None:
        """Ask the bridge for its counters, and look at its memory."""
        start = time.monotonic()
        try:
            totals, *chunks = await client.query("stats")
        except (mycelium.BusError, TimeoutError):
            return
        self.memory.append((start, self.bridge.resident()))
        self.files.append(self.bridge.files())
        self.checks += 1
        for row in [totals, *(row for chunk in chunks for row in chunk["subscriptions"])]:
            left = row["matched"] - row["delivered"] - sum(row["dropped"].values()) - row["queued"] - row["in_flight"]
            if left:
                self.violations.append(f"{left} messages are not accounted for: {row}")

    def slope(self) -> float:
        """MiB an hour, by least squares over the last half."""
        half = self.memory[len(self.memory) // 2 :]
        if len(half) < 2 or half[0][0] == half[-1][0]:  # noqa: PLR2004  a line needs two points
            return 0.0
        times, sizes = zip(*half, strict=True)
        return statistics.linear_regression(times, sizes).slope * 3600 / MIB


def start_bridge(url: str, contracts: Path, guarded: Guarded) -> Process:
    """A bridge that is listening."""
    bridge = Process("serve", url, "--contracts", str(contracts), "--folder", str(guarded.folder or ""))
    bridge.line()
    return bridge


async def run(soak: Soak, seconds: float, restart_every: float) -> None:
    """Load, faults and looks, for so long."""
    faults = [soak.pause, soak.kill_subscriber, soak.kill_publisher, soak.churn, soak.edit]
    if soak.guarded.folder is not None:
        faults += [soak.rotate, soak.revoke]
    client = mycelium.MyceliumClient(from_bridge=True, name="soak")
    await client.connect(soak.url)
    start = time.monotonic()
    next_fault, next_restart = start + FAULT_SECONDS, start + (restart_every or seconds + 1)
    async with client:
        while (now := time.monotonic()) - start < seconds:
            await soak.look(client)
            if now >= next_restart:
                next_restart = now + restart_every
                await soak.restart()
            elif now >= next_fault:
                next_fault = now + FAULT_SECONDS
                fault = soak.random.choice(faults)
                soak.faults[fault.__name__] += 1
                await fault()
            await asyncio.sleep(1)


async def settle(soak: Soak) -> list[dict[str, Any]]:
    """Nobody publishes any more: what the bridge says of each subscription when all is quiet."""
    async with mycelium.connect(soak.url, from_bridge=True, name="soak") as client:
        rows: list[dict[str, Any]] = []
        for _ in range(50):
            await soak.look(client)
            _, *chunks = await client.query("stats")
            rows = [row for chunk in chunks for row in chunk["subscriptions"]]
            if not any(row["queued"] or row["in_flight"] for row in rows):
                break
            await asyncio.sleep(0.2)
        return rows


def report(
    soak: Soak, rows: list[dict[str, Any]], sent: int, ends: dict[int, dict[str, Any]], lag: dict[str, float]
) -> int:
    """Print the account; the exit code."""
    print(f"{'subscriber':16} {'policy':12} {'matched':>9} {'delivered':>9} {'dropped':>9}  law")
    for row in rows:
        lost = sum(row["dropped"].values())
        law = "holds" if row["matched"] == row["delivered"] + lost + row["queued"] + row["in_flight"] else "BROKEN"
        print(f"{row['client']:16} {row['on_lag']!s:12} {row['matched']:9} {row['delivered']:9} {lost:9}  {law}")
    wrong = [
        f"subscriber {number}: {said}" for number, said in ends.items() if said.get("wrong") or not said.get("balanced")
    ]
    print(f"published by those who were not killed: {sent}; faults: {dict(soak.faults)}; looks: {soak.checks}")
    late = f"loop late by {lag['p99'] * 1000:.1f} ms (p99), {lag['max'] * 1000:.1f} ms (max)"
    files = f"{soak.files[0]} open files at first, {soak.files[-1]} at last"
    print(f"bridge: {soak.memory[-1][1] / MIB:.1f} MiB, slope {soak.slope():+.2f} MiB/h; {files}; {late}")
    left = [f"files are left open: {files}"] if soak.files[-1] > soak.files[0] + SPARE_FILES else []
    for line in (*soak.violations[:10], *wrong, *left):
        print(f"VIOLATION: {line}")
    return 1 if soak.violations or wrong or left else 0


def listen_url(transport: str, folder: str) -> str:
    """Where the bridge listens, each time that it is started."""
    if transport == "unix":
        return f"unix://{folder}/s"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"{transport}://127.0.0.1:{free.getsockname()[1]}"


async def direct(args: argparse.Namespace) -> int:
    """The whole run."""
    with tempfile.TemporaryDirectory() as folder:
        contracts = Path(folder, "contracts.yaml")
        shutil.copy(CONTRACTS, contracts)
        url = listen_url(args.transport, folder)
        guarded = Guarded(Path(folder) if args.transport == "tls" else None)
        guarded.prepare()
        os.environ.update(guarded.environment())
        chance = random.Random(args.seed)  # noqa: S311  faults
        soak = Soak(url, contracts, chance, guarded, args.churn, start_bridge(url, contracts, guarded))
        try:
            soak.start()
            await run(soak, args.minutes * 60, args.restart_every)
            sent = sum(process.finish().get("sent", 0) for process in soak.publishers.values())
            rows = await settle(soak)
            ends = {number: process.finish() for number, process in soak.subscribers.items()}
            return report(soak, rows, sent, ends, soak.bridge.finish())
        finally:
            for process in (*soak.publishers.values(), *soak.subscribers.values(), soak.bridge):
                with contextlib.suppress(OSError, ValueError):
                    process.kill()


def main() -> int:
    """Run it, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--restart-every", type=float, default=0.0, help="seconds between kills of the bridge")
    parser.add_argument("--transport", choices=("unix", "tcp", "tls"), default="unix", help="default unix")
    parser.add_argument("--churn", type=int, default=30, help="clients that come and go at a time (default 30)")
    for hidden in ("--role", "--url", "--number", "--on-lag", "--contracts", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.number is not None:
        args.number = int(args.number)
    if args.role is not None:
        asyncio.run(ROLES[args.role](args))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by an exception, so that its processes end with it
    return asyncio.run(direct(args))


if __name__ == "__main__":
    sys.exit(main())
