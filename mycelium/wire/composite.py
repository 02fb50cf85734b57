"""Values of every type of the contract language as bytes: the definitive form, and the one that words errors.

`encode`, `decode` and `scan` say by a `Misfit` what does not fit and where; each container adds its step of the path on
the way out. A length is held against the bytes that are there before anything is made of it, so what a hostile payload
makes us allocate grows with its own size only.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, assert_never

from mycelium.schema.model import Array, ByteArray, Bytes, EnumDef, Map, MessageRef, Scalar, String, Type, Vec
from mycelium.wire.errors import Misfit
from mycelium.wire.lists import array, fixed_vec, variable_vec
from mycelium.wire.maps import map_of
from mycelium.wire.scalars import SCALARS, is_a, is_int
from mycelium.wire.value import Enums, Nested, ValueCodec, member_finder

__all__ = ["value_codec"]


def value_codec(type_: Type, nested: Nested, enums: Enums) -> ValueCodec:
    """The codec of a type.

    Args:
        type_: Any type of the contract language.
        nested: Gives the codec of a message; it is not asked before the first such value is read or written.
        enums: Gives the class of an enum.
    """
    match type_:
        case Scalar(name):
            return _fixed(SCALARS[name].size, SCALARS[name].encode, SCALARS[name].decode)
        case EnumDef():
            return _enum(type_, enums(type_.name))
        case String():
            return _string()
        case Bytes():
            return _bytes()
        case ByteArray(length):
            return _byte_array(length)
        case Array(element, _):
            return array(type_, value_codec(element, nested, enums), enums)
        case Vec(element):
            inner = value_codec(element, nested, enums)
            return variable_vec(inner) if inner.size is None else fixed_vec(element, inner, inner.size, enums)
        case Map(key, value):
            return map_of(value_codec(key, nested, enums), value_codec(value, nested, enums))
        case MessageRef(name):
            return _message(name, nested)
        case _:
            assert_never(type_)


def _fixed(size: int, encode: Callable[[Any], bytes], decode: Callable[[bytes, int], Any]) -> ValueCodec:
    def encode_value(value: Any, _: int) -> bytes:
        return encode(value)

    def decode_value(payload: bytes, start: int, stop: int, _: int) -> Any:
        if stop - start != size:
            raise Misfit(f"takes {size} bytes, not {stop - start}", offset=start)
        return decode(payload[start:stop], start)

    return ValueCodec(size, encode_value, decode_value, decode_value)


def _enum(enum: EnumDef, cls: type[IntEnum]) -> ValueCodec:
    number = SCALARS[enum.repr]
    find = member_finder(cls)
    problem = f"takes a member of {enum.name} ({', '.join(enum.members)}) or its number"

    def look_up(value: int, offset: int | None) -> Any:
        if enum.open or value in enum.by_number:
            return find(value, value)
        raise Misfit(problem, value, offset)

    def encode(value: Any) -> bytes:
        if not is_int(value):
            raise Misfit(problem, value)
        return number.encode(look_up(value, None))

    def decode(data: bytes, offset: int) -> Any:
        return look_up(number.decode(data, offset), offset)

    return _fixed(number.size, encode, decode)


def _string() -> ValueCodec:
    def encode(value: Any, _: int) -> bytes:
        if not is_a(value, str):
            raise Misfit("takes a str", value)
        try:
            return str.encode(value)
        except UnicodeEncodeError as error:
            raise Misfit(f"takes text that UTF-8 can carry; index {error.start} is half a surrogate pair") from None

    def decode(payload: bytes, start: int, stop: int, _: int) -> str:
        try:
            return payload[start:stop].decode()
        except UnicodeDecodeError as error:
            raise Misfit("invalid UTF-8", offset=start + error.start) from None

    return ValueCodec(None, encode, decode, decode)


def _bytes() -> ValueCodec:
    def encode(value: Any, _: int) -> bytes:
        if is_a(value, bytes):
            return bytes(value)
        raise Misfit("takes bytes", value)

    def decode(payload: bytes, start: int, stop: int, _: int) -> bytes:
        return payload[start:stop]

    def scan(payload: bytes, start: int, stop: int, _: int) -> None:
        """Any bytes are legal."""

    return ValueCodec(None, encode, decode, scan)


def _byte_array(length: int) -> ValueCodec:
    def encode(value: Any) -> bytes:
        if is_a(value, bytes) and len(value) == length:
            return bytes(value)
        raise Misfit(f"takes {length} bytes", value)

    return _fixed(length, encode, lambda data, _: data)


def _message(name: str, nested: Nested) -> ValueCodec:
    def encode(value: Any, depth: int) -> bytes:
        return nested(name).encode(value, depth)

    def decode(payload: bytes, start: int, stop: int, depth: int) -> Any:
        return nested(name).decode(payload, start, stop, depth)

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        nested(name).scan(payload, start, stop, depth)

    return ValueCodec(None, encode, decode, scan)
