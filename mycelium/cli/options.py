"""Options that several commands have, and how their values are read."""

import argparse
import re
from typing import Final

__all__ = ["add_contracts", "add_url", "duration", "example", "positive"]

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)?")


def duration(text: str) -> float:
    """Seconds of `250ms`, `5s`, `2m` or a plain number of seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 250ms, 5s or 2m")
    return float(found[1]) * _UNITS[found[2] or "s"]


def positive(text: str) -> int:
    """An integer from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def add_url(parser: argparse.ArgumentParser) -> None:
    """`--url`."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the bridge: tcp://host:port or unix:///path ($MYCELIUM_URL, else tcp://localhost:7777)",
    )


def add_contracts(parser: argparse.ArgumentParser) -> None:
    """`--contracts`."""
    parser.add_argument(
        "--contracts",
        metavar="FILE",
        help="the contracts file ($MYCELIUM_CONTRACTS, else the nearest contracts.yaml from here upward)",
    )


def example(*lines: str) -> dict[str, object]:
    """Arguments for a parser whose help ends with examples."""
    text = "\n".join(f"  {line}" for line in lines)
    return {
        "epilog": f"example{'s' if len(lines) > 1 else ''}:\n{text}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
