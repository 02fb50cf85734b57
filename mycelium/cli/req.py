"""`mycelium req`: ask a question, and print the reply."""

import argparse
import asyncio

from mycelium.cli.options import Commands, add_contracts, add_url, credentials, duration, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`req TYPE JSON REPLY`."""
    parser = new_command(
        commands,
        "req",
        "Publish a request and print the first reply. Exit code 4 where nobody is there to answer, or nobody answers "
        "in time.",
        'mycelium req Ping \'{"value": "?"}\' Pong --timeout 2s',
    )
    parser.add_argument("type", metavar="TYPE", help="name of the request's message")
    parser.add_argument("json", metavar="JSON", help="its fields")
    parser.add_argument("reply", metavar="REPLY", help="name of the reply's message")
    parser.add_argument("--timeout", type=duration, default=2.0, metavar="S", help="how long to wait (default 2s)")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object")
    parser.add_argument(
        "--show-sensitive", action="store_true", help="print values that the contract keeps out of sight"
    )
    add_url(parser)
    add_contracts(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Ask, and print the reply."""
    return asyncio.run(_request(args))


async def _request(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.errors import NoResponders
    from mycelium.cli.failures import fail
    from mycelium.cli.output import as_object, json_line, pretty_line, read_message
    from mycelium.handle import load

    contracts = None if args.contracts is None else load(args.contracts)
    client = MyceliumClient(contracts, name="mycelium req", reconnect=False, **credentials(args))
    await client.connect(args.url)
    async with client:
        message = read_message(client.types, args.type, args.json)
        try:
            reply = await client.request(message, client.types[args.reply], timeout=args.timeout)
        except NoResponders:
            return fail(4, f"nobody answers {args.type}", "no handler has subscribed to it", "start one that replies")
        except TimeoutError:
            why = f"somebody has subscribed to {args.type}, but did not reply"
            return fail(4, f"no {args.reply} came within {args.timeout:g} s", why, "give it more time with --timeout")
        shown = as_object(reply, client.types.schema, client.types.converter, show_sensitive=args.show_sensitive)
        print((json_line if args.output == "json" else pretty_line)(shown), flush=True)
    return 0
