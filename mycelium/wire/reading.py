"""Source text of the fast path that reads: `decode` and `verify`.

A payload in canonical order is a sequence of runs. Fixed-size fields that must be there, headers and all, are one
struct, and the header of a field of variable size ends it. A field that may be absent stands by itself. In the text
`t` and `n` are the tag and length that come next, `p` is where, and `q` is where a value starts. What follows the last
field, unknown fields and metadata, is walked by a function that is given.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from mycelium.wire.frames import HEADER as FRAME_HEADER
from mycelium.wire.frames import LENGTH_SIZE
from mycelium.wire.ruling import rules
from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer
from mycelium.wire.tlv import HEADER, HEADER_SIZE
from mycelium.wire.walk import ATOMS

__all__ = ["NO_METADATA", "Reading", "decode_function", "item_value", "verify_function"]

NO_METADATA: Final = MappingProxyType[int, bytes]({})
"""What `verify` returns for nearly every payload."""
_UNPACK_HEADER: Final = HEADER.unpack_from
_END: Final = (0, 0)
"""Tag and length that come next where nothing does."""


def decode_function(
    owner: str,
    slots: Sequence[Slot],
    scope: Scope,
    fallback: Function,
    *,
    tail: Function,
    cls: Any,
    is_inner: bool = False,
) -> Function:
    """`decode(payload, metadata=None)` for slots in ascending order of tags; `decode(payload, depth)` for inner ones.

    No constructor is called, which would cost as much as all the rest: values go straight into a draft of the class.
    """
    slots = [slot.of("message") for slot in slots]
    writer = Writer(f"decode(payload, {'depth' if is_inner else 'metadata=None'})", fallback, scope)
    writer.add(f"message = {scope.add('draft', cls.__draft__)}()")
    Reading(slots, writer, keep=True).read(f"{scope.add('tail', tail)}(payload, {{at}}, metadata, depth)")
    writer.require(*rules(slots, scope))
    writer.add(f"message.__class__ = {scope.add('class', cls)}", "return message")
    return writer.compile(owner)


def verify_function(
    owner: str, slots: Sequence[Slot], scope: Scope, fallback: Function, *, tail: Function, is_inner: bool = False
) -> Function:
    """`verify(payload)` for slots in ascending order of tags; values that no rule asks for are not made.

    With `is_inner` it is `verify(payload, depth)`, for messages inside others.
    """
    writer = Writer(f"verify({'payload, depth' if is_inner else 'payload'})", fallback, scope)
    writer.add(f"found = {scope.add('none', NO_METADATA)}")
    reading = Reading(slots, writer, keep=False)
    reading.read("found = {{}}", f"{scope.add('tail', tail)}(payload, {{at}}, found, depth)")
    writer.require(*rules(slots, scope))
    writer.add("return found")
    return writer.compile(owner)


class Reading:
    """Writes the statements that read the slots one after the other."""

    def __init__(self, slots: Sequence[Slot], writer: Writer, *, keep: bool) -> None:
        self._slots = slots
        self._writer = writer
        self._keep = keep
        self._base = ""
        self._offset = 0
        self._run = _Run(writer.give_up)

    @property
    def _at(self) -> str:
        """Where the next field starts."""
        return f"{self._base} + {self._offset}" if self._base and self._offset else self._base or str(self._offset)

    def _wanted(self, slot: Slot) -> bool:
        return self._keep or bool(slot.codec.checks)

    def read(self, *tail: str) -> None:
        """Reads all fields into their variables.

        Args:
            tail: Statements for what follows at `{at}`, if anything does.
        """
        if all(slot.field.required and slot.shape.code is not None for slot in self._slots):
            self._read_fixed(tail)
            return
        self._writer.add("size = len(payload)")
        self._read_one_by_one()
        self._writer.add(f"if {self._at} != size:", *(f"    {line.format(at=self._at)}" for line in tail))

    def read_frame(self, type_id: int) -> None:
        """Reads all fields of the frame from `p` to `size` into their variables; nothing else may be in it."""
        self._base = "p"
        self._run.add_frame_header(type_id)
        self._read_one_by_one()
        self._writer.require(f"{self._at} == size")

    def _read_one_by_one(self) -> None:
        ahead = False
        for slot, following in zip(self._slots, [*self._slots[1:], None], strict=True):
            if slot.field.required:
                self._required(slot)
            else:
                more = following is not None and not following.field.required
                self._absent_or_present(slot, ahead=ahead, more=more)
                ahead = more
        self._flush()

    def _read_fixed(self, tail: Sequence[str]) -> None:
        """One struct holds the whole payload."""
        for slot in self._slots:
            self._required(slot)
        size = self._run.size
        self._writer.add("body = payload", f"if len(payload) != {size}:", f"    body = payload[:{size}]")
        self._writer.add(*(f"    {line.format(at=size)}" for line in tail))
        self._flush(whole=True)

    def _required(self, slot: Slot) -> None:
        run, wanted = self._run, self._wanted(slot)
        if slot.shape.code is not None:
            run.add_field(slot, wanted=wanted)
            return
        run.add_header(slot)
        self._flush()
        start = self._at
        if self._base:
            self._writer.add(f"q = {start}")
            start = "q"
        self._writer.add(f"p = {start} + n{slot.number}")
        self._base, self._offset = "p", 0
        self._writer.add(*self._value(slot, start, wanted=wanted))

    def _flush(self, *, whole: bool = False) -> None:
        """Writes the run that has gathered; `whole`: it is all of `body`."""
        source = "body" if whole else "payload" if self._at == "0" else f"payload, {self._at}"
        method = "unpack" if whole else "unpack_from"
        self._writer.add(*self._run.statements(method, source, self._writer.scope))
        self._offset += self._run.size
        self._run = _Run(self._writer.give_up)

    def _value(self, slot: Slot, start: str, *, wanted: bool) -> Iterator[str]:
        """Reads a value of variable size from `start` to `p`."""
        shape = slot.shape
        if shape.span is not None:
            yield f"if not ({shape.span.format(a=start, b='p')}): {self._writer.give_up}"
        if wanted:
            yield f"{slot.value} = {shape.read.format(a=start, b='p')}"
        elif shape.scan is not None:
            yield f"if not ({shape.scan.format(a=start, b='p')}): {self._writer.give_up}"

    def _absent_or_present(self, slot: Slot, *, ahead: bool, more: bool) -> None:
        """A field that may be absent.

        Args:
            slot: The field.
            ahead: Whether `t` and `n` are read already.
            more: Whether another such field follows, which needs them.
        """
        writer, scope, wanted = self._writer, self._writer.scope, self._wanted(slot)
        self._flush()
        if self._at != "p":
            writer.add(f"p = {self._at}")
            self._base, self._offset = "p", 0
        end = scope.add("end", _END)
        look = f"t, n = {scope.add('header', _UNPACK_HEADER)}(payload, p) if p < size else {end}"
        if not ahead:
            writer.add(look)
        writer.add(f"if t == {slot.field.tag}:", f"    q = p + {HEADER_SIZE}", "    p = q + n")
        writer.add(*(f"    {line}" for line in self._present(slot, wanted=wanted)))
        if more:
            writer.add(f"    {look}")
        if wanted:
            writer.add(f"else: {slot.value} = {_absent(slot, scope)}")

    def _present(self, slot: Slot, *, wanted: bool) -> Iterator[str]:
        give_up, shape, scope = self._writer.give_up, slot.shape, self._writer.scope
        if shape.code is None:
            yield f"if p > size: {give_up}"
            yield from self._value(slot, "q", wanted=wanted)
            return
        yield f"if n != {slot.size} or p > size: {give_up}"
        if wanted or shape.scan is not None:
            yield f"{slot.value}, = {scope.add('unpack', Struct(f'<{shape.code}').unpack_from)}(payload, q)"
        yield from item_value(slot, give_up, wanted=wanted)


def item_value(slot: Slot, give_up: str, *, wanted: bool) -> Iterator[str]:
    """What is left to do where the variable of a slot holds a struct item."""
    if wanted and slot.shape.read != "{v}":
        yield f"{slot.value} = {slot.shape.read.format(v=slot.value)}"
    elif not wanted and slot.shape.scan is not None:
        yield f"if not ({slot.shape.scan.format(v=slot.value)}): {give_up}"


def _absent(slot: Slot, scope: Scope) -> str:
    """The value of a field that is not there, a fresh one where it could be mutated."""
    value = slot.codec.absent()
    if value is None or isinstance(value, ATOMS):
        return scope.add("default", value)
    return f"{scope.add('default', slot.codec.absent)}()"


class _Run:
    """A struct that is being put together: items, the variables that take them, and what has to hold of these."""

    def __init__(self, give_up: str) -> None:
        self._give_up = give_up
        self._codes = ""
        self._targets: list[str] = []
        self._tests: list[str] = []
        self._after: list[str] = []
        self._headers: list[bytes] = []
        self._header_codes = ""
        self._headers_only = True
        self.size = 0

    def add_frame_header(self, type_id: int) -> None:
        """The header of the frame from `p` to `size`."""
        self._codes += "IH"
        self._targets += "n", "t"
        self._tests += f"n == size - p - {LENGTH_SIZE}", f"t == {type_id}"
        self._headers_only = False
        self.size += FRAME_HEADER.size

    def add_header(self, slot: Slot) -> None:
        """The header of a field of variable size."""
        self._codes += "HI"
        self._targets += f"t{slot.number}", f"n{slot.number}"
        self._tests.append(f"t{slot.number} == {slot.field.tag}")
        self._headers_only = False
        self.size += HEADER_SIZE

    def add_field(self, slot: Slot, *, wanted: bool) -> None:
        """A field of fixed size; its value is skipped if nobody wants it and every one is legal."""
        read, shape = wanted or slot.shape.scan is not None, slot.shape
        self._headers_only &= not read
        self._headers.append(slot.header)
        self._header_codes += f"6s{slot.size}x"
        self._codes += f"HI{shape.code}" if read else f"HI{slot.size}x"
        self._targets += f"t{slot.number}", f"n{slot.number}", *([slot.value] if read else [])
        self._tests += f"t{slot.number} == {slot.field.tag}", f"n{slot.number} == {slot.size}"
        self._after += item_value(slot, self._give_up, wanted=wanted)
        self.size += HEADER_SIZE + slot.size

    def statements(self, method: str, source: str, scope: Scope) -> list[str]:
        """What reads it.

        Args:
            method: Of `struct.Struct`.
            source: Its arguments.
            scope: Gets the struct.
        """
        if not self._targets:
            return []
        if self._headers_only:
            unpack = scope.add("heads", getattr(Struct(f"<{self._header_codes}"), method))
            test = f"{unpack}({source}) == {scope.add('expected', tuple(self._headers))}"
            return [f"if not ({test}): {self._give_up}"]
        unpack = scope.add("unpack", getattr(Struct(f"<{self._codes}"), method))
        check = f"if not ({' and '.join(self._tests)}): {self._give_up}"
        return [f"{', '.join(self._targets)} = {unpack}({source})", check, *self._after]
