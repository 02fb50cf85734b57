"""Source text of the fast path that writes: `encode` and `check`.

A payload in canonical order is a sequence of runs. Fixed-size fields that are always written, headers and all, are one
struct. A field of variable size, or one that may be absent, stands by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from mycelium.wire.bulk import Surprise
from mycelium.wire.frames import TYPE_ID_SIZE
from mycelium.wire.ruling import rules
from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer, all_of
from mycelium.wire.tlv import HEADER, HEADER_SIZE, LENGTH

__all__ = [
    "check_function",
    "check_lines",
    "class_tests",
    "encode_function",
    "encoded",
    "exact_test",
    "value_test",
]

_SHORT: Final = 128
"""Bytes of a value from which on its header is not made beforehand."""
_TAG: Final = Struct("<H")
_PACK_HEADER: Final = HEADER.pack


# --- encode ----------------------------------------------------------------------------------------------------------


def encode_function(
    owner: str,
    slots: Sequence[Slot],
    scope: Scope,
    fallback: Function,
    *,
    is_inner: bool = False,
    frame_of: int | None = None,
    is_ruled: bool = False,
) -> Function:
    """`encode(message)` for slots in ascending order of tags.

    Args:
        owner: The message's name.
        slots: Its fields.
        scope: What they refer to.
        fallback: Takes the same arguments.
        is_inner: Whether the function is to be `encode(message, depth)`, for messages inside others.
        frame_of: A type id, if the function is to be `encode_frame` and to put a frame header in front.
        is_ruled: Whether values have to obey their fields' rules.
    """
    name = "encode" if frame_of is None else "encode_frame"
    writer = Writer(f"{name}({'message, depth' if is_inner else 'message'})", fallback, scope)
    writer.add(f"return {encoded(writer, slots, frame_of=frame_of, is_ruled=is_ruled)}")
    return writer.compile(owner)


def encoded(writer: Writer, slots: Sequence[Slot], *, frame_of: int | None = None, is_ruled: bool = False) -> str:
    """Adds the statements that look at the values of `message`; the expression for its payload, or for its frame.

    See `encode_function` for the arguments.
    """
    scope = writer.scope
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots))
    writer.require(*class_tests(slots), *(value_test(slot) for slot in slots if not slot.field.optional))
    if is_ruled:
        writer.require(*rules(slots, scope))
    parts: list[str] = []
    run = _Run(scope)
    if frame_of is not None:
        _write_frame_header(run, frame_of, slots)
    for slot in slots:
        if slot.field.optional:
            parts += [*run.end(), slot.data]
            _write_optional(slot, writer)
        elif slot.shape.code is not None:
            run.add_constant(slot.header)
            run.add(slot.shape.code, slot.shape.write.format(v=slot.value))
        else:
            writer.add(f"{slot.data} = {slot.shape.write.format(v=slot.value)}")
            parts += [*run.end(), _header(slot, scope), slot.data]
    parts += run.end()
    whole = f"{scope.add('join', b''.join)}(({', '.join(parts)}))" if len(parts) > 1 else "".join(parts)
    return whole or repr(b"")


def _write_frame_header(run: "_Run", type_id: int, slots: Iterable[Slot]) -> None:
    """The frame's length, which counts the type id and the payload, and the type id."""
    length, terms = TYPE_ID_SIZE, []
    for slot in slots:
        if not slot.field.optional:
            length += HEADER_SIZE + slot.size
        if slot.field.optional or slot.shape.code is None:
            terms.append(f"len({slot.data})")
    if terms:
        run.add("I", " + ".join([str(length), *terms]))
    else:
        run.add_constant(LENGTH.pack(length))
    run.add_constant(_TAG.pack(type_id))


def exact_test(slot: Slot) -> str:
    """Whether a value has the class that it should have; empty where that is looked at elsewhere."""
    return f"{slot.value}.__class__ is {slot.shape.exact}" if slot.shape.exact else ""


def value_test(slot: Slot) -> str:
    """Whether a value of the right class is one of the type; empty where all are."""
    return slot.shape.test.format(v=slot.value)


def class_tests(slots: Iterable[Slot]) -> Iterator[str]:
    """Whether the values of all fields that are always written have the classes that they should have."""
    for slot in slots:
        if not slot.field.optional:
            yield exact_test(slot)


class _Run:
    """Struct items that are written in one go: a frame header, and fields of fixed size."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._codes = ""
        self._items: list[str] = []
        self._constant = b""
        """What comes next and is always the same."""

    def add(self, code: str, item: str) -> None:
        """Adds an item and its code."""
        self._close_constant()
        self._codes += code
        self._items.append(item)

    def add_constant(self, data: bytes) -> None:
        """Adds bytes that are always the same; neighbours become one item."""
        self._constant += data

    def _close_constant(self) -> None:
        if self._constant:
            self._codes += f"{len(self._constant)}s"
            self._items.append(repr(self._constant))
            self._constant = b""

    def end(self) -> list[str]:
        """The expression that packs the items, if there are any."""
        if not self._items:
            constant, self._constant = self._constant, b""
            return [repr(constant)] if constant else []
        self._close_constant()
        pack = self._scope.add("pack", Struct(f"<{self._codes}").pack)
        call = f"{pack}({', '.join(self._items)})"
        self._codes, self._items = "", []
        return [call]


def _header(slot: Slot, scope: Scope) -> str:
    """The header of a value that is not of fixed size."""
    made, pack = scope.add("headers", _headers(slot.field.tag)), scope.add("header", _PACK_HEADER)
    return f"({made}[n] if (n := len({slot.data})) < {_SHORT} else {pack}({slot.field.tag}, n))"


@lru_cache(maxsize=256)
def _headers(tag: int) -> tuple[bytes, ...]:
    """Headers of short values; many messages share them."""
    return tuple(_PACK_HEADER(tag, length) for length in range(_SHORT))


def _write_optional(slot: Slot, writer: Writer) -> None:
    scope, shape, value = writer.scope, slot.shape, slot.data
    item = shape.write.format(v=slot.value)
    writer.add(f"if {slot.value} is None: {value} = b''", "else:")
    writer.require(exact_test(slot), value_test(slot), indent=1)
    if shape.code is not None:
        pack = scope.add("pack", Struct(f"<{HEADER_SIZE}s{shape.code}").pack)
        writer.add(f"    {value} = {pack}({slot.header!r}, {item})")
    else:
        writer.add(f"    {value} = {item}", f"    {value} = {_header(slot, scope)} + {value}")


# --- check -----------------------------------------------------------------------------------------------------------


def check_function(owner: str, slots: Iterable[Slot], scope: Scope, fallback: Function) -> Function:
    """`check(message)`: whether `encode` would take the message; rules are not its business.

    Values of fixed size are packed in one go, without headers: that is quicker than to compare each with its limits.
    """
    writer = Writer("check(message)", fallback, scope)
    _write_check(slots, writer)
    writer.add("return None")
    return writer.compile(owner)


def check_lines(slots: Iterable[Slot], scope: Scope, check: Function) -> list[str]:
    """The statements of `check`, to stand where a function calls it with its `message`; a surprise ends in the call."""
    writer = Writer("check(message)", check, scope)
    call = writer.give_up.removeprefix("return ")
    writer.give_up = f"raise {scope.add('surprise', Surprise)}"  # what comes behind the check is still to be done
    _write_check(slots, writer)
    return ["try:", *(f"    {line}" for line in writer.lines or ["pass"]), "except __surprises__:", f"    {call}"]


def _write_check(slots: Iterable[Slot], writer: Writer) -> None:
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots))
    writer.require(*class_tests(slots), *map(_fits, slots))
    run = _Run(writer.scope)
    for slot in slots:
        if _is_item(slot) and slot.shape.code and slot.shape.fits:
            run.add(slot.shape.code, slot.shape.write.format(v=slot.value))
    writer.add(*run.end())


def _is_item(slot: Slot) -> bool:
    """Whether a value is always there and an item of a struct, so that packing finds out whether it fits."""
    return not slot.field.optional and slot.shape.code is not None


def _fits(slot: Slot) -> str:
    """What of a value is looked at before it is packed with others, or where it is not."""
    fits = value_test(slot) if _is_item(slot) else all_of(value_test(slot), slot.shape.fits.format(v=slot.value))
    return f"({slot.value} is None or {all_of(exact_test(slot), fits)})" if slot.field.optional else fits
