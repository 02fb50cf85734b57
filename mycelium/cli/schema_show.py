"""`mycelium schema show`: what a contracts file declares."""

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from mycelium.cli.options import Commands, new_command

if TYPE_CHECKING:
    from rich.console import Console

    from mycelium.schema.model import EnumDef, Field, Message, Schema

__all__ = ["add_parser"]

_NAMED: Final = ("types", "messages")
"""Sections of the document whose entries are asked for by name."""


def add_parser(commands: Commands) -> None:
    """`schema show [TYPE…]`."""
    parser = new_command(
        commands,
        "show",
        "Print what a contracts file declares: everything in short, or some types with their fields.",
        "mycelium schema show",
        "mycelium schema show Ping --contracts contracts.yaml",
        "mycelium schema show --layout rust Ping",
    )
    parser.add_argument("types", metavar="TYPE", nargs="*", help="messages or enums (default: a list of all)")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: the document")
    parser.add_argument(
        "--layout",
        choices=("rust",),
        help="print offsets, sizes and padding of the structs of the Rust Mycelium; exit code 1 if one has none",
    )
    parser.add_argument("--contracts", metavar="FILE", help="the contracts file (default: the one that is found)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print tables, or JSON."""
    import difflib

    from mycelium.cli.screen import Screen
    from mycelium.handle import load
    from mycelium.schema.errors import UnknownTypeError

    schema = load(args.contracts).schema
    known = [*schema.messages, *([] if args.layout else schema.enums)]
    for name in args.types:
        if name not in known:
            raise UnknownTypeError(name, difflib.get_close_matches(name, known, n=2))
    if args.layout:
        from mycelium.cli.layout import show_layouts

        return show_layouts([schema.messages[name] for name in args.types or schema.messages], args.output)
    if args.output == "json":
        print(json.dumps(_chosen(schema, args.types), ensure_ascii=False))
        return 0
    console = Screen()
    if not args.types:
        _show_all(console, schema)
    for name in args.types:
        if name in schema.messages:
            _show_message(console, schema.messages[name])
        else:
            _show_enum(console, schema.enums[name])
    return 0


def _chosen(schema: "Schema", names: list[str]) -> dict[str, Any]:
    from mycelium.schema.document import document

    whole: dict[str, Any] = document(schema)
    if not names:
        return whole
    kept = {
        section: {name: whole[section][name] for name in names if name in whole.get(section, ())} for section in _NAMED
    }
    return {section: each for section, each in kept.items() if each}


def _show_all(console: "Console", schema: "Schema") -> None:
    from rich.table import Table

    console.print(f"{schema.source}: schema {schema.id:#010x} version {schema.version}", soft_wrap=True)
    console.print(f"digest {schema.digest}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for head in ("id", "message", "topic", "fields", "description"):
        table.add_column(head, justify="right" if head in ("id", "fields") else "left", overflow="fold")
    for one in schema.messages.values():
        table.add_row(*map(_plain, (str(one.type_id), one.name, one.topic, str(len(one.fields)), one.description)))
    console.print(table)
    for enum in schema.enums.values():
        _show_enum(console, enum)


def _show_message(console: "Console", message: "Message") -> None:
    from rich.table import Table

    notes = [f"type id {message.type_id}", f"topic {message.topic}", *_traits(message)]
    console.print(_plain(f"{message.name}  ({', '.join(notes)})"), style="bold", soft_wrap=True)
    if message.description:
        console.print(_plain(message.description), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for head in ("tag", "field", "type", "presence", "rules", "description"):
        table.add_column(head, justify="right" if head == "tag" else "left", overflow="fold")
    for one in message.fields:
        rules = ", ".join(f"{rule.name}: {json.dumps(rule.argument, ensure_ascii=False)}" for rule in one.rules)
        name = f"{one.name} (deprecated)" if one.deprecated else one.name
        table.add_row(*map(_plain, (str(one.tag), name, str(one.type), _presence(one), rules, one.description)))
    console.print(table)


def _traits(message: "Message") -> list[str]:
    traits = {
        "deprecated": message.deprecated,
        f"key {', '.join(message.key)}": message.key,
        f"retain {message.retain}": message.retain,
        f"on lag {message.on_lag}": message.on_lag,
        "redacted": message.redacted,
    }
    return [text for text, holds in traits.items() if holds]


def _presence(one: "Field") -> str:
    from mycelium.schema.model import MISSING

    default = "" if one.default is MISSING else f"default {json.dumps(one.default, ensure_ascii=False)}"
    return ", ".join(filter(None, ["optional" if one.optional else "", default])) or "required"


def _show_enum(console: "Console", enum: "EnumDef") -> None:
    members = ", ".join(f"{name} = {number}" for name, number in enum.members.items())
    kind = "open" if enum.open else "closed"
    console.print(_plain(f"enum {enum.name} ({enum.repr}, {kind}): {members}"), soft_wrap=True)


def _plain(text: str) -> Any:
    """Text of the file as it is: brackets are no markup."""
    from rich.text import Text

    from mycelium.schema.printable import printable

    return Text(printable(text))
