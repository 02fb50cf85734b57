"""`mycelium schema stubs`: a `.pyi` file for editors and type checkers."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from mycelium.cli.options import Commands, new_command
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

if TYPE_CHECKING:
    from mycelium.bus.reload import Change

__all__ = ["add_parser"]

_log = Log("mycelium.schema")


def add_parser(commands: Commands) -> None:
    """`schema stubs [FILE]`."""
    parser = new_command(
        commands,
        "stubs",
        "Write what a contract's classes look like to a .pyi file, for editors and type checkers; no Python runs it. "
        "It belongs beside the module that binds the contract: app/messages.pyi beside app/messages.py, which is "
        '`import mycelium; mycelium.bind(__name__, "contracts.yaml")` and nothing else.',
        "mycelium schema stubs app/contracts.yaml -o app/messages.pyi",
        "mycelium schema stubs app/contracts.yaml -o app/messages.pyi --check",
        "mycelium schema stubs app/contracts.yaml -o app/messages.pyi --watch",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="the contracts file (default: the one that is found)")
    parser.add_argument("-o", "--output", metavar="STUB", type=Path, help="the .pyi file (default: print it)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file is stale or missing")
    how.add_argument("--watch", action="store_true", help="follow the contract and rewrite the file until interrupted")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print, write, check, or go on writing."""
    from mycelium.cli.failures import fail
    from mycelium.contractfile import find

    source = Path(args.file) if args.file else find()
    target: Path | None = args.output
    if target is None:
        if args.check or args.watch:
            return fail(2, f"{'--check' if args.check else '--watch'} needs a file", "", "name it with -o")
        print(_stub_of(source), end="")
        return 0
    if target.suffix != ".pyi":
        return fail(2, f"{target} is no .pyi file", "a stub in its place would be run", "name a file that ends in .pyi")
    try:
        if args.check:
            return _check(source, target, args.file)
        return asyncio.run(_follow(source, target)) if args.watch else _bring_up_to_date(target, _stub_of(source))
    except OSError as error:
        return fail(4, f"{target} cannot be {'read' if args.check else 'written'}", error.strerror or str(error))


def _stub_of(source: Path) -> str:
    from mycelium.contractfile import read_schema
    from mycelium.schema.stubs import stubs

    return stubs(read_schema(source))


def _content(target: Path) -> str | None:
    try:
        return target.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""


def _check(source: Path, target: Path, named: str | None) -> int:
    import shlex

    from mycelium.cli.failures import fail

    wanted, found = _stub_of(source), _content(target)
    if found == wanted:
        return 0
    command = shlex.join(["mycelium", "schema", "stubs", *([named] if named else []), "-o", str(target)])
    return fail(1, f"{target} is {'missing' if found is None else f'not what {source} says'}: run `{command}`")


def _bring_up_to_date(target: Path, text: str) -> int:
    """Write the file, unless it says the same already: who looks at its time builds nothing anew."""
    from mycelium.cli.files import write_whole
    from mycelium.cli.output import say

    if _content(target) == text:
        say(f"{target} is up to date")
    else:
        write_whole(target, text)
        say(f"{target} is written")
        _log(Line.STUBS_WRITTEN, target=str(target))
    return 0


async def _follow(source: Path, target: Path) -> int:
    """Write the stub now and after each edit that is a valid contract, whether or not peers could follow it."""
    import logging
    import signal

    from mycelium.cli.output import say
    from mycelium.handle import load
    from mycelium.schema.stubs import stubs

    logging.basicConfig(format="mycelium: %(message)s")  # where an edit that is no valid contract is told

    def changed(change: "Change") -> None:
        try:
            if change.current is not None:
                _bring_up_to_date(target, stubs(change.current))
        except OSError as error:  # the folder may come back, as in a checkout of another branch
            say(f"mycelium: {target} cannot be written: {error.strerror}")

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    contracts = load(source)
    _bring_up_to_date(target, stubs(contracts.schema))
    contracts.on_change(changed)
    async with contracts.watching("none"):
        say(f"following {source}; stop with Ctrl-C")
        await stop.wait()
    return 0
