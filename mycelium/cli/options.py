"""Options that several commands have, and how their values are read."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = [
    "Commands",
    "add_contracts",
    "add_dialect",
    "add_url",
    "credentials",
    "duration",
    "lag_policy",
    "new_command",
    "positive",
    "size",
]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  it has no public name
"""What a parser for a command is added to."""

_TLS_FILES: Final = {
    "tls-ca": "who signs the bridge's certificate",
    "tls-cert": "certificate chain of this client",
    "tls-key": "its key",
}
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SWITCHES: Final = {
    **dict.fromkeys(("on", "yes", "true", "1"), True),
    **dict.fromkeys(("off", "no", "false", "0"), False),
}
_SIZE_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE: Final = re.compile(r"(\d+)(?:([KMGkmg])(?:i?[Bb])?)?")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)?")


def duration(text: str) -> float:
    """Seconds of `250ms`, `5s`, `2m` or a plain number of seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 250ms, 5s or 2m")
    return float(found[1]) * _UNITS[found[2] or "s"]


def size(text: str) -> int:
    """Bytes of `512MiB`, `2GiB` or a plain number of bytes."""
    found = _SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 512MiB, 2GiB or bytes")
    return int(found[1]) * _SIZE_UNITS[(found[2] or "").lower()]


def positive(text: str) -> int:
    """An integer from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def on_or_off(text: str) -> bool:
    """Of `on`, `off` and the words that are used for them."""
    try:
        return _SWITCHES[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off") from None


def log_format(text: str) -> str:
    """The name of a form of log lines."""
    from mycelium.logs.setup import FORMATS

    return _one_of("log format", text, FORMATS)


def log_level(text: str) -> str:
    """The name of a level of the log."""
    from mycelium.logs.setup import LEVELS

    return _one_of("log level", text, LEVELS)


def _one_of(what: str, text: str, names: Sequence[str]) -> str:
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}; take one of {', '.join(names)}")
    return text


def reload_policy(text: str) -> str:
    """The name of a reload policy."""
    from mycelium.schema.compat.reloading import RELOAD_POLICIES

    return _one_of("policy", text, RELOAD_POLICIES)


def lag_policy(text: str) -> str:
    """The name of a lag policy."""
    from mycelium.bus.lag import Lag

    return _one_of("lag policy", text, [one.word for one in Lag])


def add_url(parser: argparse.ArgumentParser) -> None:
    """`--url`, and what a bridge may want to know of who connects."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the bridge: tcp://host:port, tls://host:port or unix:///path ($MYCELIUM_URL, else tcp://localhost:7777)",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a file with the token that this is known by ($MYCELIUM_TOKEN)"
    )
    for name, text in _TLS_FILES.items():
        help_ = f"{text}, PEM ($MYCELIUM_{name.upper().replace('-', '_')})"
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=help_)


def credentials(args: argparse.Namespace) -> dict[str, Any]:
    """What a client has to be made with, out of the options of `add_url`."""
    return {"token": args.token_file, "tls_ca": args.tls_ca, "tls_cert": args.tls_cert, "tls_key": args.tls_key}


def add_contracts(parser: argparse.ArgumentParser) -> None:
    """`--contracts`."""
    parser.add_argument(
        "--contracts",
        metavar="FILE",
        help="the contracts file ($MYCELIUM_CONTRACTS, else the nearest contracts.yaml from here upward)",
    )


def add_dialect(parser: argparse.ArgumentParser) -> None:
    """`--dialect`."""
    parser.add_argument(
        "--dialect",
        choices=("native", "rust"),
        default="native",
        help="how the bytes are laid out: as TLV (default), or as the C structs of the Rust Mycelium",
    )


def new_command(commands: Commands, name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """A parser for a command.

    Args:
        commands: Where it belongs.
        name: What is typed.
        description: What it does, for its own help.
        examples: Command lines that the help ends with.
    """
    shown = "\n".join(f"  {line}" for line in examples)
    return commands.add_parser(
        name,
        help=description.split(". ", maxsplit=1)[0].rstrip("."),
        description=description,
        epilog=f"example{'s' if len(examples) > 1 else ''}:\n{shown}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )


class _Formatter(argparse.HelpFormatter):
    """Wraps descriptions, and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("example") else super()._fill_text(text, width, indent)
