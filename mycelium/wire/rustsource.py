"""Source text of the functions that write and read structs of the Rust dialect.

A struct has one layout whatever is in it, so one `struct.Struct`, padding and all, packs it and one unpacks it. What is
counted is two items of it: the count, and bytes that are zero behind what they hold. In the text `f1`, `b1` and `n1`
are value, bytes and count of the second field.
"""

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final

from attrs import frozen

from mycelium.schema.kinds import Bytes, String, Vec
from mycelium.schema.layout import HEAD_SIZE, Layout
from mycelium.wire.bulk import bulk
from mycelium.wire.ruling import obeys, rules
from mycelium.wire.rustframes import RUST_HEADER
from mycelium.wire.rustwalk import RustField, RustWalk, element_size
from mycelium.wire.shapes import Slot, shape
from mycelium.wire.source import Function, Scope, Writer, all_of
from mycelium.wire.writing import class_tests, exact_test, value_test

__all__ = ["decode_function", "decode_run_function", "encode_function"]

_COUNT_CODE: Final = "H6x"


@frozen
class Piece:
    """One field, and how it appears in the source."""

    slot: Slot
    room: RustField
    code: str
    """In the struct, padding not included."""
    none: tuple[str, ...]
    """The struct items of None."""

    @property
    def is_counted(self) -> bool:
        """Whether it is a count and bytes."""
        return self.room.slot.capacity is not None

    @property
    def items(self) -> tuple[str, ...]:
        """The variables of its struct items."""
        number = self.slot.number
        return (f"n{number}", f"b{number}") if self.is_counted else (f"b{number}",)


def pieces(walk: RustWalk, scope: Scope) -> list[Piece]:
    """The fields of a message in contract order.

    Args:
        walk: Its walk.
        scope: Gets what they refer to.
    """
    return [_piece(one, number, walk, scope) for number, one in enumerate(walk.fields)]


def _piece(one: RustField, number: int, walk: RustWalk, scope: Scope) -> Piece:
    slot = Slot(one.codec, shape(one.codec.field.type, one.codec.value, walk.native.types.enum_of, scope), number)
    if one.slot.capacity is not None:
        return Piece(slot, one, f"{_COUNT_CODE}{one.slot.size - HEAD_SIZE}s", ("0", "b''"))
    code = slot.shape.code or ""
    return Piece(slot, one, code, (scope.add("zeros", bytes(one.slot.size)) if code.endswith("s") else "0",))


def _struct(parts: Iterable[Piece], layout: Layout, prefix: str = "") -> Struct:
    codes, end = [prefix], 0
    for one in parts:
        codes += f"{one.room.slot.offset - end}x", one.code
        end = one.room.slot.stop
    return Struct(f"<{''.join(codes)}{layout.size - end}x")


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_function(
    walk: RustWalk, fallback: Function, *, frame_of: int | None = None, is_ruled: bool = False
) -> Function:
    """`encode(message)`.

    Args:
        walk: Of the message.
        fallback: Takes the same argument.
        frame_of: A type id, if a frame header is to be put in front.
        is_ruled: Whether values have to obey their fields' rules.
    """
    parts = pieces(walk, scope := Scope())
    slots = [one.slot for one in parts]
    writer = Writer("encode(message)", fallback, scope)
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots))
    writer.require(*class_tests(slots), *(_fits(slot) for slot in slots))
    if is_ruled:
        writer.require(*rules(slots, scope))
    header = "" if frame_of is None else f"{RUST_HEADER.size}s"
    items = [] if frame_of is None else [repr(RUST_HEADER.pack(frame_of, walk.layout.size))]
    for one in parts:
        items += _write(one, writer)
    writer.add(f"return {scope.add('pack', _struct(parts, walk.layout, header).pack)}({', '.join(items)})")
    return writer.compile(walk.layout.message)


def _fits(slot: Slot) -> str:
    if not slot.field.optional:
        return value_test(slot)
    return f"({slot.value} is None or {all_of(exact_test(slot), value_test(slot)) or 'True'})"


def _write(one: Piece, writer: Writer) -> tuple[str, ...]:
    """Adds what makes the struct items of a field, and returns them."""
    slot, optional = one.slot, one.slot.field.optional
    if not one.is_counted:
        item = slot.shape.write.format(v=slot.value)
        return (f"({one.none[0]} if {slot.value} is None else {item})" if optional else item,)
    count, data = one.items
    many = slot.value if isinstance(slot.field.type, Vec) else data
    if optional:
        with writer.block(f"if {slot.value} is None:"):
            writer.add(f"{count} = 0", f"{data} = b''")
        with writer.block("else:"):
            _write_counted(one, many, writer)
    else:
        _write_counted(one, many, writer)
    return count, data


def _write_counted(one: Piece, many: str, writer: Writer) -> None:
    count, data = one.items
    writer.add(f"{data} = {one.slot.shape.write.format(v=one.slot.value)}", f"{count} = len({many})")
    writer.require(f"{count} <= {one.room.slot.capacity}")


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_function(walk: RustWalk, fallback: Function, *, for_native: bool = False) -> Function:
    """`decode(payload)`: the message of a struct, made as a draft.

    Args:
        walk: Of the message.
        fallback: Takes the same argument.
        for_native: Whether a zero in an optional field is to be None where it would break the field's rules.
    """
    parts = pieces(walk, scope := Scope())
    writer = Writer("decode(payload)", fallback, scope)
    unpack = scope.add("unpack", _struct(parts, walk.layout).unpack)
    writer.add(f"{_targets(parts)} = {unpack}(payload)")
    _make(parts, walk, writer, for_native=for_native)
    writer.add("return message")
    return writer.compile(walk.layout.message)


def decode_run_function(walk: RustWalk) -> Function:
    """`decode_run(data)`: the messages of frames of this type that follow each other; None where one is wrong."""
    parts = pieces(walk, scope := Scope())
    writer = Writer("decode_run(data)", lambda data: None, scope)  # noqa: ARG005  a fallback's argument
    unpack = scope.add("rows", _struct(parts, walk.layout, f"{RUST_HEADER.size}x").iter_unpack)
    writer.add("messages = []")
    with writer.block(f"for {_targets(parts)} in {unpack}(data):"):
        _make(parts, walk, writer, for_native=False)
        writer.add("messages.append(message)")
    writer.add("return messages")
    return writer.compile(walk.layout.message)


def _targets(parts: Sequence[Piece]) -> str:
    return "".join(f"{item}, " for one in parts for item in one.items) or "()"


def _make(parts: Sequence[Piece], walk: RustWalk, writer: Writer, *, for_native: bool) -> None:
    """Adds what makes a message of the struct items."""
    scope = writer.scope
    made = [(one, one.slot.of("message")) for one in parts]
    writer.require(*(f"{one.items[0]} <= {one.room.slot.capacity}" for one in parts if one.is_counted))
    writer.add(f"message = {scope.add('draft', walk.native.cls.__draft__)}()")
    writer.add(*(f"{slot.value} = {_value(one, walk, scope)}" for one, slot in made))
    writer.require(*rules([slot for _, slot in made if not slot.field.optional], scope))
    for one, slot in made:
        if slot.field.optional and slot.codec.checks:
            writer.add(*_rule_unless_zero(one, slot, writer, for_native=for_native))
    writer.add(f"message.__class__ = {scope.add('class', walk.native.cls)}")


def _rule_unless_zero(one: Piece, slot: Slot, writer: Writer, *, for_native: bool) -> Iterator[str]:
    zero, holds = f"{slot.value} == {writer.scope.add('zero', one.room.zero)}", obeys(slot, writer.scope)
    if not for_native:
        yield f"if not ({zero} or {holds}): {writer.give_up}"
        return
    yield f"if not ({slot.value} is None or {holds}):"
    yield f"    if not ({zero}): {writer.give_up}"
    yield f"    {slot.value} = None"


def _value(one: Piece, walk: RustWalk, scope: Scope) -> str:
    """The value in the struct items."""
    type_, item = one.slot.field.type, one.items[-1]
    match type_:
        case String():
            return f"{item}[:{one.items[0]}].decode()"
        case Bytes():
            return f"{item}[:{one.items[0]}]"
        case Vec(element):
            unpack = scope.add("unpack", bulk(element, walk.native.types.enum_of).unpack)
            return f"{unpack}({item}[:{one.items[0]} * {element_size(type_)}])"
        case _:
            value = one.slot.shape.read.format(v=item)
            is_none = one.slot.field.optional and one.room.zero is None
            return f"None if {item} == {one.none[0]} else {value}" if is_none else value
