"""The shape of a payload: `tag u16 | length u32 | value`, one field after another, little-endian."""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from mycelium.wire.errors import Misfit

__all__ = ["FIRST_METADATA_TAG", "HEADER", "HEADER_SIZE", "LENGTH", "MAX_LENGTH", "field", "length_of", "walk"]

HEADER: Final = Struct("<HI")
"""Tag and length of a field."""
HEADER_SIZE: Final = HEADER.size
LENGTH: Final = Struct("<I")
"""In front of each element of a Vec whose elements have no fixed size."""
MAX_LENGTH: Final = 2**32 - 1
FIRST_METADATA_TAG: Final = 0xF000
"""This tag and all above are envelope metadata."""


def length_of(value: bytes, limit: int = MAX_LENGTH) -> int:
    """The length that a header says.

    Raises:
        Misfit: A u32 does not hold it.
    """
    if len(value) > limit:
        raise Misfit(f"takes {len(value)} bytes, and no value has more than {limit}")
    return len(value)


def field(tag: int, value: bytes) -> bytes:
    """One field.

    Raises:
        Misfit: The value is too long for any header.
    """
    return HEADER.pack(tag, length_of(value)) + value


def walk(payload: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The fields of `payload[start:stop]` in wire order, each as tag, and start and stop of its value.

    Raises:
        Misfit: A duplicate tag, tag 0, a field that overruns its payload, or trailing bytes that are no whole header;
            the offset is that of the field's header.
    """
    seen: set[int] = set()
    while start < stop:
        if stop - start < HEADER_SIZE:
            raise Misfit(f"{stop - start} trailing bytes are no whole field header", offset=start)
        tag, length = HEADER.unpack_from(payload, start)
        if tag == 0:
            raise Misfit("tag 0 is never valid", offset=start)
        if tag in seen:
            raise Misfit(f"tag {tag} is there twice", offset=start, tag=tag)
        value = start + HEADER_SIZE
        if length > stop - value:
            raise Misfit(f"tag {tag} says {length} bytes where {stop - value} are left", offset=start, tag=tag)
        seen.add(tag)
        yield tag, value, value + length
        start = value + length
