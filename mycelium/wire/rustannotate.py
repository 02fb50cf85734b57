"""Structs and frames of the Rust dialect explained to people, byte by byte, padding included.

As in `annotate` the rows hold every byte once, in order, whatever the bytes are.
"""

from collections.abc import Iterator
from typing import Final

from attrs import evolve

from mycelium.schema.errors import REDACTED
from mycelium.schema.kinds import Type, Vec
from mycelium.schema.layout import COUNT_SIZE, HEAD_SIZE, Layout, Slot, layout_of
from mycelium.schema.model import Field, Message, Schema
from mycelium.wire.annotate import Annotator, Place, Row, place_of
from mycelium.wire.rustframes import PREAMBLE_MARK, PREAMBLE_SIZE, RUST_HEADER
from mycelium.wire.rustwalk import element_size

__all__ = ["annotate_rust_frames", "annotate_struct"]

_TYPE_ID_SIZE: Final = 2


def annotate_struct(message: Message, payload: bytes) -> list[Row]:
    """The rows of a payload.

    Args:
        message: What it is.
        payload: Any bytes.

    Raises:
        LayoutError: The message has no layout.
    """
    return list(_Struct(payload, message).rows(0, len(payload), place_of(message, 0)))


def annotate_rust_frames(data: bytes, schema: Schema) -> list[Row]:
    """The rows of one or more whole frames, perhaps with a preamble in front.

    Args:
        data: Any bytes.
        schema: Where types are found.

    Raises:
        LayoutError: A message in it has no layout.
    """
    rows: list[Row] = []
    start = 0
    if data.startswith(PREAMBLE_MARK) and len(data) >= PREAMBLE_SIZE:
        mark, start = len(PREAMBLE_MARK), PREAMBLE_SIZE
        rows.append(Row(0, data[:mark], 0, "preamble: a digest of 32 bytes"))
        rows.append(Row(mark, data[mark:start], 0, "SHA-256 of a contracts file's bytes"))
    while start < len(data):
        rows += _frame(data, start, schema)
        start = rows[-1].offset + rows[-1].length
    return rows


def _frame(data: bytes, start: int, schema: Schema) -> Iterator[Row]:
    left = len(data) - start
    if left < RUST_HEADER.size:
        yield Row(start, data[start:], 0, f"{left} bytes are no whole frame header", wrong=True)
        return
    type_id, length = RUST_HEADER.unpack_from(data, start)
    message = schema.by_id.get(type_id)
    middle, body = start + _TYPE_ID_SIZE, start + RUST_HEADER.size
    stop = min(body + length, len(data))
    problem = "" if stop == body + length else f": {stop - body} are left"
    yield Row(start, data[start:middle], 0, f"type id {type_id}: {message.name if message else 'unknown'}")
    yield Row(middle, data[middle:body], 0, f"payload of length {length}{problem}", wrong=bool(problem))
    if message is not None:
        yield from _Struct(data, message).rows(body, stop, place_of(message, 1))
    elif body < stop:
        yield Row(body, data[body:stop], 1, "raw bytes")


class _Struct:
    """Makes the rows of one struct."""

    def __init__(self, data: bytes, message: Message) -> None:
        self._data = data
        self._layout: Layout = layout_of(message)
        self._fields = message.by_name
        self._annotator = Annotator(data, Schema())

    def _row(self, start: int, stop: int, place: Place, text: str, *, wrong: bool = False, hidden: bool = False) -> Row:
        return Row(start, self._data[start:stop], place.depth, text, wrong, hidden)

    def rows(self, start: int, stop: int, place: Place) -> Iterator[Row]:
        """The rows of the struct from `start` to `stop`, which may be too short or too long."""
        end = start
        for slot in self._layout.slots:
            first, last = start + slot.offset, start + slot.stop
            yield from self._padding(end, min(first, stop), place)
            if last > stop:
                text = f"{max(stop - first, 0)} of {slot.size} bytes: {slot.name}, {slot.type}"
                yield self._row(min(first, stop), stop, place, text, wrong=True, hidden=place.hidden)
                return
            field = self._fields[slot.name]
            yield from self._whole(field, slot, first, last, place)
            end = last
        yield from self._padding(end, min(start + self._layout.size, stop), place)
        yield from self._ending(start + self._layout.size, stop, place)

    def _ending(self, end: int, stop: int, place: Place) -> Iterator[Row]:
        """What is missing behind the last field, or too much."""
        size = self._layout.size
        if stop < end:
            yield self._row(stop, stop, place, f"{end - stop} of the {size} bytes are missing", wrong=True)
        elif stop > end:
            text = f"{stop - end} bytes more than the {size} of the struct"
            yield self._row(end, stop, place, text, wrong=True, hidden=place.hidden)

    def _padding(self, start: int, stop: int, place: Place) -> Iterator[Row]:
        yield from self._idle(start, stop, place, "padding")

    def _idle(self, start: int, stop: int, place: Place, what: str) -> Iterator[Row]:
        """Bytes that nobody reads; they are written as zeros."""
        if start < stop:
            used = any(self._data[start:stop])
            text = f"{what}, not zero" if used else what
            yield self._row(start, stop, place, text, hidden=used and place.hidden)

    def _whole(self, field: Field, slot: Slot, start: int, stop: int, place: Place) -> Iterator[Row]:
        if slot.capacity is None:
            yield from self._titled(field, start, stop, place)
        else:
            yield from self._counted(field.type, slot, start, stop, place)

    def _titled(self, field: Field, start: int, stop: int, place: Place) -> Iterator[Row]:
        """A value of fixed size: one row with the field's name in front, or one for the name and some for elements."""
        rows = list(self._annotator.value(field.type, start, stop, place.deeper()))
        if field.optional and not any(self._data[start:stop]):
            text = REDACTED if place.hidden else "zero, which may be None"
            yield self._row(start, stop, place, f"{field.name}: {text}", hidden=place.hidden)
        elif len(rows) == 1:
            yield evolve(rows[0], depth=place.depth, text=f"{field.name}: {rows[0].text}")
        else:
            yield self._row(start, start, place, f"{field.name}, {field.type}")
            yield from rows

    def _counted(self, type_: Type, slot: Slot, start: int, stop: int, place: Place) -> Iterator[Row]:
        head, body = start + COUNT_SIZE, start + HEAD_SIZE
        count = int.from_bytes(self._data[start:head], "little")
        is_wrong = count > (slot.capacity or 0)
        text = f"{slot.name}, {slot.type}: count {count}, room for {slot.capacity}"
        yield self._row(start, head, place, text, wrong=is_wrong)
        yield from self._padding(head, body, place)
        end = body if is_wrong else body + count * element_size(type_)
        if end > body or not (is_wrong or isinstance(type_, Vec)):
            yield from self._annotator.value(type_, body, end, place.deeper())
        yield from self._idle(end, stop, place.deeper(), "unused")
