"""`mycelium encode`: JSON to bytes."""

import argparse
import sys

from mycelium.cli.options import Commands, add_contracts, add_url, credentials, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`encode TYPE JSON`."""
    parser = new_command(
        commands,
        "encode",
        "Print the payload of a message in hex, or its whole frame.",
        'mycelium encode Ping \'{"value": "hi"}\' --frame',
    )
    parser.add_argument("type", metavar="TYPE", help="name of the message")
    parser.add_argument("json", metavar="JSON", help="its fields; '-' reads standard input")
    parser.add_argument("--frame", action="store_true", help="with the frame's length and type id in front")
    add_contracts(parser)
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print hex; rules are checked as they are when a message is published."""
    from mycelium.cli.bridge import file_or_bridge
    from mycelium.cli.output import read_message
    from mycelium.wire.frames import encode_frame

    contracts = file_or_bridge(args.contracts, args.url, credentials(args))
    message = read_message(contracts, args.type, sys.stdin.read() if args.json == "-" else args.json)
    contracts.registry.codec_of(args.type).check(message)
    payload = message.to_bytes()
    print((encode_frame(message.TYPE_ID, payload) if args.frame else payload).hex())
    return 0
