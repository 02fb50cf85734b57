"""`mycelium schema lint`: everything that is wrong with one contracts file, and what is legal but unwise."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from mycelium.cli.options import Commands, new_command

if TYPE_CHECKING:
    from mycelium.schema.errors import Fault
    from mycelium.schema.lint import LintFinding

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`schema lint [FILE…]`."""
    parser = new_command(
        commands,
        "lint",
        "Print every fault of contracts files, with its place and what to do, and what is legal but unwise. Exit code "
        "3 where there is a fault; findings fail only with --strict.",
        "mycelium schema lint contracts.yaml",
        "mycelium schema lint -o json --strict contracts/*.yaml",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="contracts files (default: the one that is found)")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where there is a warning")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object a line")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Lint each file; the worst exit code of all."""
    from mycelium.contractfile import find

    return max(_lint(str(file), args) for file in args.files or [find()])


def _lint(file: str, args: argparse.Namespace) -> int:
    from mycelium.contractfile import read_schema
    from mycelium.schema.errors import ContractError
    from mycelium.schema.lint import lint

    faults: tuple[Fault, ...] = ()
    findings: list[LintFinding] = []
    try:
        findings = lint(read_schema(file))
    except ContractError as error:
        faults = error.faults
    show = _show_json if args.output == "json" else _show_lines
    show(file, faults, findings)
    warned = any(one.severity == "warning" for one in findings)
    return 3 if faults else 1 if args.strict and warned else 0


def _show_lines(file: str, faults: "tuple[Fault, ...]", findings: "list[LintFinding]") -> None:
    from mycelium.schema.printable import printable

    for fault in faults:
        print(printable(str(fault)))
    for one in findings:
        print(printable(str(one)))
    print(printable(f"{file}: {_count(faults, 'fault')}, {_count(findings, 'finding')}"))


def _show_json(file: str, faults: "tuple[Fault, ...]", findings: "list[LintFinding]") -> None:
    for fault in faults:
        shown: dict[str, Any] = {
            "severity": "fault",
            "path": fault.path,
            "message": fault.problem,
            "hint": fault.remedy,
        }
        print(json.dumps({"file": file, "line": fault.location.line, "column": fault.location.column, **shown}))
    for one in findings:
        shown = {"severity": one.severity, "rule": one.rule, "path": one.path, "message": one.message, "hint": one.hint}
        print(json.dumps({"file": file, "line": one.location.line, "column": one.location.column, **shown}))


def _count(things: "tuple[Fault, ...] | list[LintFinding]", noun: str) -> str:
    return f"{len(things) or 'no'} {noun}{'' if len(things) == 1 else 's'}"
