"""What `mycelium serve` can be told of its HTTP side."""

import argparse
from typing import Final

from mycelium.bus.errors import UsageError
from mycelium.bus.urls import parse_url
from mycelium.cli.settings import Setting

__all__ = ["OFF", "SETTINGS"]

OFF: Final = "off"


def _place(text: str) -> str:
    """`HOST:PORT`, or `off`."""
    if text.lower() == OFF:
        return OFF
    try:
        address = parse_url(f"tcp://{text}")
    except UsageError:
        address = None
    if address is None or not text.rpartition(":")[2].isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no place; write 127.0.0.1:7778, [::1]:7778 or off")
    return text


SETTINGS: Final = (
    Setting(
        "http",
        _place,
        "127.0.0.1:7778",
        "where health, metrics and tables are served over HTTP (extra `http`), or off",
        "HOST:PORT",
    ),
    Setting(
        "http-names",
        str,
        [],
        "host names under which that may be asked for, beside addresses, localhost and its own; repeatable",
        "NAME",
        many=True,
        shown="none",
    ),
)
