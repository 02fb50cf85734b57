"""`mycelium schema pin-tags`: every tag written out, as a patch, so that no later edit can shift one."""

import argparse

from mycelium.cli.compat_options import add_against, add_contract, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`pin-tags [NEW] [--against SRC]`."""
    parser = new_command(
        commands,
        "pin-tags",
        "Print a patch that gives every field its `tag:`: the baseline's tag for a field that it has, the "
        "next free one for others. Without a baseline the tags are those that the fields have now.",
        "mycelium schema pin-tags | patch -p1",
    )
    add_contract(parser)
    add_against(parser)
    add_policy(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the patch."""
    from mycelium.cli.compat_run import guarded

    return guarded(_pin)(args)


def _pin(args: argparse.Namespace) -> int:
    import sys

    from mycelium.cli.baseline import BaselineError
    from mycelium.cli.compat_run import NoBaseline, inputs, read_new
    from mycelium.cli.output import say
    from mycelium.cli.patches import tags_patch
    from mycelium.schema.compat.pins import pinned_tags

    text, current = read_new(args.contract)
    previous = current
    try:
        previous = inputs(args).baselines.previous.schema
    except NoBaseline:
        pass
    except BaselineError as error:
        if args.against:
            raise
        say(f"mycelium: {error.what}; the tags are those that the fields have now")
    result = tags_patch(args.contract, text, current, pinned_tags(previous, current))
    sys.stdout.write(result)
    if not result:
        say("nothing to do: every tag is written out")
    return 0
