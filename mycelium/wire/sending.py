"""Frames of many messages that follow each other, made in one call."""

from collections.abc import Sequence
from typing import Final

from mycelium.wire.frames import HEADER
from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer
from mycelium.wire.tlv import HEADER_SIZE
from mycelium.wire.writing import encoded

__all__ = ["publish_run_function"]

_SIGNATURE: Final = "publish_run(messages, put, done, room, most, lineage, registry)"
_BACK: Final = "return (message,)"


def publish_run_function(
    slots: Sequence[Slot], scope: Scope, cls: type, name: str, type_id: int, *, is_ruled: bool
) -> Function:
    """What `Codec.publish_run` is.

    Args:
        slots: The fields, in ascending order of tags.
        scope: What they refer to.
        cls: The message's class.
        name: Its name.
        type_id: What every frame says.
        is_ruled: Whether values have to obey rules.
    """
    writer, fixed = Writer(_SIGNATURE, _BACK, scope), _frame_size(slots)
    writer.add(f"{'count = ' if fixed is None else ''}size = 0")
    with writer.block("try:"):
        with writer.block("for message in messages:"):
            writer.require(f"message.__class__ is {scope.add('class', cls)}", "lineage.current is registry")
            with writer.block("try:"):
                writer.add(f"frame = {encoded(writer, slots, frame_of=type_id, is_ruled=is_ruled)}")
            writer.add("except __surprises__:", f"    {_BACK}")
            if fixed is None:
                writer.add("length = len(frame)")
                writer.require("length <= most")
                writer.add("put(frame)", "count += 1", "size += length")
            else:
                writer.add("put(frame)", f"size += {fixed}")
            writer.add("if size >= room: return ()")
        writer.add("return None")
    writer.add("finally:", f"    done({'count' if fixed is None else f'size // {fixed}'}, size)")
    return writer.compile_as_it_is(name)


def _frame_size(slots: Sequence[Slot]) -> int | None:
    """Bytes of every frame; None where they differ."""
    if any(slot.field.optional or slot.shape.code is None for slot in slots):
        return None
    return HEADER.size + sum(HEADER_SIZE + slot.size for slot in slots)
