"""`mycelium pub`: publish messages from the command line or from standard input."""

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic

from mycelium.cli.options import Commands, add_contracts, add_url, credentials, new_command, positive
from mycelium.cli.pacing import Pacing

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`pub TYPE JSON|-`."""
    parser = new_command(
        commands,
        "pub",
        "Publish a message, or one for each line of standard input; done when the bridge has them all.",
        'mycelium pub Ping \'{"value": "hi"}\' --count 3 --rate 1',
        "mycelium pub Ping - < pings.jsonl",
        "mycelium pub Order '{\"id\": 1}' --confirm",
    )
    parser.add_argument("type", metavar="TYPE", help="name of the message")
    parser.add_argument("json", metavar="JSON", help="its fields; '-' reads one JSON object a line from standard input")
    parser.add_argument("--count", type=positive, default=1, metavar="N", help="publish it N times (default 1)")
    parser.add_argument("--rate", type=_rate, metavar="R", help="messages a second (default: as fast as it goes)")
    parser.add_argument(
        "--confirm", action="store_true", help="have the bridge confirm each message, and say how many it reached"
    )
    add_url(parser)
    add_contracts(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Publish; exit code 1 if the bridge refused something."""
    return asyncio.run(_publish(args))


async def _publish(args: argparse.Namespace) -> int:
    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.errors import Refused
    from mycelium.cli.failures import fail
    from mycelium.cli.output import read_message, say, say_changes
    from mycelium.handle import load
    from mycelium.schema.errors import MessageError

    refused: list[Refused] = []
    contracts = None if args.contracts is None else load(args.contracts)
    client = MyceliumClient(contracts, on_error=refused.append, name="mycelium pub", **credentials(args))
    await client.connect(args.url)
    say_changes(client.types)
    published, place, reached = 0, "", Counter[str]()
    pacing = None if args.rate is None else Pacing(args.rate)
    try:
        async for place, text in _texts(args):  # noqa: B007  `place` is for the error below
            message = read_message(client.types, args.type, text)
            for _ in range(args.count):
                if pacing is not None:
                    await asyncio.sleep(pacing.delay(monotonic()))
                receipt = await client.publish(message, confirm=args.confirm)
                published += 1
                if receipt is not None:
                    reached.update(matched=receipt.matched, enqueued=receipt.enqueued)
        await client.flush()
    except MessageError as error:
        return fail(
            2,
            f"{place}the message does not fit its contract",
            str(error),
            f"`mycelium schema show {args.type}` prints its fields",
        )
    finally:
        await client.close()
        if published:
            say(f"published {published} {args.type}")
        if args.confirm and published:
            say(f"{reached['matched']} deliveries, {reached['matched'] - reached['enqueued']} of them dropped")
    if refused:
        return fail(1, f"the bridge refused {len(refused)} of {published} messages", refused[0].text)
    return 0


async def _texts(args: argparse.Namespace) -> AsyncIterator[tuple[str, str]]:
    """Where a JSON text stands, for errors, and the text."""
    from mycelium.cli.stdin import lines

    if args.json != "-":
        yield "", args.json
        return
    number = 0
    async for line in lines():
        number += 1
        if line.strip():
            yield f"line {number}: ", line


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; give messages a second")
    return rate
