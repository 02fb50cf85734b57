"""`mycelium info`: what a bridge is, and what it takes."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mycelium.cli.figures import age, count, size
from mycelium.cli.options import Commands, add_url, credentials, new_command

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["add_parser", "reload_lines", "schema_line"]

_INDENT: Final = 15


def add_parser(commands: Commands) -> None:
    """`info`."""
    parser = new_command(
        commands,
        "info",
        "Say what a bridge is: its version and age, where it listens, its contracts and what became of their last "
        "edit, and its limits. Needs no contracts file.",
        "mycelium info",
        "mycelium info -o json --url unix:///run/mycelium.sock",
    )
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object")
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer."""
    from mycelium.bus.urls import default_url
    from mycelium.cli.bridge import ask
    from mycelium.cli.screen import Screen

    url = args.url or default_url()
    (info,) = ask(url, "info", credentials(args))
    if args.output == "json":
        print(json.dumps({"url": url, **info}, ensure_ascii=False))
    else:
        screen = Screen()
        for label, text in (("bridge", url), *_facts(info), *_limits(info)):
            screen.print(_line(label, text), soft_wrap=True)
    return 0


def schema_line(schema: dict[str, Any]) -> str:
    """Which contracts are in force."""
    return f"{schema['id']:#010x} version {schema['version']}, {count(schema['messages'])} messages"


def reload_lines(reload: dict[str, Any] | None) -> Iterator[str]:
    """What became of the last edit of the contracts, and why; nothing where there was none."""
    if reload is not None:
        why = f" ({reload['outcome']})" if reload["refused"] else ""
        yield f"{_WORDS.get(reload['outcome'], 'refused')} {age(reload['ago_s'])} ago{why}"
        yield from (f"  {reason}" for reason in reload["reasons"])


_WORDS: Final = {"applied": "applied", "unchanged": "found unchanged"}


def _facts(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    schema, limits = info["schema"], info["limits"]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info["started_at"]))
    yield "name", info["server"]
    yield "version", f"{info['version']}, protocol {info['protocol']}"
    yield "up", f"{age(info['uptime_s'])}, since {since}"
    yield "process", f"{info['pid']}, {info['python']} on {info['loop']}"
    yield from _under("listens on", info["listen"])
    yield "connections", f"{count(info['sessions'])} of {count(limits['connections'])}"
    yield "", ""
    yield "schema", schema_line(schema)
    yield "reads", f"what version {schema['min_compatible']} and later ones have written"
    yield "digest", schema["digest"]
    yield "source", schema["source"]
    yield from _under("last reload", reload_lines(schema.get("reload")))


def _limits(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "", ""
    for label, text in _LIMITS.items():
        yield label, text(info["limits"])


def _under(label: str, lines: "Iterator[str] | list[str]") -> Iterator[tuple[str, str]]:
    for line in lines:
        yield label, line
        label = ""


def _line(label: str, text: str) -> "Text":
    from rich.text import Text

    from mycelium.schema.printable import printable

    return Text.assemble((label.ljust(_INDENT), "dim"), printable(text)) if text else Text(label, "dim")


_LIMITS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "payload": lambda its: size(its["max_payload"]),
    "handshake": lambda its: f"{its['handshake_seconds']:g} s, {count(its['handshakes'])} at a time",
    "subscriptions": lambda its: f"{count(its['subscriptions'])} of a connection, to {count(its['types'])} types",
    "queue": lambda its: f"{count(its['queue'])} messages or {size(its['queue_bytes'])} of a subscription",
    "block": lambda its: f"a message waits {its['block_seconds']:g} s for room",
    "unread": lambda its: (
        f"{size(its['outbound_bytes'])}, or {size(its['outbound_soft_bytes'])} for "
        f"{its['outbound_soft_seconds']:g} s, then the client is sent away"
    ),
    "stall": lambda its: (
        f"{its['stall_seconds']:g} s without a byte taken, or {its['unsent_seconds']:g} s for the oldest, the same"
    ),
}
"""What a limit is called to what it says."""
