"""What a reload costs those who are talking: latency through a bridge while its file of 100 messages is edited.

    python tools/bench_reload.py [--rate 5000] [--seconds 8] [--json]

Two runs, without and with edits (five messages change in each, once a second), of a publisher process at a fixed rate,
a bridge process and a subscriber process. Prints what arrived, whether it was complete and in order, and the latencies.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mycelium

MESSAGES, CHANGED = 100, 5


def contract(version: int, *, more: bool) -> str:
    """A contracts file; with `more`, five of its messages have another field."""
    fields = "counter_id: {type: u64}, value: {type: i32}, delta: {type: i32}, note: {type: String, optional: true}"
    lines = [f"schema: {{id: 77, version: {version}, min_compatible: 1}}", "messages:"]
    for number in range(MESSAGES):
        extra = ", extra: {type: u32, default: 1}" if more and number < CHANGED else ""
        lines.append(f"  M{number}: {{tlv_type: {1000 + number}, fields: {{{fields}{extra}}}}}")
    return "\n".join(lines) + "\n"


async def subscribe(args: argparse.Namespace) -> None:
    """Collect latencies until standard input ends, then print them in short."""
    async with mycelium.connect(args.url, from_bridge=True) as client:
        seen: list[tuple[int, float]] = []

        def take(_: mycelium.Message, delivery: mycelium.Delivery) -> None:
            assert delivery.published_at is not None
            assert delivery.sequence is not None
            seen.append((delivery.sequence, (time.time_ns() - delivery.published_at) / 1e6))

        await client.subscribe(take, client.types["M0"], client.types["M50"])
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    ordered = sorted(latency for _, latency in seen)
    complete = [number for number, _ in seen] == list(range(1, len(seen) + 1))
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    figures = {name: ordered[min(int(len(ordered) * share), len(ordered) - 1)] for name, share in shares.items()}
    print(json.dumps({"received": len(seen), "complete and in order": complete, "latency_ms": figures}), flush=True)


async def publish(args: argparse.Namespace) -> None:
    """Publish at a fixed rate, whatever becomes of it."""
    async with mycelium.connect(args.url, from_bridge=True, stamp=True) as client:
        types: tuple[Any, Any] = client.types["M0"], client.types["M50"]
        start, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < args.seconds:
            while sent < elapsed * args.rate:
                await client.publish(types[sent % 2](sent, 1, 2))
                sent += 1
            await asyncio.sleep(0.001)
        await client.flush()


@contextlib.contextmanager
def bridge(file: Path) -> Iterator[str]:
    """`mycelium serve`, and its URL."""
    command = [sys.executable, "-m", "mycelium", "serve", str(file), "--listen", "tcp://127.0.0.1:0", "--http", "off"]
    with (file.parent / "serve.log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield url_in(Path(log.name))
        finally:
            process.terminate()
            process.wait(30)


def url_in(log: Path) -> str:
    """Where a bridge listens, from what it says."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("listening on "):
                return line.split()[-1]
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def measure(args: argparse.Namespace, *, edits: bool) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contracts.yaml"
        file.write_text(contract(1, more=False))
        with bridge(file) as url:
            pipe = subprocess.PIPE
            options = ["--url", url, "--rate", str(args.rate), "--seconds", str(args.seconds)]
            command = [sys.executable, __file__, *options, "--role"]
            subscriber = subprocess.Popen([*command, "subscribe"], stdin=pipe, stdout=pipe, text=True)
            assert subscriber.stdout is not None
            subscriber.stdout.readline()
            publisher = subprocess.Popen([*command, "publish"])
            version = 1
            while publisher.poll() is None:
                time.sleep(1)
                if edits and publisher.poll() is None:
                    version += 1
                    file.write_text(contract(version, more=version % 2 == 0))
            said, _ = subscriber.communicate("")
            applied = (file.parent / "serve.log").read_text().count("is in force")
    found: dict[str, Any] = json.loads(said)
    return {"edits applied": applied, **found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000.0, help="messages a second (default 5000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of publishing in each run (default 8)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--role", choices=("subscribe", "publish"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        asyncio.run(subscribe(args) if args.role == "subscribe" else publish(args))
        return
    for edits in (False, True):
        found = measure(args, edits=edits)
        if args.json:
            print(json.dumps({"edits": edits, **found}), flush=True)
            continue
        figures = "  ".join(f"{name} {value:.2f}" for name, value in found["latency_ms"].items())
        whole = "complete and in order" if found["complete and in order"] else "NOT complete or out of order"
        print(f"{found['edits applied']} edits: {found['received']} messages, {whole}; ms: {figures}", flush=True)


if __name__ == "__main__":
    main()
