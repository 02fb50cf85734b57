"""What the core protocol's messages are, and how they look on the wire."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from mycelium.bus.lag import DropReason, Lag
from mycelium.handle import core_protocol
from mycelium.schema.redaction import unredacted
from mycelium.wire.annotate import Row, annotate_frames
from mycelium.wire.metadata import KINDS
from mycelium_docs.markdown import fence, table

__all__ = ["frames", "lag_policies", "messages", "metadata", "reasons"]

_ROOT: Final = Path(__file__).parents[3]
_WIDTH: Final = 12
"""Bytes on a line of a dump."""


def messages() -> str:
    """The core messages and their fields."""
    said = yaml.safe_load((_ROOT / "mycelium" / "wire" / "core.yaml").read_text(encoding="utf-8"))["messages"]
    rows = (
        (message.type_id, f"`{message.name}`", said[message.name]["x-from"], message.description, _fields(message))
        for message in core_protocol().registry.schema.messages.values()
    )
    return table(["id", "message", "from", "what it says", "fields, in the order of their tags"], rows)


def _fields(message: Any) -> str:
    shown = (f"`{one.name}: {one.type}{'?' if one.optional else ''}`" for one in message.fields)
    return ", ".join(shown) or "none"


def frames() -> str:
    """A frame of each core message from the test vectors, explained byte by byte."""
    schema = unredacted(core_protocol().registry.schema)
    vectors = yaml.safe_load((_ROOT / "tests" / "vectors" / "core.yaml").read_text(encoding="utf-8"))["rows"]
    fullest: dict[str, Any] = {}
    for vector in vectors:
        best = fullest.get(vector["message"])
        if best is None or len(vector["fields"]) > len(best["fields"]):
            fullest[vector["message"]] = vector
    parts = []
    for name in schema.messages:
        if name in fullest:
            rows = annotate_frames(bytes.fromhex(fullest[name]["frame"]), [schema])
            parts.append(f"### {name}\n\n{fence(dump(rows))}")
    return "\n".join(parts)


def dump(rows: list[Row]) -> str:
    """Rows as lines of offset, bytes and text."""
    return "\n".join(line for row in rows for line in _lines(row))


def _lines(row: Row) -> Iterator[str]:
    pieces = [row.hex[start : start + 2 * _WIDTH] for start in range(0, len(row.hex), 2 * _WIDTH)] or [""]
    yield f"{row.offset:>4}  {pieces[0]:<{2 * _WIDTH}}  {'  ' * row.depth}{row.text}".rstrip()
    for number, piece in enumerate(pieces[1:], 1):
        yield f"{row.offset + number * _WIDTH:>4}  {piece}"


def metadata() -> str:
    """Tags of the envelope."""
    rows = ((f"`{tag:#06X}`".replace("0X", "0x"), kind.title, kind.size) for tag, kind in KINDS.items())
    return table(["tag", "what", "bytes"], rows)


def lag_policies() -> str:
    """Lag policies by their number in Subscribe."""
    return table(["number", "policy"], ((each.value, f"`{each.word}`") for each in Lag))


def reasons() -> str:
    """Drop reasons by their number in Lagged."""
    return table(["number", "reason"], ((each.value, f"`{each.reason}`") for each in DropReason))
