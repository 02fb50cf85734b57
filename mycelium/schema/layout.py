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
        EnumDef: "an enum of 128 bits has none",
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
    layout, problems = _laid_out(message)
    if problems:
        raise LayoutError(problems)
    return layout


def layouts_of(schema: Schema) -> Mapping[int, Layout]:
    """The layouts of all messages by type id, in file order.

    Raises:
        LayoutError: Not all have one; the error names every field that is to blame.
    """
    found = [_laid_out(message) for message in schema.messages.values()]
    problems = [problem for _, more in found for problem in more]
    if problems:
        raise LayoutError(problems)
    return {layout.type_id: layout for layout, _ in found}


def _laid_out(message: Message) -> tuple[Layout, list[NoLayout]]:
    """The layout, and why it is none."""
    slots: list[Slot] = []
    problems: list[NoLayout] = []
    end, widest = 0, 1
    for field in sorted(message.fields, key=lambda one: one.position):  # an edited class has them in another order
        capacity = _capacity(field)
        extent = _extent(field.type, capacity or 0)
        if extent is None or (capacity or 0) > _MAX_COUNT:
            problems.append(NoLayout(message.name, field.name, _reason(field.type, capacity)))
            continue
        size, alignment = extent
        slots.append(Slot(field.name, str(field.type), _aligned(end, alignment), size, alignment, capacity))
        end, widest = slots[-1].stop, max(widest, alignment)
    layout = Layout(message.name, message.type_id, _aligned(end, widest), widest, tuple(slots))
    if layout.size > MAX_SIZE:
        reason = f"has {layout.size} bytes, more than the {MAX_SIZE} of the largest payload"
        problems.append(NoLayout(message.name, None, reason))
    return layout, problems


def _capacity(field: Field) -> int | None:
    default = _DEFAULT_CAPACITY.get(type(field.type))
    limits = [rule.argument for rule in field.rules if rule.name == "max_length" and isinstance(rule.argument, int)]
    return None if default is None else min(limits, default=default)


def _reason(type_: Type, capacity: int | None) -> str:
    if (capacity or 0) > _MAX_COUNT:
        return f"max_length {capacity} (a count is a u16 and says {_MAX_COUNT} at most)"
    return f"{type_} ({_NONE[type(type_)]})"


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _extent(type_: Type, capacity: int) -> tuple[int, int] | None:
    """Size and alignment; None where the type has no layout."""
    match type_:
        case Scalar("u128" | "i128") | EnumDef(repr="u128" | "i128") | Map() | MessageRef():
            return None
        case Scalar(name):
            return SCALAR_SIZES[name], 1 if name == "U256" else SCALAR_SIZES[name]
        case EnumDef():
            return SCALAR_SIZES[type_.repr], SCALAR_SIZES[type_.repr]
        case ByteArray(length):
            return length, 1
        case Array(element, length):
            inner = _extent(element, 0)
            return inner and (inner[0] * length, inner[1])
        case String() | Bytes():
            return _aligned(HEAD_SIZE + capacity, _COUNTED_ALIGNMENT), _COUNTED_ALIGNMENT
        case Vec(ByteArray(length)):
            return _aligned(HEAD_SIZE + capacity * length, _COUNTED_ALIGNMENT), _COUNTED_ALIGNMENT
        case Vec():
            return None
        case _:
            assert_never(type_)
