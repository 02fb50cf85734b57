"""`mycelium schema bump`: the versions that the changes ask for, as a patch."""

import argparse

from mycelium.cli.compat_options import add_against, add_contract, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`bump [NEW] [--against SRC]`."""
    parser = new_command(
        commands,
        "bump",
        "Print a patch that sets schema.version and schema.min_compatible; comments stay as they are.",
        "mycelium schema bump | patch -p1",
    )
    add_contract(parser)
    add_against(parser)
    add_policy(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare, and print the patch."""
    from mycelium.cli.compat_run import guarded

    return guarded(_bump)(args)


def _bump(args: argparse.Namespace) -> int:
    import sys

    from mycelium.cli.compat_run import compared, inputs
    from mycelium.cli.output import say
    from mycelium.cli.patches import section_patch

    found = inputs(args)
    wanted = compared(found).suggested
    current = found.current
    if (current.version, current.min_compatible) == (wanted.version, wanted.min_compatible):
        say(f"nothing to do: version {current.version}, min_compatible {current.min_compatible} ({wanted.semver})")
        return 0
    values = {"version": wanted.version, "min_compatible": wanted.min_compatible}
    sys.stdout.write(section_patch(args.contract, found.text, current, values))
    say(f"a {wanted.semver} change: version {wanted.version}, min_compatible {wanted.min_compatible}")
    return 0
