"""The general walk over one struct of the Rust dialect: field by field, and the words for what is wrong.

As in the native form it is written to be read, not to be fast, and it is the judge of everything that the compiled
functions do not recognise.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final, final

from attrs import frozen

from mycelium.schema.kinds import ByteArray, Type, Vec
from mycelium.schema.layout import HEAD_SIZE, Layout, Slot, layout_of
from mycelium.wire.errors import Misfit
from mycelium.wire.obedience import obey
from mycelium.wire.value import ValueCodec
from mycelium.wire.walk import FieldCodec, MessageWalk

__all__ = ["COUNT", "RustField", "RustWalk", "element_size"]

COUNT: Final = Struct("<H6x")
"""In front of what is counted."""


@frozen
class RustField:
    """One field of a struct, ready to be read and written."""

    codec: FieldCodec
    slot: Slot
    zero: Any
    """What None is read back as: the value of nothing but zeros. None where there is no such value, which only happens
    to closed enums that have no member 0."""

    @property
    def name(self) -> str:
        """The field's name."""
        return self.slot.name

    @property
    def element_size(self) -> int:
        """Bytes that one of the count stands for."""
        return element_size(self.codec.field.type)


def element_size(type_: Type) -> int:
    """Bytes that one of the count stands for, in what is counted."""
    match type_:
        case Vec(ByteArray(length)):
            return length
        case _:
            return 1


def _zero(value: ValueCodec, slot: Slot) -> Any:
    stop = slot.size if slot.capacity is None else 0
    try:
        return value.decode(bytes(stop), 0, stop, 1)
    except Misfit:
        return None


@final
class RustWalk:
    """Reads and writes the structs of one message.

    Args:
        walk: That of the native form, whose values have the same bytes.

    Raises:
        LayoutError: The message has no layout.
    """

    def __init__(self, walk: MessageWalk) -> None:
        self.native: Final = walk
        self.layout: Final[Layout] = layout_of(walk.message)
        by_name = {one.field.name: one for one in walk.fields.values()}
        self.fields: Final = tuple(
            RustField(by_name[slot.name], slot, _zero(by_name[slot.name].value, slot)) for slot in self.layout.slots
        )
        """In contract order."""

    # --- writing -----------------------------------------------------------------------------------------------------

    def encode(self, message: Any) -> bytes:
        """The payload of a message.

        Raises:
            Misfit: It is no such message, or a value does not fit its type or its room.
        """
        if not isinstance(message, self.native.cls):
            raise Misfit(f"takes a {self.layout.message}", message)
        payload = bytearray(self.layout.size)
        try:
            for one in self.fields:
                data = _written(one, getattr(message, one.name))
                payload[one.slot.offset : one.slot.offset + len(data)] = data
        except Misfit as misfit:
            self.native.conceal(misfit)
            raise
        return bytes(payload)

    # --- reading -----------------------------------------------------------------------------------------------------

    def decode(self, payload: bytes, *, for_native: bool = False) -> Any:
        """The message of a payload.

        Args:
            payload: The struct.
            for_native: Whether a zero in an optional field is to be None where it would break the field's rules.

        Raises:
            Misfit: It is no such struct, or a value breaks a rule.
        """
        try:
            values = dict(self._read(payload))
            message: Any = self.native.cls.__draft__()
            for one in self.fields:
                setattr(message, one.name, _ruled(one, values[one.name], for_native=for_native))
        except Misfit as misfit:
            self.native.conceal(misfit)
            raise
        message.__class__ = self.native.cls
        return message

    def _read(self, payload: bytes) -> Iterator[tuple[str, Any]]:
        size = self.layout.size
        if len(payload) != size:
            problem = f"takes {size} bytes, not {len(payload)}; the other side's contracts may be different ones"
            raise Misfit(problem, offset=min(size, len(payload)))
        for one in self.fields:
            try:
                yield one.name, _read_field(one, payload)
            except Misfit as misfit:
                misfit.within("field", one.name)
                raise


def _written(one: RustField, value: Any) -> bytes:
    """The bytes of a value; zeros follow as far as its room goes."""
    if value is None and one.codec.field.optional:
        return b""
    try:
        data = one.codec.value.encode(value, 1)
        return data if one.slot.capacity is None else COUNT.pack(_counted(one, data, value)) + data
    except Misfit as misfit:
        misfit.within("field", one.name)
        raise


def _counted(one: RustField, data: bytes, value: Any) -> int:
    count = len(data) // one.element_size
    if one.slot.capacity is not None and count > one.slot.capacity:
        raise Misfit(f"has {count} {_unit(one)} where the struct has room for {_room(one)}", value)
    return count


def _read_field(one: RustField, payload: bytes) -> Any:
    start, stop = one.slot.offset, one.slot.stop
    if one.slot.capacity is not None:
        count: int = COUNT.unpack_from(payload, start)[0]
        if count > one.slot.capacity:
            raise Misfit(f"counts {count} {_unit(one)} where the struct has room for {_room(one)}", offset=start)
        start += HEAD_SIZE
        stop = start + count * one.element_size
    if one.codec.field.optional and one.zero is None and not any(payload[start:stop]):
        return None
    return one.codec.value.decode(payload, start, stop, 1)


def _ruled(one: RustField, value: Any, *, for_native: bool) -> Any:
    """The value, which obeys its rules, or is the zero of an optional field."""
    is_zero = one.codec.field.optional and value == one.zero
    if is_zero and not for_native:
        return value
    try:
        obey(one.codec.checks, value)
    except Misfit as misfit:
        if is_zero:
            return None
        misfit.offset = one.slot.offset
        misfit.within("field", one.name)
        raise
    return value


def _unit(one: RustField) -> str:
    return "elements" if isinstance(one.codec.field.type, Vec) else "bytes"


def _room(one: RustField) -> str:
    return f"{one.slot.capacity} (max_length says how much)"
