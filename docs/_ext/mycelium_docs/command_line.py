"""Every command of `mycelium`, from its parser."""

import argparse
import importlib
import os
import re
from collections.abc import Iterator
from typing import Final

from mycelium.cli.main import COMMANDS
from mycelium_docs.markdown import fence, table

__all__ = ["commands"]

_WIDTH: Final = 88
_LEVELS: Final = {1: "##", 2: "###"}


def commands() -> str:
    """A section for each command."""
    root = argparse.ArgumentParser(prog="mycelium")
    subparsers = root.add_subparsers()
    for module, _ in COMMANDS.values():
        importlib.import_module(module).add_parser(subparsers)
    os.environ["COLUMNS"] = str(_WIDTH)
    return "\n".join(_sections(subparsers, 1))


def _sections(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", level: int) -> Iterator[str]:
    for parser in subparsers.choices.values():
        yield f"{_LEVELS[level]} {parser.prog}\n"
        yield f"{_marked(parser.description or '')}\n"
        inner = _subparsers(parser)
        if inner is not None:
            yield from _sections(inner, level + 1)
            continue
        yield fence(parser.format_usage().removeprefix("usage: ").replace("\n" + " " * len("usage: "), "\n"))
        yield table(["argument", ""], _arguments(parser))
        yield fence("\n".join(f"$ {line}" for line in _examples(parser)), "console")


def _subparsers(parser: argparse.ArgumentParser) -> "argparse._SubParsersAction[argparse.ArgumentParser] | None":
    found = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001  argparse has no other way to look
    return found[0] if found else None


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:  # noqa: SLF001  the same
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        value = "" if action.nargs == 0 else f" {parser._get_formatter()._format_args(action, _metavar(action))}"  # noqa: SLF001
        names = [f"`{name}{value}`" for name in action.option_strings] or [f"`{value.strip()}`"]
        yield ", ".join(names), _help(action)


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def _help(action: argparse.Action) -> str:
    return _marked((action.help or "") % {"default": action.default, "prog": "mycelium"})


def _marked(text: str) -> str:
    """Options, variables and URLs as code."""
    return re.sub(r"(?<![\w`])(\$?MYCELIUM_\w+|--(?:[a-z][\w-]*)|(?:rust\+)?\w+://\S*[\w/])", r"`\1`", text)


def _examples(parser: argparse.ArgumentParser) -> list[str]:
    return [line.strip() for line in (parser.epilog or "").splitlines()[1:]]
