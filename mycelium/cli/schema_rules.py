"""`mycelium schema rules`: every rule of the checker."""

import argparse

from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`rules [--format json]`."""
    parser = new_command(
        commands,
        "rules",
        "List every rule with its category and its severity where nothing breaks; a finding that breaks a "
        "direction is an error.",
        "mycelium schema rules",
        "mycelium schema rules --format json",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text or json (text)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    import json

    from attrs import asdict

    from mycelium.schema.compat.table import TABLE

    if args.format == "json":
        print(json.dumps([asdict(rule) for rule in TABLE.values()], indent=2, ensure_ascii=False))
        return 0
    for rule in TABLE.values():
        print(f"{rule.id:<36} {rule.category:<8} {rule.severity:<8} {rule.why}")
    return 0
