"""`mycelium compat PREVIOUS CURRENT`: the check on two files."""

import argparse

from mycelium.cli.compat_options import add_output, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_arguments", "add_parser", "run"]


def add_parser(commands: Commands) -> None:
    """`compat PREVIOUS CURRENT`."""
    parser = new_command(
        commands,
        "compat",
        "Check whether a contracts file is compatible with an older one. Exit codes: 0 compatible, 1 not, "
        "2 wrong usage, 3 a contract is invalid, 4 a file is not there.",
        "mycelium compat old.yaml new.yaml",
        "git show v1:contracts.yaml | mycelium compat - contracts.yaml",
    )
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments, for this command and for the script that runs without an install."""
    parser.add_argument("previous", metavar="PREVIOUS", help="the contract that is out there; - reads standard input")
    parser.add_argument("contract", metavar="CURRENT", help="the contract that is to replace it")
    add_policy(parser)
    add_output(parser)
    parser.set_defaults(func=run, allow_missing_baseline=False)


def run(args: argparse.Namespace) -> int:
    """Compare two files."""
    from pathlib import Path

    from mycelium.cli.baseline import KEYWORDS, BaselineError
    from mycelium.cli.compat_run import compared, guarded, inputs, print_view, viewed

    def compat(args: argparse.Namespace) -> int:
        if args.previous != "-" and not Path(args.previous).is_file():
            raise BaselineError(f"cannot read {args.previous}", "there is no such file", "check the path")
        # A name with a slash is never taken for a keyword, which a file may be called like.
        args.against = [f"./{args.previous}" if args.previous.startswith(KEYWORDS) else args.previous]
        found = inputs(args)
        return print_view(args, viewed(args, compared(found), found.path, found.baselines.previous))

    return guarded(compat)(args)
