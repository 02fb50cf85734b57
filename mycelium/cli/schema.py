"""`mycelium schema`: commands about contracts."""

import importlib
from typing import Final

from mycelium.cli.options import Commands

__all__ = ["COMMANDS", "add_parser"]

COMMANDS: Final = (
    "show",
    "lint",
    "check",
    "diff",
    "lock",
    "accept",
    "bump",
    "pin_tags",
    "rules",
    "explain",
    "digest",
    "stubs",
    "reload",
    "editor",
)
"""Each is a module `schema_<name>` beside this one with an `add_parser`."""


def add_parser(commands: Commands) -> None:
    """`schema COMMAND`."""
    text = "look at contracts, check them, compare them"
    parser = commands.add_parser("schema", help=text, description=f"{text.capitalize()}.", allow_abbrev=False)
    chosen = parser.add_subparsers(metavar="COMMAND", dest="schema_command", required=True)
    for name in COMMANDS:
        importlib.import_module(f"mycelium.cli.schema_{name}").add_parser(chosen)
