"""One run of the checker: read both sides and the policy, compare, print in every format asked for, exit code."""

import argparse
import datetime as dt
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from mycelium.cli.baseline import (
    Baseline,
    BaselineError,
    Baselines,
    InvalidContract,
    default_spec,
    find_baselines,
    read_contract,
)
from mycelium.cli.compat_files import Found, find_configuration
from mycelium.cli.compat_options import FORMATS, given
from mycelium.cli.failures import fail
from mycelium.compat import prover
from mycelium.schema.compat.configuration import ConfigurationError, configuration, configured
from mycelium.schema.compat.peers import hurt_clients
from mycelium.schema.compat.report import DEFAULT_POLICY, Policy, Report, examine
from mycelium.schema.compat.view import EXIT_CODES, SCREEN, Status, View
from mycelium.schema.model import Schema

__all__ = [
    "Inputs",
    "NoBaseline",
    "compared",
    "ended",
    "for_baselines",
    "guarded",
    "inputs",
    "print_view",
    "read_new",
    "settings_of",
    "viewed",
]

_STYLES: Final = {
    "error": "1;31",
    "warning": "33",
    "info": "36",
    "good": "32",
    "bad": "1;31",
    "faint": "2",
    "strong": "1",
}


class NoBaseline(Exception):
    """There is nothing to compare with, and the caller said that this may be."""


@frozen
class Inputs:
    """Everything that a comparison needs."""

    path: Path
    text: bytes
    current: Schema
    baselines: Baselines
    policy: Policy
    found: Found


def read_new(name: str) -> tuple[bytes, Schema]:
    """The new contract.

    Raises:
        BaselineError: There is no such file.
        InvalidContract: It has faults.
    """
    try:
        text = Path(name).read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise BaselineError(f"cannot read {name}", why, "give the path of a contracts file") from error
    return text, read_contract(text, name, "new")


def settings_of(args: argparse.Namespace, found: Found) -> Policy:
    """The policy: command line over files over defaults.

    Raises:
        ConfigurationError: Something asked for makes no sense.
    """
    command_line = configuration(given(args), "command line")
    values = {**found.settings.values, **command_line.values}
    policy = configured(DEFAULT_POLICY, values)
    settings = evolve(policy.settings, everything=getattr(args, "all", False))
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return evolve(policy, settings=settings, waivers=found.settings.waivers, today=today)


def inputs(args: argparse.Namespace) -> Inputs:
    """Both sides and the policy of a command.

    Raises:
        BaselineError: A side is not there.
        ConfigurationError: The policy makes no sense.
        InvalidContract: A side is no contract.
        NoBaseline: The contract is new, and that was allowed.
    """
    path = Path(args.contract)
    found = find_configuration(path.parent)
    policy = settings_of(args, found)
    text, current = read_new(args.contract)
    specs = args.against or list(found.settings.against)
    try:
        baselines = find_baselines(specs or [_default(path, policy)], path)
    except BaselineError as error:
        if error.absent and args.allow_missing_baseline:
            raise NoBaseline(str(error)) from error
        raise
    return Inputs(path, text, current, baselines, for_baselines(policy, baselines), found)


def _default(path: Path, policy: Policy) -> str:
    """The default baseline; a transitive level asks for every locked version."""
    spec = default_spec(path)
    return "lock:all" if spec == "lock" and policy.level.endswith("-transitive") else spec


def for_baselines(policy: Policy, baselines: Baselines) -> Policy:
    """Several baselines make a level transitive; a lockfile brings its tombstones."""
    settings = evolve(policy.settings, tombstones=baselines.previous.tombstones)
    level = policy.level
    if baselines.older and level in {"full", "backward", "forward"}:
        level = f"{level}-transitive"  # type: ignore[assignment]
    return evolve(policy, level=level, settings=settings)


def compared(given_inputs: Inputs) -> Report:
    """The report."""
    previous, current = given_inputs.baselines.previous.schema, given_inputs.current
    history = [one.schema for one in given_inputs.baselines.older]
    return examine(previous, current, given_inputs.policy, history, prover(previous, current))


def viewed(args: argparse.Namespace, report: Report, path: Path, previous: Baseline, *, gate: bool = True) -> View:
    """A report with everything that its printing depends on."""
    height = shutil.get_terminal_size((120, SCREEN)).lines if sys.stdout.isatty() else SCREEN
    return View(
        report,
        str(path),
        previous.label,
        verbose=args.verbose,
        parity=args.parity,
        gate=gate,
        height=height,
        hurt=hurt_clients(previous.clients, report.current, report.policy),
    )


# --- printing --------------------------------------------------------------------------------------------------------


def _paint() -> Callable[[str, str], str]:
    from mycelium.schema.compat.text_report import plain

    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return plain
    return lambda text, style: f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def _rendered(view: View, name: str, *, terminal: bool) -> str:
    if name == "json":
        from mycelium.schema.compat.json_report import render_json

        return render_json(view)
    if name == "sarif":
        from mycelium.schema.compat.sarif_report import render_sarif

        return render_sarif(view)
    if name == "github":
        from mycelium.schema.compat.github_report import render_github

        return render_github(view)
    from mycelium.schema.compat.text_report import plain, render_text

    return render_text(view, _paint() if terminal else plain)


def outputs(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """The files that `--output` asks for.

    Raises:
        ConfigurationError: One names no format or no file.
    """
    files: list[tuple[str, Path]] = []
    for one in args.output:
        name, _, file = one.partition("=")
        if name not in FORMATS or not file:
            raise ConfigurationError(f"--output {one}", "this is no FORMAT=FILE", f"formats are {', '.join(FORMATS)}")
        files.append((name, Path(file)))
    return files


def print_view(args: argparse.Namespace, view: View) -> int:
    """Print a report in every format that was asked for; the exit code."""
    files = outputs(args)
    sys.stdout.write(_rendered(view, args.format, terminal=True))
    sys.stdout.flush()
    for name, file in files:
        _write(file, _rendered(view, name, terminal=False))
    if "github" in {args.format, *(name for name, _ in files)}:
        from mycelium.schema.compat.github_report import render_outputs, render_summary

        _append("GITHUB_STEP_SUMMARY", render_summary(view))
        _append("GITHUB_OUTPUT", render_outputs(view))
    return EXIT_CODES[view.status]


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigurationError(f"--output {file}", f"cannot be written: {why}", "name another file") from error


def _append(variable: str, text: str) -> None:
    """Add to a file that the environment names, as GitHub's runner does."""
    name = os.environ.get(variable)
    if name:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text)


# --- failing ---------------------------------------------------------------------------------------------------------


def guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command that tells every way to end without a report, in words and in the formats that programs read."""

    def guard(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except NoBaseline as error:
            print(f"mycelium: nothing to compare with yet ({error.args[0]})", file=sys.stderr)
            return ended(args, "ok", "first version", str(error))
        except BaselineError as error:
            return ended(args, "no_baseline", error.what, error.why, error.remedy)
        except ConfigurationError as error:
            return ended(args, "usage", error.where, error.problem, error.remedy)
        except InvalidContract as error:
            faults = "\n".join(f"  {fault}" for fault in error.error.faults)
            return ended(args, "invalid", f"the {error.side} contract is invalid ({error.name})\n{faults}")

    return guard


def ended(args: argparse.Namespace, status: Status, what: str, why: str = "", remedy: str = "") -> int:
    """Tell a run that ends without a report, in every format that was asked for; the exit code."""
    from mycelium.schema.compat.github_report import render_failure
    from mycelium.schema.compat.json_report import failed_json
    from mycelium.schema.compat.sarif_report import failed_sarif

    makers = {
        "json": lambda: failed_json(status, what, why, remedy),
        "sarif": lambda: failed_sarif(status, what, why),
        "github": lambda: render_failure(status, what, why, remedy),
    }
    wanted: list[tuple[str, Path | None]] = [(getattr(args, "format", "text"), None)]
    for one in getattr(args, "output", []):
        name, _, file = one.partition("=")
        wanted.append((name, Path(file)))
    for name, file in wanted:
        text = makers[name]() if name in makers else ""
        if file is None:
            sys.stdout.write(text)
        elif text:
            file.write_text(text, encoding="utf-8")
    return 0 if status == "ok" else fail(EXIT_CODES[status], what, why, remedy)
