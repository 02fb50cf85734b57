"""Whether a reader of one type reads what a writer of another type wrote: the wire protocol's value forms, compared.

`reads` answers for one direction. The answer is a set of outcomes, because values of one type may fare differently: of
the u8 that a bool reader gets, 0 and 1 are read rightly and the others are errors.
"""

from collections.abc import Callable
from enum import Flag
from typing import Final, TypeAlias

from mycelium.schema.compat.accepted import Accepted
from mycelium.schema.model import (
    INTEGERS,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    MessageRef,
    Scalar,
    String,
    Type,
    Vec,
    fixed_size,
)

__all__ = ["Nested", "Outcome", "reads"]


class Outcome(Flag):
    """What can happen to a value between writer and reader."""

    NOTHING = 0
    RIGHT = 1
    """Read, with the value that was written."""
    ERROR = 2
    """Refused by the reader."""
    WRONG = 4
    """Read without an error as another value, or as a value of another kind."""

    @property
    def broken(self) -> bool:
        """Whether some value is not read rightly."""
        return bool(self & (Outcome.ERROR | Outcome.WRONG))


Nested: TypeAlias = Callable[[str, str], Outcome]
"""What a reader of the second message makes of the first one's payload; for messages nested in fields."""

RIGHT: Final = Outcome.RIGHT
ERROR: Final = Outcome.ERROR
WRONG: Final = Outcome.WRONG
UNREADABLE: Final = ERROR | WRONG
ANYTHING: Final = Accepted()
_ENUMERATED: Final = 4096
"""Intervals of up to so many integers are looked at number by number."""


def reads(writer: Type, reader: Type, nested: Nested, values: Accepted = ANYTHING) -> Outcome:
    """What a reader of one type makes of the values of another.

    Args:
        writer: The type that wrote.
        reader: The type that reads.
        nested: The same question about messages.
        values: What the writer's rules let it send, where the type is a field's own.
    """
    if writer == reader:
        return RIGHT
    ours, theirs = _integers(writer), _integers(reader)
    if ours is not None and theirs is not None:
        return _integer_reads(writer, reader, values)
    if _is_text(writer) and _is_text(reader):
        return _text_reads(writer, reader, values)
    match writer, reader:
        case MessageRef(old), MessageRef(new):
            return nested(old, new)
        case Map(), Map():
            return RIGHT | reads(writer.key, reader.key, nested) | reads(writer.value, reader.value, nested)
        case (Array() | Vec(), Array() | Vec()):
            return _list_reads(writer, reader, nested, values)
        case _:
            return _other_kind(writer, reader)


def _other_kind(writer: Type, reader: Type) -> Outcome:
    """Values of another kind: an error where the lengths differ, else something without sense."""
    ours, theirs = fixed_size(writer), fixed_size(reader)
    if ours is not None and theirs is not None:
        if ours != theirs:
            return ERROR
        strict = isinstance(reader, EnumDef) or reader == Scalar("bool")
        return UNREADABLE if strict else WRONG
    return UNREADABLE


# --- integers, bools and enums ---------------------------------------------------------------------------------------


def _integers(type_: Type) -> tuple[int, int] | None:
    match type_:
        case Scalar("bool"):
            return (0, 1)
        case Scalar("U256"):
            return None  # big-endian: the same number has other bytes than in any little-endian type
        case Scalar(name):
            return INTEGERS.get(name)
        case EnumDef():
            return INTEGERS[type_.repr]
        case _:
            return None


def _numbers(type_: Type, values: Accepted) -> list[int] | None:
    """Every number that a writer may send, or None where they are too many to look at."""
    if isinstance(type_, EnumDef) and not type_.open:
        numbers = list(type_.members.values())
    elif values.values is not None:
        numbers = [int(one) for one in values.values if isinstance(one, int)]
    else:
        low, high = _integers(type_) or (0, 0)
        low = max(low, values.low) if isinstance(values.low, int) else low
        high = min(high, values.high) if isinstance(values.high, int) else high
        if high - low >= _ENUMERATED:
            return None
        numbers = list(range(low, high + 1))
    return [number for number in numbers if values.holds(number)]


def _integer_reads(writer: Type, reader: Type, values: Accepted) -> Outcome:
    if fixed_size(writer) != fixed_size(reader):
        return ERROR
    numbers = _numbers(writer, values)
    if numbers is None:
        numbers = _corners(writer, reader, values)
    result = Outcome.NOTHING
    for number in numbers:
        result |= _number_reads(number, reader)
    return result or RIGHT


def _corners(writer: Type, reader: Type, values: Accepted) -> list[int]:
    """Of a large interval the numbers where the reader's answer can change."""
    low, high = _integers(writer) or (0, 0)
    low = max(low, values.low) if isinstance(values.low, int) else low
    high = min(high, values.high) if isinstance(values.high, int) else high
    bounds = _integers(reader) or (0, 0)
    known = tuple(reader.members.values()) if isinstance(reader, EnumDef) else ()
    candidates = {low, high, *bounds, bounds[0] - 1, bounds[1] + 1, *known, *(one + 1 for one in known), -1}
    return sorted(one for one in candidates if low <= one <= high and values.holds(one))


def _number_reads(number: int, reader: Type) -> Outcome:
    low, high = _integers(reader) or (0, 0)
    if reader == Scalar("bool"):
        return RIGHT if number in (0, 1) else ERROR
    right = low <= number <= high
    if isinstance(reader, EnumDef) and not reader.open:
        wire = number if right else number + (high - low + 1) * (1 if number < low else -1)
        if wire not in reader.by_number:
            return ERROR
    return RIGHT if right else WRONG


# --- text and bytes --------------------------------------------------------------------------------------------------


def _is_text(type_: Type) -> bool:
    return isinstance(type_, String | Bytes | ByteArray)


def _text_reads(writer: Type, reader: Type, values: Accepted) -> Outcome:
    shortest, longest = values.shortest, values.longest
    if isinstance(writer, ByteArray):
        shortest = longest = writer.length
    result = RIGHT
    if isinstance(reader, ByteArray):
        if not shortest <= reader.length <= longest:
            return ERROR
        if (shortest, longest) != (reader.length, reader.length):
            result |= ERROR
    if isinstance(reader, String) and not isinstance(writer, String) and longest:
        result |= ERROR  # not all bytes are UTF-8
    return result


# --- lists -----------------------------------------------------------------------------------------------------------


def _list_reads(writer: Array | Vec, reader: Array | Vec, nested: Nested, values: Accepted) -> Outcome:
    """Lists: of fixed-size elements the values one after the other, of others each behind its length."""
    ours, theirs = fixed_size(writer.element), fixed_size(reader.element)
    shortest, longest = values.shortest, values.longest
    if isinstance(writer, Array):
        shortest = longest = writer.length
    if ours is None or theirs is None or ours != theirs:
        if ours is None and theirs is None:
            return RIGHT | reads(writer.element, reader.element, nested)
        return _other_layout(writer, reader, ours, theirs)
    result = Outcome.NOTHING if shortest else RIGHT
    result |= reads(writer.element, reader.element, nested)
    if isinstance(reader, Array):
        if not shortest <= reader.length <= longest:
            return ERROR
        if (shortest, longest) != (reader.length, reader.length):
            result |= ERROR
    return result


def _other_layout(writer: Array | Vec, reader: Array | Vec, ours: int | None, theirs: int | None) -> Outcome:
    """Elements of different sizes: the bytes are cut elsewhere, so only an empty list can be read rightly."""
    if isinstance(writer, Array) and isinstance(reader, Array):
        same = (ours or 0) * writer.length == (theirs or 0) * reader.length
        return WRONG if same else ERROR
    empty = RIGHT if isinstance(writer, Vec) and isinstance(reader, Vec) else Outcome.NOTHING
    return UNREADABLE | empty
