"""Where in a frame each field of a message stands, for people who look at one: offsets as far as sizes are fixed."""

from collections.abc import Iterator

from attrs import frozen

from mycelium.schema.model import Field, Message, fixed_size
from mycelium.wire.frames import HEADER
from mycelium.wire.tlv import HEADER_SIZE

__all__ = ["Place", "frame_size", "layout", "least_size"]


@frozen
class Place:
    """One field in a frame.

    Attributes:
        field: Its model.
        offset: Of its header, from the start of the frame; None where something before it has no fixed size, or may be
            absent.
        size: Bytes of its value; None where that depends on the value.
    """

    field: Field
    offset: int | None
    size: int | None


def layout(message: Message) -> Iterator[Place]:
    """The fields in the order of the canonical encoding."""
    offset: int | None = HEADER.size
    for field in message.by_tag.values():
        size = fixed_size(field.type)
        yield Place(field, offset, size)
        if offset is not None:
            offset = None if size is None or field.optional else offset + HEADER_SIZE + size


def least_size(message: Message) -> int:
    """Bytes of the shortest frame: what may be absent is, and what has any size is empty."""
    always = (place for place in layout(message) if not place.field.optional)
    return HEADER.size + sum(HEADER_SIZE + (place.size or 0) for place in always)


def frame_size(message: Message) -> int | None:
    """Bytes of every frame; None where that depends on the values."""
    places = list(layout(message))
    return least_size(message) if all(one.size is not None and not one.field.optional for one in places) else None
