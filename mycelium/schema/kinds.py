"""The kinds of types that a field can have, and how large their values are on the wire."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import field, frozen

__all__ = [
    "INTEGERS",
    "SCALAR_SIZES",
    "Array",
    "ByteArray",
    "Bytes",
    "EnumDef",
    "Json",
    "Location",
    "Map",
    "MessageRef",
    "Scalar",
    "String",
    "Type",
    "Vec",
    "fixed_size",
    "inner_types",
    "messages_in",
    "read_only",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def read_only(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping as a model keeps it: a copy that nobody can change."""
    return MappingProxyType(dict(mapping))


@frozen
class Location:
    """Where something stands: a file's name as the user gave it, line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


SCALAR_SIZES: Final[Mapping[str, int]] = MappingProxyType(
    {
        **{f"{sign}{bits}": bits // 8 for sign in "ui" for bits in (8, 16, 32, 64, 128)},
        "f32": 4,
        "f64": 8,
        "bool": 1,
        "U256": 32,
    }
)
"""Bytes of each scalar type on the wire."""

INTEGERS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        **{f"u{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64, 128)},
        **{f"i{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64, 128)},
        "U256": (0, 2**256 - 1),
    }
)
"""The smallest and the largest value of each integer type."""


@frozen
class Scalar:
    """A number or bool: one of `SCALAR_SIZES`."""

    name: str

    def __str__(self) -> str:
        return self.name


@frozen
class String:
    """Unicode text."""

    def __str__(self) -> str:
        return "String"


@frozen
class Bytes:
    """Raw bytes of any length; `Vec<u8>` is another spelling of it."""

    def __str__(self) -> str:
        return "bytes"


@frozen
class ByteArray:
    """`[u8; N]`: exactly `length` raw bytes, a Python `bytes`."""

    length: int

    def __str__(self) -> str:
        return f"[u8; {self.length}]"


@frozen
class Array:
    """`[T; N]`: a list of exactly `length` values of a fixed-size type other than u8."""

    element: "Type"
    length: int

    def __str__(self) -> str:
        return f"[{self.element}; {self.length}]"


@frozen
class Vec:
    """`Vec<T>`: a list of any length, T other than u8."""

    element: "Type"

    def __str__(self) -> str:
        return f"Vec<{self.element}>"


@frozen
class Map:
    """`Map<K, V>`: a dict whose order is kept; K is an integer, bool, enum, String or [u8; N]."""

    key: "Type"
    value: "Type"

    def __str__(self) -> str:
        return f"Map<{self.key}, {self.value}>"


@frozen
class EnumDef:
    """An enum of the file; where a field has it as its type it is the type itself."""

    name: str
    members: Mapping[str, int] = field(hash=False, converter=read_only)
    """Name to number, in file order."""
    repr: str = "u8"
    """The integer type that it is written as."""
    open: bool = True
    """Whether a number without a name is kept as an int instead of being an error."""
    description: str = ""
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    location: Location | None = field(default=None, eq=False, repr=False)
    member_locations: Mapping[str, Location] = field(factory=dict, eq=False, repr=False)

    def __str__(self) -> str:
        return self.name

    @cached_property
    def by_number(self) -> Mapping[int, str]:
        """Number to name."""
        return MappingProxyType({number: name for name, number in self.members.items()})


@frozen
class MessageRef:
    """Another message, nested, by its name; `Schema.messages` has it."""

    name: str

    def __str__(self) -> str:
        return self.name


Type: TypeAlias = Scalar | String | Bytes | ByteArray | Array | Vec | Map | EnumDef | MessageRef


def fixed_size(type_: Type) -> int | None:
    """Bytes that every value of the type takes on the wire, or None where that depends on the value."""
    match type_:
        case Scalar(name):
            return SCALAR_SIZES[name]
        case EnumDef():
            return SCALAR_SIZES[type_.repr]
        case ByteArray(length):
            return length
        case Array(element, length):
            size = fixed_size(element)
            return None if size is None else size * length
        case String() | Bytes() | Vec() | Map() | MessageRef():
            return None


def inner_types(type_: Type) -> tuple[Type, ...]:
    """The types that a type is made of, one step down."""
    match type_:
        case Array(element, _) | Vec(element):
            return (element,)
        case Map(key, value):
            return (key, value)
        case Scalar() | String() | Bytes() | ByteArray() | EnumDef() | MessageRef():
            return ()


def messages_in(type_: Type) -> Iterator[str]:
    """Names of the messages that a value of the type may hold directly."""
    if isinstance(type_, MessageRef):
        yield type_.name
    for inner in inner_types(type_):
        yield from messages_in(inner)
