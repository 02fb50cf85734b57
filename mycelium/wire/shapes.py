"""Types as pieces of source text: what the fast path says about a value of each type.

A piece is an expression in which `{v}` is the name of the value, and `{a}` and `{b}` are start and stop of its bytes in
`payload`. An expression that cannot say yes or no raises one of `bulk.SURPRISES`. The class of a value is read from
`__class__`, which is faster than asking `type`. Integers of up to 64 bits, floats, bools, enums and byte arrays are
items of a struct; the other fixed-size types are made to bytes first.
"""

from enum import IntEnum

from attrs import Factory, evolve, frozen

from mycelium.schema.model import (
    INTEGERS,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Scalar,
    String,
    Type,
    Vec,
    fixed_size,
)
from mycelium.wire.bulk import Bulk, bulk
from mycelium.wire.scalars import SCALARS, ScalarKind
from mycelium.wire.source import Scope
from mycelium.wire.tlv import HEADER
from mycelium.wire.value import Enums, ValueCodec, member_finder
from mycelium.wire.walk import FieldCodec

__all__ = ["Shape", "Slot", "shape"]


@frozen
class Shape:
    """What the fast path says about values of one type."""

    exact: str
    """The name of the class that values have; empty where `test` or `write` finds out."""
    write: str
    """The struct item, or the bytes where the size is not fixed."""
    read: str
    """The value: of the struct item `{v}`, or of the bytes from `{a}` to `{b}`."""
    test: str = ""
    """Whether a value of that class is one of the type; empty where all are or `write` finds out."""
    code: str | None = None
    """The item's code in a struct, None where the size is not fixed."""
    span: str | None = None
    """Whether the bytes from `{a}` to `{b}` have a possible length, where `read` does not find out; `size` is the
    payload's."""
    scan: str | None = None
    """Whether the bytes, or the struct item, are legal; None where all are."""
    fits: str = ""
    """Whether a value for which `test` holds could be written; empty where all can."""


@frozen
class Slot:
    """One field, and how it appears in the source."""

    codec: FieldCodec
    shape: Shape
    number: int
    """Its place in the order of tags; distinguishes its variables."""
    value: str = Factory(lambda self: f"f{self.number}", takes_self=True)
    """What holds its value: a variable, or an attribute."""

    @property
    def field(self) -> Field:
        """Its model."""
        return self.codec.field

    @property
    def data(self) -> str:
        """The variable that holds the bytes of its value, or of the whole field where that may be absent."""
        return f"b{self.number}"

    @property
    def size(self) -> int:
        """Bytes of its value, if it is of fixed size."""
        return self.codec.value.size or 0

    @property
    def header(self) -> bytes:
        """Its header, if it is of fixed size."""
        return HEADER.pack(self.field.tag, self.size)

    def of(self, message: str) -> "Slot":
        """The same with its value as an attribute of what is in a variable."""
        return evolve(self, value=f"{message}.{self.field.name}")


def shape(type_: Type, codec: ValueCodec, enums: Enums, scope: Scope) -> Shape:
    """The pieces for a type.

    Args:
        type_: The type.
        codec: Its value codec, in the flavour that raises instead of wording; used where there is nothing faster.
        enums: Where enum classes come from.
        scope: Gets what the pieces refer to.
    """
    match type_:
        case Scalar("bool"):
            flags = scope.add("flags", (False, True))
            return Shape("bool", "{v}", f"{flags}[{{v}}]", code="B", scan="{v} <= 1")
        case Scalar("f32" | "f64"):
            return _float(SCALARS[type_.name], codec, scope)
        case Scalar(name):
            return _integer(SCALARS[name])
        case EnumDef():
            return _enum(type_, enums(type_.name), scope)
        case ByteArray(length):
            return Shape("bytes", "{v}", "{v}", f"len({{v}}) == {length}", f"{length}s")
        case String():
            valid = "payload[{a}:{b}].decode() is not None"
            fits = "({v}.isascii() or {v}.encode())"
            return Shape("str", "{v}.encode()", "payload[{a}:{b}].decode()", scan=valid, fits=fits)
        case Bytes():
            return Shape("bytes", "{v}", "payload[{a}:{b}]")
        case Array(element, length):
            return _array(bulk(element, enums), length, fixed_size(type_) or 0, scope)
        case Vec(element) if (size := fixed_size(element)) is not None:
            return _vec(bulk(element, enums), size, scope)
        case _:
            return _other(codec, scope)


def _integer(kind: ScalarKind) -> Shape:
    low, high = INTEGERS[kind.name]
    fits = f"{low} <= {{v}} <= {high}"
    if kind.code is not None:
        return Shape("int", "{v}", "{v}", code=kind.code, fits=fits)
    how = f'"{kind.order}", signed={low < 0}'
    write, read = f"{{v}}.to_bytes({kind.size}, {how})", f"int.from_bytes({{v}}, {how})"
    return Shape("int", write, read, code=f"{kind.size}s", fits=fits)


def _float(kind: ScalarKind, codec: ValueCodec, scope: Scope) -> Shape:
    encode = scope.add("encode", codec.encode)
    fits = f"({{v}}.__class__ is float or {encode}({{v}}, depth))" if kind.name == "f64" else f"{encode}({{v}}, depth)"
    return Shape("", "{v}", "{v}", "({v}.__class__ is float or {v}.__class__ is int)", kind.code, fits=fits)


def _enum(enum: EnumDef, cls: type[IntEnum], scope: Scope) -> Shape:
    integer = _integer(SCALARS[enum.repr])
    name, find, number = scope.add("enum", cls), scope.add("find", member_finder(cls)), integer.read
    read = f"{find}({number}, {number})"
    if enum.open:
        test = f"({{v}}.__class__ is {name} or {{v}}.__class__ is int)"
        return Shape("", integer.write, read, test, integer.code, fits=integer.fits)
    known = scope.add("known", {one: one for one in enum.by_number})  # a number without a name is a KeyError
    read = f"{find}({known}[{number}], {number})"
    test = f"({{v}}.__class__ is {name} or {{v}}.__class__ is int) and {{v}} in {known}"
    legal = f"{number} in {known}"
    return Shape("", integer.write, read, test, integer.code, scan=legal)


def _array(many: Bulk, length: int, size: int, scope: Scope) -> Shape:
    write = f"{scope.add('pack', many.pack)}({{v}})"
    return Shape(
        "list",
        write,
        f"{scope.add('unpack', many.unpack)}({{v}})",
        f"len({{v}}) == {length}",
        f"{size}s",
        scan=None if many.scan is None else f"{scope.add('scan', many.scan)}({{v}}) is None",
        fits=f"{write} is not None",
    )


def _vec(many: Bulk, size: int, scope: Scope) -> Shape:
    write = f"{scope.add('pack', many.pack)}({{v}})"
    return Shape(
        "list",
        write,
        f"{scope.add('unpack', many.unpack)}(payload[{{a}}:{{b}}])",
        span=None if size == 1 else f"({{b}} - {{a}}) % {size} == 0",
        scan=None if many.scan is None else f"{scope.add('scan', many.scan)}(payload[{{a}}:{{b}}]) is None",
        fits=f"{write} is not None",
    )


def _other(codec: ValueCodec, scope: Scope) -> Shape:
    write = f"{scope.add('encode', codec.encode)}({{v}}, depth)"
    return Shape(
        "",
        write,
        f"{scope.add('decode', codec.decode)}(payload, {{a}}, {{b}}, depth)",
        # A slice stops where the payload does. This goes as far as it is told, which may be 4 GiB.
        span="{b} <= size",
        scan=f"{scope.add('scan', codec.scan)}(payload, {{a}}, {{b}}, depth) is None",
        fits=f"{write} is not None",
    )
