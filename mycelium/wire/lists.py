"""Arrays and Vecs as bytes.

Values of a fixed size stand one after the other, and whole lists of them go through `bulk`; only if that does not work
out does a second look find the value that is to blame. Elements without a fixed size carry their length.
"""

from collections.abc import Iterator
from typing import Any

from mycelium.schema.model import Array, Type, fixed_size
from mycelium.wire.bulk import SURPRISES, bulk
from mycelium.wire.errors import Misfit
from mycelium.wire.scalars import is_a
from mycelium.wire.tlv import LENGTH, length_of
from mycelium.wire.value import Enums, ValueCodec

__all__ = ["array", "elements", "fixed_vec", "variable_vec"]


def _encode_each(values: list[Any], inner: ValueCodec, depth: int) -> Iterator[bytes]:
    index = 0
    try:
        for index, value in enumerate(values):  # noqa: B007  the index is for the path
            yield inner.encode(value, depth)
    except Misfit as misfit:
        misfit.within("index", index)
        raise


def _packed(element: Type, inner: ValueCodec, size: int, enums: Enums) -> ValueCodec:
    """Values one after the other, of a length that the caller has checked."""
    many = bulk(element, enums)

    def encode(values: Any, depth: int) -> bytes:
        try:
            return many.pack(values)
        except SURPRISES:
            return b"".join(_encode_each(values, inner, depth))

    def one_by_one(payload: bytes, start: int, stop: int, depth: int) -> Iterator[Any]:
        at = start
        try:
            for at in range(start, stop, size):  # pragma: no branch  one of them is wrong, or nobody would ask
                yield inner.decode(payload, at, at + size, depth)
        except Misfit as misfit:
            misfit.within("index", (at - start) // size)
            raise

    def decode(payload: bytes, start: int, stop: int, depth: int) -> list[Any]:
        try:
            return many.unpack(payload[start:stop])
        except SURPRISES:
            return list(one_by_one(payload, start, stop, depth))

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        if many.scan is not None:
            try:
                many.scan(payload[start:stop])
            except SURPRISES:
                list(one_by_one(payload, start, stop, depth))

    return ValueCodec(None, encode, decode, scan)


def array(type_: Array, inner: ValueCodec, enums: Enums) -> ValueCodec:
    """`[T; N]`: exactly N values one after the other."""
    length, size = type_.length, fixed_size(type_) or 0
    packed = _packed(type_.element, inner, size // length, enums)

    def encode(value: Any, depth: int) -> bytes:
        if is_a(value, list) and len(value) == length:
            return packed.encode(value, depth)
        raise Misfit(f"takes a list of {length} values", value)

    def check(start: int, stop: int) -> None:
        if stop - start != size:
            raise Misfit(f"takes {size} bytes, not {stop - start}", offset=start)

    def decode(payload: bytes, start: int, stop: int, depth: int) -> Any:
        check(start, stop)
        return packed.decode(payload, start, stop, depth)

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        check(start, stop)
        packed.scan(payload, start, stop, depth)

    return ValueCodec(size, encode, decode, scan)


def fixed_vec(element: Type, inner: ValueCodec, size: int, enums: Enums) -> ValueCodec:
    """`Vec<T>`, T of `size` bytes: any number of values one after the other."""
    packed = _packed(element, inner, size, enums)

    def encode(value: Any, depth: int) -> bytes:
        if is_a(value, list):
            return packed.encode(value, depth)
        raise Misfit("takes a list", value)

    def check(start: int, stop: int) -> None:
        if (stop - start) % size:
            raise Misfit(f"takes a multiple of {size} bytes, not {stop - start}", offset=start)

    def decode(payload: bytes, start: int, stop: int, depth: int) -> Any:
        check(start, stop)
        return packed.decode(payload, start, stop, depth)

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        check(start, stop)
        packed.scan(payload, start, stop, depth)

    return ValueCodec(None, encode, decode, scan)


def elements(payload: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each element of a list whose elements carry their length.

    Raises:
        Misfit: An element overruns the list, or trailing bytes are no whole length.
    """
    while start < stop:
        left = stop - start - LENGTH.size
        if left < 0:
            raise Misfit(f"{stop - start} trailing bytes are no whole length", offset=start)
        length: int = LENGTH.unpack_from(payload, start)[0]
        if length > left:
            raise Misfit(f"says {length} bytes where {left} are left", offset=start)
        first = start + LENGTH.size
        start = first + length
        yield first, start


def variable_vec(inner: ValueCodec) -> ValueCodec:
    """`Vec<T>`, T without a fixed size: each element behind its length."""

    def encode(value: Any, depth: int) -> bytes:
        if not is_a(value, list):
            raise Misfit("takes a list", value)
        parts: list[bytes] = []
        for element in _encode_each(value, inner, depth):
            parts += LENGTH.pack(length_of(element)), element
        return b"".join(parts)

    def decode(payload: bytes, start: int, stop: int, depth: int) -> list[Any]:
        values: list[Any] = []
        try:
            for first, last in elements(payload, start, stop):
                values.append(inner.decode(payload, first, last, depth))
        except Misfit as misfit:
            misfit.within("index", len(values))
            raise
        return values

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        index = 0
        try:
            for first, last in elements(payload, start, stop):
                inner.scan(payload, first, last, depth)
                index += 1
        except Misfit as misfit:
            misfit.within("index", index)
            raise

    return ValueCodec(None, encode, decode, scan)
