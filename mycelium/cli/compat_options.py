"""Options of the commands that compare contracts."""

import argparse
import os
from pathlib import Path
from typing import Any, Final

__all__ = ["FORMATS", "add_against", "add_contract", "add_output", "add_policy", "given"]

FORMATS: Final = ("text", "json", "github", "sarif")
_LEVELS: Final = (
    "full",
    "backward",
    "forward",
    "full-transitive",
    "backward-transitive",
    "forward-transitive",
    "none",
    "any-order",
    "readers-first",
    "writers-first",
)
_SETTINGS: Final = (
    "level",
    "fail-on",
    "severity",
    "only",
    "skip",
    "validation",
    "unknown-types",
    "profile",
    "strict-source",
)

FILE_NAME: Final = "contracts.yaml"


def _nearest() -> str:
    """The default contract as somebody here would write it; its plain name where there is none."""
    here = Path.cwd()
    found = (folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file())
    return os.path.relpath(next(found, here / FILE_NAME))


def add_contract(parser: argparse.ArgumentParser) -> None:
    """`[NEW]`."""
    parser.add_argument(
        "contract",
        metavar="NEW",
        nargs="?",
        default=_nearest(),
        help="the new contract (default: the nearest contracts.yaml from here upward)",
    )


def add_against(parser: argparse.ArgumentParser) -> None:
    """`--against`, and what to do where there is no baseline."""
    parser.add_argument(
        "--against",
        metavar="SRC",
        action="append",
        help="the baseline: OLD.yaml, - (standard input), main, v1.2:contracts.yaml, git:HEAD~1, merge-base:main, "
        "tag:v*, lock, lock:all; several: all of them count (default: the lockfile, else the merge base with the "
        "target branch)",
    )
    parser.add_argument(
        "--allow-missing-baseline",
        action="store_true",
        help="pass if the contract is not in the baseline: its first commit",
    )


def add_policy(parser: argparse.ArgumentParser) -> None:
    """What fails a run, and what is looked at."""
    group = parser.add_argument_group("policy")
    group.add_argument("--level", choices=_LEVELS, metavar="LEVEL", help=f"what is asked for: {', '.join(_LEVELS)}")
    group.add_argument("--fail-on", choices=("error", "warning", "info"), help="fail from this severity on (error)")
    group.add_argument(
        "--severity", metavar="RULE=LEVEL", action="append", help="take a rule as error, warning or info"
    )
    group.add_argument("--only", metavar="RULE|PATH", action="append", help="look at nothing else")
    group.add_argument("--skip", metavar="RULE|PATH", action="append", help="do not look at these")
    group.add_argument(
        "--validation", choices=("decode", "publish-only"), help="whether readers run value rules (decode)"
    )
    group.add_argument(
        "--unknown-types", choices=("skip", "fail"), help="what readers do with type ids that they do not know (skip)"
    )
    group.add_argument(
        "--profile", choices=("tlv", "rust"), help="the wire format: rust asks for equal structs, too (tlv)"
    )
    group.add_argument(
        "--strict-source", action="store_const", const=True, help="names that code uses count: their changes are errors"
    )
    group.add_argument("--all", action="store_true", help="go on after SCHEMA_ID_CHANGED")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Formats."""
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="text", help="what standard output gets (text)")
    group.add_argument(
        "--output", metavar="FORMAT=FILE", action="append", default=[], help="write another format to a file"
    )
    group.add_argument("--parity", action="store_true", help="print what the Rust checker would say, too")
    group.add_argument("--verbose", "-v", action="store_true", help="every finding in full")


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of the command line, as a configuration file would write them."""
    values = {name: getattr(args, name.replace("-", "_"), None) for name in _SETTINGS}
    entries = {name: value for name, value in values.items() if value is not None}
    if "severity" in entries:
        pairs = (one.partition("=") for one in entries["severity"])
        entries["severity"] = {rule: level for rule, _, level in pairs}
    return entries
