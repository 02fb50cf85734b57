"""`mycelium sub`: print messages as they come."""

import argparse
import asyncio
import contextlib
import sys

from mycelium.cli.options import (
    Commands,
    add_contracts,
    add_url,
    credentials,
    duration,
    lag_policy,
    new_command,
    positive,
)

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`sub [TYPE…]`."""
    parser = new_command(
        commands,
        "sub",
        "Print messages of some types, or of all, until interrupted. A connection that is lost is made again.",
        "mycelium sub Ping Pong",
        "mycelium sub Ping --count 3 -o json",
        "mycelium sub Job --group workers --on-lag block",
    )
    parser.add_argument("types", metavar="TYPE", nargs="*", help="names of messages (default: all of the contracts)")
    parser.add_argument("--count", type=positive, metavar="N", help="stop after N messages")
    parser.add_argument("--timeout", type=duration, metavar="S", help="stop after this time, such as 5s")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object a line")
    parser.add_argument(
        "--show-sensitive", action="store_true", help="print values that the contract keeps out of sight"
    )
    parser.add_argument(
        "--on-lag",
        type=lag_policy,
        metavar="POLICY",
        help="what happens when the queue is full: drop_oldest, drop_newest, latest, block, reject or disconnect "
        "(default: what the contract says, else drop_oldest)",
    )
    parser.add_argument("--queue", type=positive, metavar="N", help="messages that wait at the bridge (default 8192)")
    parser.add_argument("--group", metavar="NAME", help="of the subscribers with this group one gets each message")
    add_url(parser)
    add_contracts(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print messages; exit code 4 if time ran out first, or the bridge lets nobody in again."""
    return asyncio.run(_subscribe(args))


async def _subscribe(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.cli.failures import fail
    from mycelium.cli.output import as_object, json_line, pretty_line, say, say_changes, saying_connection
    from mycelium.handle import load

    contracts = None if args.contracts is None else load(args.contracts)
    client = MyceliumClient(contracts, name="mycelium sub", **credentials(args))
    await client.connect(args.url)
    say_changes(client.types)
    line = json_line if args.output == "json" else pretty_line
    options = {"on_lag": args.on_lag, "queue": args.queue, "group": args.group}
    count = 0
    async with client, saying_connection(client):
        types = [client.types[name] for name in args.types] or list(client.types)
        async with client.messages(*types, **options) as stream:
            say(f"subscribed to {', '.join(one.__name__ for one in types)}; stop with Ctrl-C")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(args.timeout):
                    async for message in stream:
                        schema, converter = client.types.schema, client.types.converter
                        shown = as_object(message, schema, converter, show_sensitive=args.show_sensitive)
                        print(line(shown), flush=True)
                        count += 1
                        if count == args.count:
                            break
    if count == args.count:
        return 0
    if args.count is not None or not count:
        wanted = f" of {args.count}" if args.count is not None else ""
        return fail(4, f"{count}{wanted} messages came in {args.timeout:g} s", "", "is anybody publishing these types?")
    sys.stdout.flush()
    return 0
