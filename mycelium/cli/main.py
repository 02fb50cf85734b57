"""The command line: which command is meant, and what its exit code is.

0 done; 1 the answer is no; 2 wrong usage; 3 a contract is invalid; 4 not there or no answer; 5 lockfile stale.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from mycelium._version import __version__
from mycelium.cli.options import Commands

__all__ = ["COMMANDS", "add_commands", "main"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "init": ("mycelium.cli.init", "write a starter contracts file, an application and its test"),
    "doctor": ("mycelium.cli.doctor", "say what is missing here, and how to get it"),
    "demo": ("mycelium.cli.demo", "watch typed messages flow between processes for a few seconds"),
    "serve": ("mycelium.cli.serve", "run a bridge"),
    "pub": ("mycelium.cli.pub", "publish messages"),
    "sub": ("mycelium.cli.sub", "subscribe, and print what comes"),
    "req": ("mycelium.cli.req", "send a request, and print the reply"),
    "ping": ("mycelium.cli.ping", "measure round trips to a bridge"),
    "info": ("mycelium.cli.info", "say what a bridge is, and what it takes"),
    "top": ("mycelium.cli.top", "watch what a bridge does"),
    "bench": ("mycelium.cli.bench", "measure throughput and latency on this machine"),
    "encode": ("mycelium.cli.encode", "JSON to bytes"),
    "decode": ("mycelium.cli.decode", "bytes to JSON, or explained byte by byte"),
    "schema": ("mycelium.cli.schema", "look at contracts, check them, compare them"),
    "compat": ("mycelium.cli.schema_compat", "compare two contracts files"),
}
"""Name to module and help. A module has `add_parser(subparsers)`, which sets `func`, a function of the arguments that
returns the exit code."""
_INTERRUPTED: Final = 130
_EPILOG: Final = (
    "Examples: `mycelium demo`, `mycelium serve contracts.yaml`, `mycelium sub Ping`. "
    "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 a contract is invalid, 4 not there or no answer, "
    "5 the lockfile is stale."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="mycelium", description="A message bus for typed messages.", epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"mycelium {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    add_commands(commands, COMMANDS, arguments)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    return _run(parsed)


def add_commands(
    commands: Commands,
    table: Mapping[str, tuple[str, str]],
    arguments: Sequence[str],
) -> None:
    """A parser for each command of a table; only the module of a command that is among the arguments is imported."""
    for name, (module, text) in table.items():
        if name in arguments:
            importlib.import_module(module).add_parser(commands)
        else:
            commands.add_parser(name, help=text, add_help=False)


def _run(parsed: argparse.Namespace) -> int:
    from mycelium.cli.failures import explain, fail, say_warnings
    from mycelium.errors import MyceliumError

    say_warnings()
    try:
        code: int = parsed.func(parsed)
    except MyceliumError as error:
        return explain(error)
    except TimeoutError:
        return fail(4, "no answer from the bridge in time", "", "is it overloaded? `mycelium ping` measures it")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `| head` does; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return fail(4, error.filename or "input or output failed", (error.strerror or str(error)).lower())
    return code
