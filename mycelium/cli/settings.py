"""Settings of a command: command line over environment over defaults, and where each value came from."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from mycelium.bus.errors import UsageError

__all__ = ["Resolved", "Setting", "add_settings", "resolve"]


@frozen
class Setting:
    """One option that the environment can give too.

    Attributes:
        name: Without dashes: `listen` is `--listen` and `MYCELIUM_LISTEN`.
        parse: Text to value; raises argparse.ArgumentTypeError.
        default: The value where nobody says.
        help: One line.
        metavar: How the help calls the value.
        many: Whether it may be given more than once; in the environment separated by spaces.
        shown: How the help calls the default, where that says more than its value.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = ""
    many: bool = False
    shown: str = ""

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"MYCELIUM_{self.name.upper().replace('-', '_')}"


@frozen
class Resolved:
    """A value, and where it came from: `command line`, the variable's name, or `default`."""

    value: Any
    origin: str


def add_settings(parser: argparse.ArgumentParser, settings: Sequence[Setting]) -> None:
    """An option for each setting."""
    for one in settings:
        shown = one.shown or (" ".join(one.default) if one.many else one.default)
        if isinstance(one.default, bool):
            action = argparse.BooleanOptionalAction
            parser.add_argument(f"--{one.name}", action=action, default=None, help=one.help)
            continue
        parser.add_argument(
            f"--{one.name}",
            type=one.parse,
            metavar=one.metavar,
            action="append" if one.many else "store",
            help=f"{one.help} (default {shown})",
        )


def resolve(
    args: argparse.Namespace, settings: Sequence[Setting], environment: Mapping[str, str] = os.environ
) -> dict[str, Resolved]:
    """The value of each setting.

    Raises:
        UsageError: The environment has a value that is none.
    """
    return {one.name: _resolve(one, getattr(args, one.name.replace("-", "_")), environment) for one in settings}


def _resolve(one: Setting, given: Any, environment: Mapping[str, str]) -> Resolved:
    if given is not None:
        return Resolved(given, "command line")
    text = environment.get(one.variable)
    if not text:
        return Resolved(one.default, "default")
    try:
        value = [one.parse(each) for each in text.split()] if one.many else one.parse(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise UsageError(f"{one.variable}: {error}") from None
    return Resolved(value, one.variable)
