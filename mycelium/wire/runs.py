"""Runs of frames: consecutive frames of one type, checked or decoded by one call of a compiled function.

Frames of fixed size are the rows of a table. Their headers, those of the frames and those of the fields, are compared
all at once, and one struct goes over the values. Other frames are read one by one, but without a call and a copy for
each.

A run is all or nothing: where one frame is not canonical, has metadata, or holds a value that is not legal, the answer
is no, and whoever asked goes frame by frame. Nothing here words an error.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from struct import Struct
from typing import Final

from mycelium.wire.frames import HEADER, TYPE_ID_SIZE
from mycelium.wire.reading import Reading, item_value
from mycelium.wire.ruling import rules
from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer
from mycelium.wire.tlv import HEADER_SIZE
from mycelium.wire.walk import MessageWalk

__all__ = ["decode_run_function", "verify_run_function"]

_SHORT_COUNT: Final = 32
"""Most frames of a run whose headers are compared as one integer; in longer ones each header byte is a column."""
_SHORT_SIZE: Final = 1024
"""And the most bytes."""


def decode_run_function(slots: Sequence[Slot], scope: Scope, make: MessageWalk) -> Function:
    """`decode_run(data, bounds)`: the messages of the run, or None."""
    writer = Writer("decode_run(data, bounds)", lambda data, bounds: None, scope)  # noqa: ARG005  a fallback's arguments
    new = f"message = {scope.add('draft', make.cls.__draft__)}()"
    done = f"message.__class__ = {scope.add('class', make.cls)}", "messages.append(message)"
    writer.add("messages = []")
    if _is_row(slots):
        filled = [f"message.{slot.field.name} = {slot.value}" for slot in slots]
        _each_row(writer, slots, make.message.type_id, [new, *filled, *done], keep=True)
    else:
        with _each_frame(writer):
            writer.add(new)
            _read_frame(writer, [slot.of("message") for slot in slots], make.message.type_id, keep=True)
            writer.add(*done)
    writer.add("return messages")
    return writer.compile(make.message.name)


def verify_run_function(slots: Sequence[Slot], scope: Scope, make: MessageWalk) -> Function:
    """`verify_run(data, bounds)`: whether `verify` would return `{}` for the payload of every frame of the run."""
    writer = Writer("verify_run(data, bounds)", lambda data, bounds: False, scope)  # noqa: ARG005  the same
    if _is_row(slots):
        _each_row(writer, slots, make.message.type_id, [], keep=False)
    else:
        with _each_frame(writer):
            _read_frame(writer, slots, make.message.type_id, keep=False)
    writer.add("return True")
    return writer.compile(make.message.name)


def _is_row(slots: Sequence[Slot]) -> bool:
    return all(slot.field.required and slot.shape.code is not None for slot in slots)


def _each_frame(writer: Writer) -> AbstractContextManager[None]:
    writer.add("payload = data")
    return writer.block(f"for p, size in {writer.scope.add('pairwise', pairwise)}(bounds):")


def _read_frame(writer: Writer, slots: Sequence[Slot], type_id: int, *, keep: bool) -> None:
    Reading(slots, writer, keep=keep).read_frame(type_id)
    writer.require(*rules(slots, writer.scope))


def _each_row(writer: Writer, slots: Sequence[Slot], type_id: int, then: Sequence[str], *, keep: bool) -> None:
    """Reads and checks every frame of a run of frames of one size.

    Args:
        writer: Gets the statements.
        slots: The fields, in ascending order of tags.
        type_id: What every frame has to say.
        then: Statements for the values of a frame.
        keep: Whether all values are wanted, or those alone that rules ask for.
    """
    head = b"".join(slot.header + bytes(slot.size) for slot in slots)
    row = HEADER.pack(TYPE_ID_SIZE + len(head), type_id) + head
    codes, targets, after = f"{HEADER.size}x", "", list[str]()
    constant = list(range(HEADER.size))
    for slot in slots:
        wanted = keep or bool(slot.codec.checks)
        read = wanted or slot.shape.scan is not None
        constant += range(at := Struct(f"<{codes}").size, at + HEADER_SIZE)
        codes += f"{HEADER_SIZE}x{slot.shape.code if read else f'{slot.size}x'}"
        targets += f"{slot.value}, " if read else ""
        after += item_value(slot, writer.give_up, wanted=wanted)
    writer.add("run, count = data[bounds[0] : bounds[-1]], len(bounds) - 1")
    writer.require(f"len(run) == count * {len(row)}", _same_headers(row, constant, writer.scope))
    if targets or then:
        unpack = writer.scope.add("rows", Struct(f"<{codes}").iter_unpack)
        with writer.block(f"for {targets or '()'} in {unpack}(run):"):
            writer.add(*after)
            writer.require(*rules(slots, writer.scope))
            writer.add(*then, "continue")


def _same_headers(row: bytes, constant: Sequence[int], scope: Scope) -> str:
    """Whether the constant bytes of every row of `run` are those of `row`.

    Args:
        row: What a row looks like, with zeros for what may differ.
        constant: Places of bytes that are the same in all rows.
        scope: Gets what the expression refers to.
    """
    mask = bytes(0xFF * (at in constant) for at in range(len(row)))
    short = range(1 + min(_SHORT_COUNT, _SHORT_SIZE // len(row)))
    kept = scope.add("kept", tuple(int.from_bytes(mask * count, "little") for count in short))
    expected = scope.add("expected", tuple(int.from_bytes(row * count, "little") for count in short))
    columns = [(slice(at, None, len(row)), row[at : at + 1]) for at in constant]

    def fits(run: bytes, count: int) -> bool:
        return all(run[column] == byte * count for column, byte in columns)

    in_one = f"int.from_bytes(run, 'little') & {kept}[count] == {expected}[count]"
    return f"({in_one} if count < {len(short)} else {scope.add('fits', fits)}(run, count))"
