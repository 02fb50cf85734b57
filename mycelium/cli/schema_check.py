"""`mycelium schema check`: the gate of continuous integration."""

import argparse

from mycelium.cli.compat_options import add_against, add_contract, add_output, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`check [NEW] [--against SRC ...]`."""
    parser = new_command(
        commands,
        "check",
        "Compare a contract with a baseline and fail on changes that break the directions asked for. Exit "
        "codes: 0 compatible, 1 not, 2 wrong usage, 3 a contract is invalid, 4 no baseline.",
        "mycelium schema check",
        "mycelium schema check --against merge-base:main --format github",
        "mycelium schema check new.yaml --against old.yaml --level backward",
    )
    add_contract(parser)
    add_against(parser)
    add_policy(parser)
    add_output(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print; the exit code says whether it passed."""
    from mycelium.cli.compat_run import compared, guarded, inputs, print_view, viewed

    def check(args: argparse.Namespace) -> int:
        found = inputs(args)
        return print_view(args, viewed(args, compared(found), found.path, found.baselines.previous))

    return guarded(check)(args)
