"""What a codec of one type is: functions that write, read and check its values."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from attrs import frozen

__all__ = ["Enums", "Nested", "ValueCodec", "member_finder"]


@frozen
class ValueCodec:
    """How the values of one type are written. All four raise a `Misfit` for what is not legal.

    `depth` is that of the message around the value. Offsets are into the whole payload, which is why the functions that
    read take it whole, with start and stop of the value.
    """

    size: int | None
    """Bytes of every value, None where that depends on the value."""
    encode: Callable[[Any, int], bytes]
    """`encode(value, depth)`."""
    decode: Callable[[bytes, int, int, int], Any]
    """`decode(payload, start, stop, depth)`: the value."""
    scan: Callable[[bytes, int, int, int], object]
    """`scan(payload, start, stop, depth)`: the checks of `decode`, without keeping what was read."""


def member_finder(cls: type[IntEnum]) -> Callable[[int, int], Any]:
    """A function that gives the member of a number, or its second argument where there is none.

    It looks at the class as it is then: a reload adds members to it.
    """
    return cls._value2member_map_.get


Nested = Callable[[str], ValueCodec]
"""The value codec of a message by its name."""
Enums = Callable[[str], type[IntEnum]]
"""The class of an enum by its name."""
