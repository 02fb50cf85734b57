"""`mycelium ping`: how long a round trip to the bridge takes."""

import argparse
import asyncio
import statistics
import time

from mycelium.cli.options import Commands, add_url, credentials, duration, new_command, positive

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`ping`."""
    parser = new_command(
        commands,
        "ping",
        "Send Pings and time the answers; needs no contracts file.",
        "mycelium ping --count 3 --url unix:///run/mycelium.sock",
    )
    parser.add_argument("--count", type=positive, default=5, metavar="N", help="round trips (default 5)")
    parser.add_argument("--interval", type=duration, default=0.2, metavar="S", help="time between them (default 200ms)")
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print each round trip, then a summary."""
    return asyncio.run(_ping(args))


async def _ping(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.foreign import refuse
    from mycelium.bus.urls import default_url, parse_url

    client = MyceliumClient(from_bridge=True, name="mycelium ping", reconnect=False, **credentials(args))
    url = args.url or default_url()
    refuse(parse_url(url), "ping")
    await client.connect(url)
    times = []
    async with client:
        schema = client.types.schema
        print(f"{url}: session {client.session}, schema {schema.id:#010x} version {schema.version}", flush=True)
        for number in range(1, args.count + 1):
            if number > 1:
                await asyncio.sleep(args.interval)
            start = time.perf_counter()
            await client.flush()
            times.append((time.perf_counter() - start) * 1000)
            print(f"{number}: {times[-1]:.3f} ms", flush=True)
    print(f"min {min(times):.3f}  median {statistics.median(times):.3f}  max {max(times):.3f} ms", flush=True)
    return 0
