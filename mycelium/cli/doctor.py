"""`mycelium doctor`: what is there, what is missing, and how to get it."""

import argparse
import json
import textwrap
from typing import Final

import attrs

from mycelium.cli.checkup import Finding, headline, machine
from mycelium.cli.options import Commands, add_url, credentials, new_command
from mycelium.cli.reach import surroundings

__all__ = ["add_parser"]

_STYLES: Final = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def add_parser(commands: Commands) -> None:
    """`doctor`."""
    parser = new_command(
        commands,
        "doctor",
        "Look at the installation, the limits of this machine, the contracts file, the bridge and its ports, and say "
        "what to do about what is missing. Exit code 1 where something is wrong; a note is no such thing.",
        "mycelium doctor",
        "mycelium doctor --url unix:///run/mycelium.sock -o json",
    )
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object")
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Look, print, and sum up."""
    findings = [*machine(), *surroundings(args.url, credentials(args))]
    is_well = not any(one.state == "wrong" for one in findings)
    if args.output == "json":
        shown = [attrs.asdict(one) for one in findings]
        print(json.dumps({"headline": headline(), "ok": is_well, "findings": shown}, ensure_ascii=False))
    else:
        _show(findings)
    return 0 if is_well else 1


def _show(findings: list[Finding]) -> None:
    from rich.text import Text

    from mycelium.cli.screen import Screen

    screen = Screen()
    screen.print(headline(), markup=False)
    width = max(len(one.name) for one in findings)
    for one in findings:
        shown = Text().append(f"{one.state.upper() if one.state == 'wrong' else one.state:5}", _STYLES[one.state])
        lines = [one.text, *([f"try: {one.remedy}"] if one.remedy else [])]
        indent = len(shown) + width + 4
        wrapped = [part for line in lines for part in textwrap.wrap(line, max(screen.width - indent, 20))]
        shown.append(f"  {one.name:{width}}  ")
        shown.append(f"\n{' ' * indent}".join(wrapped))
        screen.print(shown, soft_wrap=True)
    screen.print(_sum(findings), markup=False)


def _sum(findings: list[Finding]) -> str:
    wrong, notes = (sum(one.state == state for one in findings) for state in ("wrong", "note"))
    if wrong:
        return f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong"
    return "nothing is wrong" + (f", {notes} note{'s' if notes > 1 else ''}" if notes else "")
