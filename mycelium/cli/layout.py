"""Layouts in the Rust dialect, as people and programs read them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mycelium.cli.screen import Screen
from mycelium.schema.errors import LayoutError
from mycelium.schema.layout import Layout, layout_of
from mycelium.schema.model import Message
from mycelium.schema.printable import printable

__all__ = ["show_layouts"]

_HEADS = {"offset": "right", "size": "right", "align": "right", "field": "left", "type": "left", "room": "right"}


def show_layouts(messages: Sequence[Message], output: str) -> int:
    """Print the layouts, or why there is none; the exit code.

    Args:
        messages: Of whom.
        output: `pretty` or `json`.
    """
    found = {message.name: _layout(message) for message in messages}
    if output == "json":
        print(json.dumps({"messages": {name: _as_json(one) for name, one in found.items()}}, ensure_ascii=False))
    else:
        console = Screen()
        for name, one in found.items():
            if isinstance(one, Layout):
                console.print(_plain(_title(one)), style="bold", soft_wrap=True)
                console.print(_table(one))
            else:
                console.print(_plain(f"{name}  (no layout: {_why(one)})"), style="bold", soft_wrap=True)
    return 0 if all(isinstance(one, Layout) for one in found.values()) else 1


def _layout(message: Message) -> Layout | LayoutError:
    try:
        return layout_of(message)
    except LayoutError as error:
        return error


def _why(error: LayoutError) -> str:
    return "; ".join(f"{one.field}: {one.reason}" if one.field else one.reason for one in error.problems)


def _title(layout: Layout) -> str:
    return f"{layout.message}  (type id {layout.type_id}, {layout.size} bytes, alignment {layout.alignment})"


def _rows(layout: Layout) -> Iterator[tuple[str, ...]]:
    """Fields and padding in the order of their offsets."""
    paddings = {start: stop - start for start, stop in layout.paddings}
    for slot in layout.slots:
        room = "" if slot.capacity is None else str(slot.capacity)
        yield str(slot.offset), str(slot.size), str(slot.alignment), slot.name, slot.type, room
        if slot.stop in paddings:
            yield str(slot.stop), str(paddings[slot.stop]), "", "padding", "", ""


def _table(layout: Layout) -> Table:
    table = Table(box=None, pad_edge=False)
    for head, side in _HEADS.items():
        table.add_column(head, justify="right" if side == "right" else "left", overflow="fold")
    for row in _rows(layout):
        table.add_row(*map(_plain, row), style="dim" if row[3:] == ("padding", "", "") else None)
    return table


def _as_json(found: Layout | LayoutError) -> dict[str, Any]:
    if isinstance(found, LayoutError):
        return {"problems": [{"field": one.field, "reason": one.reason} for one in found.problems]}
    return {
        "tlv_type": found.type_id,
        "size": found.size,
        "alignment": found.alignment,
        "fields": {
            one.name: {
                "type": one.type,
                "offset": one.offset,
                "size": one.size,
                "alignment": one.alignment,
                **({} if one.capacity is None else {"capacity": one.capacity}),
            }
            for one in found.slots
        },
        "padding": [{"offset": start, "size": stop - start} for start, stop in found.paddings],
    }


def _plain(text: str) -> Text:
    return Text(printable(text))
