"""Messages as C structs, as Mycelium's own dialect writes them: where each field stands, how large it is, what pads it.

From the wire protocol, section "Mycelium's own dialect": fields in contract order, each at its natural alignment, the
layout of Rust's `#[repr(C)]`. What is counted (String, bytes, Vec<[u8; E]>) is a FixedStr or FixedVec: a count, six
zero bytes, and room for as much as the field's `max_length` says.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, assert_never

from attrs import frozen

from mycelium.schema.errors import LayoutError, NoLayout
from mycelium.schema.kinds import (
    SCALAR_SIZES,
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
)
from mycelium.schema.model import Field, Message, Schema

__all__ = [
    "COUNT_SIZE",
    "HEAD_SIZE",
    "MAX_SIZE",
    "Layout",
    "Slot",
    "layout_of",
    "layouts_of",
]

COUNT_SIZE: Final = 2
HEAD_SIZE: Final = 8
"""Bytes in front of what is counted: the count, a u16, and six zeros."""
MAX_SIZE: Final = 64 * 1024 * 1024
"""Bytes of the largest payload there is."""
_MAX_COUNT: Final = 0xFFFF
_COUNTED_ALIGNMENT: Final = 2
_DEFAULT_CAPACITY: Final[Mapping[type[Type], int]] = MappingProxyType({String: 32, Bytes: 16, Vec: 4})
"""Of a field without `max_length`: bytes, bytes, elements."""
_NONE: Final[Mapping[type[Type], str]] = MappingProxyType(
    {
        Map: "a Map has none",
        Vec: "of all Vecs those of u8 and of [u8; N] have one",
        MessageRef: "a nested message has none",
        Scalar: "integers of 128 bits have none",
        Array: "its elements have none",
    }
)
"""Why a type has no layout."""


@frozen
class Slot:
    """The place of one field in the struct."""

    name: str
    """Of the field."""
    type: str
    offset: int
    """Bytes from the start of the payload."""
    size: int
    """Bytes, with the count and the zeros of what is counted."""
    alignment: int
    capacity: int | None = None
    """Bytes of a String or bytes, elements of a Vec; None for what is not counted."""

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.offset + self.size


@frozen
class Layout:
    """Where everything stands in the payload of one message."""

    message: str
    """Its name."""
    type_id: int
    size: int
    """Bytes of every payload."""
    alignment: int
    slots: tuple[Slot, ...]
    """In contract order."""

    @property
    def paddings(self) -> Iterator[tuple[int, int]]:
        """Start and stop of the zero bytes between the fields and at the end."""
        starts = [*(slot.offset for slot in self.slots), self.size]
        stops = [0, *(slot.stop for slot in self.slots)]
        return ((stop, start) for stop, start in zip(stops, starts, strict=True) if stop < start)

    def is_like(self, other: "Layout") -> bool:
        """Whether both are the same struct: names, order, sizes and offsets. The message's name is not in it."""
        return (self.size, _places(self)) == (other.size, _places(other))


def _places(layout: Layout) -> list[tuple[str, int, int]]:
    return [(slot.name, slot.offset, slot.size) for slot in layout.slots]


def layout_of(message: Message) -> Layout:
    """The layout of a message.

    Raises:
        LayoutError: It has none; the error names every field that is to blame.
    """
    problems = list(_problems(message))
    if problems:
        raise LayoutError(problems)
    return _laid_out(message)


def layouts_of(schema: Schema) -> Mapping[int, Layout]:
    """The layouts of all messages by type id, in file order.

    Raises:
        LayoutError: Not all have one; the error names every field that is to blame.
    """
    problems = [problem for message in schema.messages.values() for problem in _problems(message)]
    if problems:
        raise LayoutError(problems)
    return {message.type_id: _laid_out(message) for message in schema.messages.values()}


def _problems(message: Message) -> Iterator[NoLayout]:
    faulty = [
        NoLayout(message.name, field.name, reason)
        for field in _in_order(message)
        if (reason := _reason(field.type) or _crowded(field)) is not None
    ]
    yield from faulty
    if not faulty and (size := _laid_out(message).size) > MAX_SIZE:
        yield NoLayout(message.name, None, f"has {size} bytes, more than the {MAX_SIZE} of the largest payload")


def _in_order(message: Message) -> list[Field]:
    """The fields in contract order; the model of a class that was edited has them in another one."""
    return sorted(message.fields, key=lambda one: one.position)


def _reason(type_: Type) -> str | None:
    """Why the type has no layout, None if it has."""
    match type_:
        case Scalar("u128" | "i128") | Map() | MessageRef():
            return f"{type_} ({_NONE[type(type_)]})"
        case Vec(element) if not isinstance(element, ByteArray):
            return f"{type_} ({_NONE[Vec]})"
        case EnumDef(repr="u128" | "i128"):
            return f"{type_} (an enum of 128 bits has none)"
        case Array(element, _):
            return None if _reason(element) is None else f"{type_} ({_NONE[Array]})"
        case _:
            return None


def _crowded(field: Field) -> str | None:
    capacity = _capacity(field)
    if capacity is None or capacity <= _MAX_COUNT:
        return None
    return f"max_length {capacity} (a count is a u16 and says {_MAX_COUNT} at most)"


def _capacity(field: Field) -> int | None:
    default = _DEFAULT_CAPACITY.get(type(field.type))
    limits = [rule.argument for rule in field.rules if rule.name == "max_length" and isinstance(rule.argument, int)]
    return None if default is None else min(limits, default=default)


def _laid_out(message: Message) -> Layout:
    slots: list[Slot] = []
    end, widest = 0, 1
    for field in _in_order(message):
        capacity = _capacity(field)
        size, alignment = _extent(field.type, capacity or 0)
        slots.append(Slot(field.name, str(field.type), _aligned(end, alignment), size, alignment, capacity))
        end, widest = slots[-1].stop, max(widest, alignment)
    return Layout(message.name, message.type_id, _aligned(end, widest), widest, tuple(slots))


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _extent(type_: Type, capacity: int) -> tuple[int, int]:
    """Size and alignment of a type that has a layout."""
    match type_:
        case Scalar(name):
            return SCALAR_SIZES[name], 1 if name == "U256" else SCALAR_SIZES[name]
        case EnumDef():
            return SCALAR_SIZES[type_.repr], SCALAR_SIZES[type_.repr]
        case ByteArray(length):
            return length, 1
        case Array(element, length):
            size, alignment = _extent(element, 0)
            return size * length, alignment
        case String() | Bytes():
            return _aligned(HEAD_SIZE + capacity, _COUNTED_ALIGNMENT), _COUNTED_ALIGNMENT
        case Vec(ByteArray(length)):
            return _aligned(HEAD_SIZE + capacity * length, _COUNTED_ALIGNMENT), _COUNTED_ALIGNMENT
        case Vec() | Map() | MessageRef():
            raise TypeError(f"{type_} has no layout")
        case _:
            assert_never(type_)
