"""Source text of the fast path that writes: `encode` and `check`.

A payload in canonical order is a sequence of runs. Fixed-size fields that are always written, headers and all, are one
struct, and the header of a field of variable size ends it. A field that may be absent stands by itself.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer, all_of
from mycelium.wire.tlv import HEADER, LENGTH

__all__ = ["check_function", "encode_function"]

_SHORT_LENGTHS: Final = tuple(LENGTH.pack(length) for length in range(256))
_TAG: Final = Struct("<H")
_PACK_LENGTH: Final = LENGTH.pack
_PACK_HEADER: Final = HEADER.pack


# --- encode ----------------------------------------------------------------------------------------------------------


def encode_function(owner: str, slots: Iterable[Slot], scope: Scope, fallback: Function) -> Function:
    """`encode(message, depth=1)` for slots in ascending order of tags."""
    writer = Writer("encode(message, depth=1)", fallback, scope)
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots))
    writer.require(*_class_tests(slots), *(_test(slot) for slot in slots if not slot.field.optional))
    parts: list[str] = []
    run = _Run(scope)
    for slot in slots:
        value = f"b{slot.number}"
        if slot.field.optional:
            parts += [*run.end(), value]
            _write_optional(slot, value, writer)
        elif slot.shape.code is not None:
            header, item = scope.add("header", slot.header), slot.shape.write.format(v=slot.value)
            run.add(f"6s{slot.shape.code}", header, item)
        else:
            writer.add(f"{value} = {slot.shape.write.format(v=slot.value)}")
            parts += [*run.end_with_header(slot, value), value]
    parts += run.end()
    whole = f"{scope.add('join', b''.join)}(({', '.join(parts)}))" if len(parts) > 1 else "".join(parts)
    writer.add(f"return {whole or repr(b'')}")
    return writer.compile(owner)


def _exact(slot: Slot) -> str:
    return f"{slot.value}.__class__ is {slot.shape.exact}" if slot.shape.exact else ""


def _test(slot: Slot) -> str:
    return slot.shape.test.format(v=slot.value)


def _class_tests(slots: Iterable[Slot]) -> Iterator[str]:
    """One comparison for all fields that are always written and whose values have the same class."""
    values: dict[str, list[str]] = {}
    for slot in slots:
        if slot.shape.exact and not slot.field.optional:
            values.setdefault(slot.shape.exact, []).append(f"{slot.value}.__class__")
    for exact, classes in values.items():
        yield f"{' is '.join(classes)} is {exact}"


class _Run:
    """Struct items that are written in one go: fields of fixed size, and the header of the next one that has none."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._codes = ""
        self._items: list[str] = []

    def add(self, codes: str, *items: str) -> None:
        """Adds items and their codes."""
        self._codes += codes
        self._items += items

    def end(self) -> list[str]:
        """The expression that packs the items, if there are any."""
        if not self._items:
            return []
        pack = self._scope.add("pack", Struct(f"<{self._codes}").pack)
        call = f"{pack}({', '.join(self._items)})"
        self._codes, self._items = "", []
        return [call]

    def end_with_header(self, slot: Slot, value: str) -> list[str]:
        """The same, with the header of a field of variable size at the end."""
        tag = self._scope.add("tag", _TAG.pack(slot.field.tag))
        if self._items:
            self.add("2sI", tag, f"len({value})")
            return self.end()
        short, long = self._scope.add("short", _SHORT_LENGTHS), self._scope.add("long", _PACK_LENGTH)
        return [tag, f"{short}[n] if (n := len({value})) < {len(_SHORT_LENGTHS)} else {long}(n)"]


def _write_optional(slot: Slot, value: str, writer: Writer) -> None:
    scope, shape = writer.scope, slot.shape
    item = shape.write.format(v=slot.value)
    writer.add(f"if {slot.value} is None: {value} = b''", "else:")
    writer.require(_exact(slot), _test(slot), indent=1)
    if shape.code is not None:
        pack, header = scope.add("pack", Struct(f"<6s{shape.code}").pack), scope.add("header", slot.header)
        writer.add(f"    {value} = {pack}({header}, {item})")
    else:
        header = f"{scope.add('pack', _PACK_HEADER)}({slot.field.tag}, len({value}))"
        writer.add(f"    {value} = {item}", f"    {value} = {header} + {value}")


# --- check -----------------------------------------------------------------------------------------------------------


def check_function(owner: str, slots: Iterable[Slot], scope: Scope, fallback: Function) -> Function:
    """`check(message, depth=1)`: whether `encode` would take the message; rules are not its business."""
    writer = Writer("check(message, depth=1)", fallback, scope)
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots))
    writer.require(*_class_tests(slots), *(_fits(slot) for slot in slots))
    writer.add("return None")
    return writer.compile(owner)


def _fits(slot: Slot) -> str:
    fits = all_of(_test(slot), slot.shape.fits.format(v=slot.value))
    return f"({slot.value} is None or {all_of(_exact(slot), fits)})" if slot.field.optional else fits
