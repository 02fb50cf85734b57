"""Lists of fixed-size values as bytes, one call per list where the struct module has one.

Nothing here words an error. What does not fit raises whatever it raises, one of `SURPRISES`, and the general form in
`composite` goes through the list value by value and says which one it is.
"""

from collections.abc import Callable, Set
from enum import IntEnum
from struct import error as StructError  # noqa: N812  a class
from struct import pack, unpack
from typing import Any, Final

from attrs import frozen

from mycelium.schema.model import Array, ByteArray, EnumDef, Scalar, Type, fixed_size
from mycelium.wire.errors import Misfit
from mycelium.wire.scalars import SCALARS, ScalarKind
from mycelium.wire.value import member_finder

__all__ = ["SURPRISES", "Bulk", "Surprise", "bulk"]


class Surprise(Exception):
    """Not what nearly every value and payload looks like; the general walk decides."""


SURPRISES: Final = (Surprise, Misfit, StructError, ValueError, TypeError, LookupError, OverflowError, AttributeError)
"""What the fast path and the functions of this module may raise."""


@frozen
class Bulk:
    """Lists of one fixed-size type."""

    pack: Callable[[list[Any]], bytes]
    unpack: Callable[[bytes], list[Any]]
    """The length must be a multiple of the type's size."""
    scan: Callable[[bytes], None] | None
    """Raises if a value is not legal; None where every bit pattern is."""


def bulk(type_: Type, enum_of: Callable[[str], type[IntEnum]]) -> Bulk:
    """How lists of the type are written; the type is a fixed-size one."""
    match type_:
        case Scalar(name):
            return _bools() if name == "bool" else _any_numbers(SCALARS[name], SCALARS[name].types)
        case EnumDef():
            return _enums(type_, enum_of(type_.name))
        case ByteArray(length):
            return _blobs(length)
        case Array(element, length):
            return _arrays(bulk(element, enum_of), fixed_size(type_) or 0, length)
        case _:
            raise TypeError(f"{type_} is not fixed-size")


def _any_numbers(kind: ScalarKind, allowed: Set[type]) -> Bulk:
    return _wide_integers(kind, allowed) if kind.code is None else _numbers(kind, kind.code, allowed)


def _numbers(kind: ScalarKind, code: str, allowed: Set[type]) -> Bulk:
    size = kind.size

    def pack_numbers(values: list[Any]) -> bytes:
        if not set(map(type, values)) <= allowed:
            raise Surprise
        return pack(f"<{len(values)}{code}", *values)

    def unpack_numbers(data: bytes) -> list[Any]:
        return list(unpack(f"<{len(data) // size}{code}", data))

    return Bulk(pack_numbers, unpack_numbers, None)


def _wide_integers(kind: ScalarKind, allowed: Set[type]) -> Bulk:
    """u128, i128 and U256."""
    size, order, signed = kind.size, kind.order, kind.name.startswith("i")

    def pack_integers(values: list[Any]) -> bytes:
        if not set(map(type, values)) <= allowed:
            raise Surprise
        return b"".join([int.to_bytes(value, size, order, signed=signed) for value in values])

    def unpack_integers(data: bytes) -> list[int]:
        read = int.from_bytes
        return [read(data[at : at + size], order, signed=signed) for at in range(0, len(data), size)]

    return Bulk(pack_integers, unpack_integers, None)


def _bools() -> Bulk:
    def pack_bools(values: list[Any]) -> bytes:
        if not set(map(type, values)) <= {bool}:
            raise Surprise
        return bytes(values)

    def scan(data: bytes) -> None:
        if data.translate(None, b"\0\1"):
            raise Surprise

    def unpack_bools(data: bytes) -> list[bool]:
        scan(data)
        return list(map(bool, data))

    return Bulk(pack_bools, unpack_bools, scan)


def _enums(enum: EnumDef, cls: type[IntEnum]) -> Bulk:
    numbers = _any_numbers(SCALARS[enum.repr], frozenset({cls, int}))
    find, known = member_finder(cls), frozenset(enum.by_number)

    def pack_known(values: list[Any]) -> bytes:
        if not known.issuperset(values):
            raise Surprise
        return numbers.pack(values)

    def unpack_known(data: bytes) -> list[Any]:
        scan(data)
        return unpack_any(data)

    def scan(data: bytes) -> None:
        if not known.issuperset(numbers.unpack(data)):
            raise Surprise

    def unpack_any(data: bytes) -> list[Any]:
        values = numbers.unpack(data)
        return list(map(find, values, values))

    if enum.open:
        return Bulk(numbers.pack, unpack_any, None)
    return Bulk(pack_known, unpack_known, scan)


def _blobs(length: int) -> Bulk:
    def pack_blobs(values: list[Any]) -> bytes:
        if not (set(map(type, values)) <= {bytes} and set(map(len, values)) <= {length}):
            raise Surprise
        return b"".join(values)

    def unpack_blobs(data: bytes) -> list[bytes]:
        return [data[at : at + length] for at in range(0, len(data), length)]

    return Bulk(pack_blobs, unpack_blobs, None)


def _arrays(inner: Bulk, size: int, length: int) -> Bulk:
    def pack_arrays(values: list[Any]) -> bytes:
        if not (set(map(type, values)) <= {list} and set(map(len, values)) <= {length}):
            raise Surprise
        return b"".join(map(inner.pack, values))

    def unpack_arrays(data: bytes) -> list[list[Any]]:
        return [inner.unpack(data[at : at + size]) for at in range(0, len(data), size)]

    return Bulk(pack_arrays, unpack_arrays, inner.scan)
