"""`mycelium schema`: commands about contracts."""

import sys
from collections.abc import Mapping
from typing import Final

from mycelium.cli.options import Commands

__all__ = ["COMMANDS", "add_parser"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "show": ("mycelium.cli.schema_show", "messages, fields, tags and types"),
    "lint": ("mycelium.cli.schema_lint", "faults of one file, and what is legal but unwise"),
    "digest": ("mycelium.cli.schema_digest", "the digest that peers compare"),
}
"""Name to module and help, as in `mycelium.cli.main`."""


def add_parser(commands: Commands) -> None:
    """`schema COMMAND`."""
    from mycelium.cli.main import add_commands

    parser = commands.add_parser(
        "schema",
        help="look at contracts, check them, compare them",
        description="Look at contracts, check them, compare them.",
        allow_abbrev=False,
    )
    chosen = parser.add_subparsers(metavar="COMMAND", dest="schema_command", required=True)
    add_commands(chosen, COMMANDS, sys.argv[1:])
