"""`mycelium schema diff`: every change, without judgement."""

import argparse

from mycelium.cli.compat_options import add_against, add_contract, add_output, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`diff [NEW] [--against SRC]`."""
    parser = new_command(
        commands,
        "diff",
        "Print every change since a baseline, safe ones too. Findings never change the exit code.",
        "mycelium schema diff --against v1.2",
    )
    add_contract(parser)
    add_against(parser)
    add_policy(parser)
    add_output(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print everything."""
    from mycelium.cli.compat_run import compared, guarded, inputs, print_view, viewed

    def diff(args: argparse.Namespace) -> int:
        args.verbose = True
        found = inputs(args)
        return print_view(args, viewed(args, compared(found), found.path, found.baselines.previous, gate=False))

    return guarded(diff)(args)
