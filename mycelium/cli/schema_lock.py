"""`mycelium schema lock`: the lockfile, one entry for each released version."""

import argparse
from typing import TYPE_CHECKING

from mycelium.cli.compat_options import add_contract, add_output, add_policy
from mycelium.cli.options import Commands, new_command

if TYPE_CHECKING:
    from pathlib import Path

    from mycelium.schema.model import Schema

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`lock [NEW] [--check]`."""
    parser = new_command(
        commands,
        "lock",
        "Add the contract's version to contracts.lock beside it. Refused if the contract is not compatible "
        "with the last locked version. With --check nothing is written, and the exit code is 5 if the lockfile is "
        "stale. Give the file the attribute `-merge` in .gitattributes: two branches cannot both be the next version.",
        "mycelium schema lock",
        "mycelium schema lock --check",
    )
    add_contract(parser)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 5 if the lockfile is stale")
    add_policy(parser)
    add_output(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Check against the last entry, then write; or only look."""
    from mycelium.cli.compat_run import guarded

    return guarded(_lock)(args)


def _lock(args: argparse.Namespace) -> int:
    from pathlib import Path

    from mycelium.cli.baseline import LOCKFILE, load_lock
    from mycelium.cli.compat_run import ended, read_new
    from mycelium.cli.failures import fail
    from mycelium.cli.files import write_whole
    from mycelium.cli.output import say
    from mycelium.schema.compat.lockfile import LockError, entry_of

    path = Path(args.contract)
    text, current = read_new(args.contract)
    target = path.parent / LOCKFILE
    lock = load_lock(target)
    entry = entry_of(current, text)
    if lock.is_current(entry):
        say(f"{target} is up to date: version {entry.version}")
        return 0
    if args.check:
        why = f"it does not have {path} version {entry.version} as it is now"
        return ended(args, "stale", f"{target} is stale", why, "`mycelium schema lock`, and commit it")
    code = _checked(args, path, current, target) if lock.last is not None else 0
    if code:
        return code
    try:
        renewed = lock.adding(entry)
    except LockError as error:
        return fail(1, f"{target} does not take version {entry.version}", error.problem, error.remedy)
    write_whole(target, renewed.text())
    say(f"{target}: version {entry.version} locked")
    return 0


def _checked(args: argparse.Namespace, path: "Path", current: "Schema", target: "Path") -> int:
    """The gate that a version has to pass before it is locked."""
    from mycelium.cli.baseline import find_baselines
    from mycelium.cli.compat_files import find_configuration
    from mycelium.cli.compat_run import Inputs, compared, for_baselines, print_view, settings_of, viewed
    from mycelium.cli.output import say

    found = find_configuration(path.parent)
    policy = settings_of(args, found)
    spec = "lock:all" if policy.level.endswith("-transitive") else "lock"
    baselines = find_baselines([spec], path)
    report = compared(Inputs(path, b"", current, baselines, for_baselines(policy, baselines), found))
    if report.ok:
        return 0
    code = print_view(args, viewed(args, report, path, baselines.previous))
    say(f"mycelium: {target} is unchanged: a version that fails the check is not locked")
    return code
