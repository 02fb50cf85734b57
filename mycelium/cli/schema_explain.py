"""`mycelium schema explain RULE`: why a rule is one, and what to do about its findings."""

import argparse

from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`explain RULE`."""
    parser = new_command(
        commands,
        "explain",
        "Say why a rule is one, and what to do about its findings.",
        "mycelium schema explain FIELD_TAG_SHIFTED",
    )
    parser.add_argument("rule", metavar="RULE", help="a rule's id, in upper or lower case")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print one rule."""
    import difflib

    from mycelium.cli.failures import fail
    from mycelium.schema.compat.table import TABLE

    name = args.rule.upper().replace("-", "_")
    rule = TABLE.get(name)
    if rule is None:
        close = difflib.get_close_matches(name, TABLE, 1)
        remedy = f"did you mean {close[0]}?" if close else "`mycelium schema rules` lists them"
        return fail(2, f"there is no rule {args.rule}", remedy=remedy)
    proof = f"none: {rule.unprovable}" if rule.unprovable else "bytes that one side misreads; the report shows them"
    grade = "error" if rule.severity == "error" else f"{rule.severity}, error where it breaks a direction"
    print(f"{rule.id}  ({rule.category}, {grade})\n")
    print(f"  why    {rule.why}\n  fix    {rule.hint}\n  proof  {proof}")
    return 0
