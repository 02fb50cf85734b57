"""`mycelium encode`: JSON to bytes."""

import argparse
import sys

from mycelium.cli.options import Commands, add_contracts, add_dialect, add_url, credentials, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`encode TYPE JSON`."""
    parser = new_command(
        commands,
        "encode",
        "Print the payload of a message in hex, or its whole frame.",
        'mycelium encode Ping \'{"value": "hi"}\' --frame',
        'mycelium encode Ping \'{"value": "hi"}\' --dialect rust',
    )
    parser.add_argument("type", metavar="TYPE", help="name of the message")
    parser.add_argument("json", metavar="JSON", help="its fields; '-' reads standard input")
    parser.add_argument("--frame", action="store_true", help="with the frame's length and type id in front")
    add_dialect(parser)
    add_contracts(parser)
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print hex; rules are checked as they are when a message is published."""
    from mycelium.cli.bridge import file_or_bridge
    from mycelium.cli.output import read_message
    from mycelium.wire.frames import HEADER

    contracts = file_or_bridge(args.contracts, args.url, credentials(args))
    message = read_message(contracts, args.type, sys.stdin.read() if args.json == "-" else args.json)
    codec = contracts.registry.codec_of(args.type)
    frame = (codec.rust if args.dialect == "rust" else codec).publish_frame(message)
    print((frame if args.frame else frame[HEADER.size :]).hex())  # the header has six bytes in either dialect
    return 0
