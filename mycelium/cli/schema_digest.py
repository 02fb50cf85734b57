"""`mycelium schema digest`: what peers compare."""

import argparse

from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`schema digest [FILE]`."""
    parser = new_command(
        commands,
        "digest",
        "Print the digest of a contracts file: SHA-256 over what decides bytes, meaning and redaction. "
        "Files that differ in comments, descriptions or order have the same.",
        "mycelium schema digest contracts.yaml",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="the contracts file (default: the one that is found)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--document", action="store_true", help="print the whole document that goes over the wire")
    what.add_argument(
        "--rust",
        action="store_true",
        help="print SHA-256 of the file's bytes: what a peer of the Rust dialect says first",
    )
    what.add_argument("--reduced", action="store_true", help="print the text that the digest is taken of")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the digest, or what it is made from."""
    from mycelium.handle import load
    from mycelium.schema.document import document_bytes, reduced_text

    contracts = load(args.file)
    schema = contracts.schema
    if args.rust:
        print(contracts.text_digest)
    elif args.document:
        print(document_bytes(schema).decode())
    elif args.reduced:
        print(reduced_text(schema))
    else:
        print(schema.digest)
    return 0
