"""Numbers and bools as bytes: integers little-endian two's complement, U256 big-endian, floats IEEE 754, bool 0 or 1.

This is the definitive form, one value at a time, which words what does not fit; `bulk` does whole lists.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, Final, Literal

from attrs import frozen

from mycelium.schema.model import INTEGERS, SCALAR_SIZES
from mycelium.wire.errors import Misfit

__all__ = ["SCALARS", "ScalarKind", "is_a", "is_int"]


@frozen
class ScalarKind:
    """How one scalar type is written."""

    name: str
    size: int
    """Bytes of every value."""
    code: str | None
    """Its letter in the struct module; None for the integers that struct does not know."""
    order: Literal["little", "big"]
    types: frozenset[type]
    """The Python types that need no second look; subclasses of int and float are looked at one by one."""
    encode: Callable[[Any], bytes]
    """Value to bytes; Misfit if it is not legal."""
    decode: Callable[[bytes, int], Any]
    """`size` bytes, and where they stand in the payload, to the value; Misfit if they are not legal."""


def is_a(value: object, cls: type) -> bool:
    """Whether its class is `cls` or derived from it, whatever its `__class__` says."""
    return issubclass(type(value), cls)


def is_int(value: object) -> bool:
    """Whether it is an integer of the contract language: a bool is none."""
    return is_a(value, int) and type(value) is not bool


def _integer(name: str, code: str | None) -> ScalarKind:
    low, high = INTEGERS[name]
    size, signed = SCALAR_SIZES[name], low < 0
    order: Literal["little", "big"] = "big" if name == "U256" else "little"

    def encode(value: Any) -> bytes:
        if is_int(value) and low <= value <= high:
            return int.to_bytes(value, size, order, signed=signed)
        raise Misfit(f"takes an int from {low} to {high} ({name})", value)

    def decode(data: bytes, _: int) -> int:
        return int.from_bytes(data, order, signed=signed)

    return ScalarKind(name, size, code, order, frozenset({int}), encode, decode)


def _float(name: str, code: str) -> ScalarKind:
    shape = Struct(f"<{code}")

    def encode(value: Any) -> bytes:
        if is_int(value) or is_a(value, float):
            try:
                return shape.pack(float(value))
            except OverflowError:
                raise Misfit(f"takes a float that fits {name}", value) from None
        raise Misfit(f"takes a float ({name})", value)

    def decode(data: bytes, _: int) -> float:
        value: float = shape.unpack(data)[0]
        return value

    return ScalarKind(name, shape.size, code, "little", frozenset({float, int}), encode, decode)


def _bool() -> ScalarKind:
    def encode(value: Any) -> bytes:
        if type(value) is bool:
            return b"\1" if value else b"\0"
        raise Misfit("takes a bool", value)

    def decode(data: bytes, offset: int) -> bool:
        if data[0] > 1:
            raise Misfit("a bool is 0 or 1", data[0], offset)
        return data[0] == 1

    return ScalarKind("bool", 1, "?", "little", frozenset({bool}), encode, decode)


_CODES: Final = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q"}

SCALARS: Final[Mapping[str, ScalarKind]] = MappingProxyType(
    {
        **{name: _integer(name, _CODES.get(name)) for name in INTEGERS},
        "f32": _float("f32", "f"),
        "f64": _float("f64", "d"),
        "bool": _bool(),
    }
)
"""Every scalar type of the contract language by its name."""
