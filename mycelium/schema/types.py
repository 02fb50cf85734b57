"""Spellings of types: `Vec<[u8; 20]>`, `Map<String, Order>`, an alias, an enum, a message.

    type := "[" type ";" count "]" | "Vec" "<" type ">" | "Map" "<" type "," type ">" | name

White space is free between the parts.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from mycelium.schema.faults import Wrong, quoted
from mycelium.schema.model import (
    INTEGERS,
    MAX_NESTING,
    SCALAR_SIZES,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    Scalar,
    String,
    Type,
    Vec,
    fixed_size,
    inner_types,
)

__all__ = [
    "BUILTINS",
    "CONSTRUCTORS",
    "MAX_ARRAY_SIZE",
    "TYPE_NAMES",
    "is_map_key",
    "nesting",
    "parse_type",
    "unknown_type",
]

MAX_ARRAY_SIZE: Final = 64 * 1024 * 1024
"""Bytes of an array: what the largest payload holds (wire protocol, "Frame")."""

BUILTINS: Final[Mapping[str, Type]] = {
    **{name: Scalar(name) for name in SCALAR_SIZES},
    "String": String(),
    "bytes": Bytes(),
}
CONSTRUCTORS: Final = frozenset({"Vec", "Map"})
TYPE_NAMES: Final = frozenset({*BUILTINS, *CONSTRUCTORS})
"""Names that mean a type in every file; no message has one of them."""

_U8: Final = Scalar("u8")
_PARTS: Final = re.compile(r"\s*([\[\];,<>]|[^\s\[\];,<>]+)\s*")
_MAX_SPELLING: Final = 4096
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_FOREIGN: Final[Mapping[str, str]] = {
    "Option": "write the inner type and `optional: true`",
    "HashMap": "write Map<K, V>",
    "BTreeMap": "write Map<K, V>",
    "boolean": "write bool",
    "byte": "write u8",
    "dict": "write Map<K, V>",
    "double": "write f64",
    "float": "write f64, or f32",
    "int": "write i64, or another size",
    "integer": "write i64, or another size",
    "list": "write Vec<T>",
    "str": "write String",
    "text": "write String",
    "usize": "write u64",
}


def parse_type(spelling: str, resolve: Callable[[str], Type]) -> Type:
    """The type that a spelling stands for.

    Args:
        spelling: As the file has it.
        resolve: Gives the type of a name that is not built in, or raises Wrong.

    Raises:
        Wrong: It is no type.
    """
    if spelling in BUILTINS:
        return BUILTINS[spelling]
    if len(spelling) > _MAX_SPELLING:
        raise Wrong(f"a type of {len(spelling)} characters is too long", f"use at most {_MAX_SPELLING}")
    parser = _Parser(spelling, resolve)
    type_ = parser.type(MAX_NESTING)
    parser.end()
    if nesting(type_) > MAX_NESTING:
        raise _too_deep()
    return type_


def nesting(type_: Type) -> int:
    """How many collections stand around the innermost type: `Vec<[u8; 4]>` has 2."""
    inner = [nesting(each) for each in inner_types(type_)]
    return 1 + max(inner) if inner else int(isinstance(type_, ByteArray))


def is_map_key(type_: Type) -> bool:
    """Whether the keys of a Map may be of the type: an integer, bool, enum, String or [u8; N] (contract language)."""
    if isinstance(type_, Scalar):
        return type_.name in INTEGERS or type_.name == "bool"
    return isinstance(type_, EnumDef | String | ByteArray)


def unknown_type(name: str) -> tuple[str, str | None]:
    """Problem and, for a name of another language, remedy, of a name that is no type."""
    return f"there is no type {quoted(name)}", _FOREIGN.get(name)


def _too_deep() -> Wrong:
    return Wrong(f"collections are nested more than {MAX_NESTING} deep", "put the inner part into a message")


class _Parser:
    """Reads one spelling from left to right."""

    def __init__(self, spelling: str, resolve: Callable[[str], Type]) -> None:
        self._spelling = spelling
        self._parts = _PARTS.findall(spelling)
        self._next = 0
        self._resolve = resolve

    def type(self, depth: int) -> Type:
        if depth < 0:
            raise _too_deep()
        part = self._take("a type")
        if part == "[":
            return self._array(depth - 1)
        if part in "];,<>":
            raise self._unexpected(part, "a type")
        if part in CONSTRUCTORS:
            return self._vec(depth - 1) if part == "Vec" else self._map(depth - 1)
        if self._peek() == "<":
            raise Wrong(f"{quoted(part)} takes no other type", _FOREIGN.get(part, "only Vec<T> and Map<K, V> do"))
        return BUILTINS[part] if part in BUILTINS else self._resolve(part)

    def end(self) -> None:
        """Makes sure that nothing follows the type."""
        if self._next < len(self._parts):
            raise self._unexpected(self._parts[self._next], "the end of the type")

    def _array(self, depth: int) -> Type:
        element = self.type(depth)
        self._expect(";")
        count = self._take("a number of elements")
        self._expect("]")
        length = int(count) if _COUNT.fullmatch(count) else 0
        if length < 1:
            raise Wrong(f"an array cannot have {quoted(count)} elements", "give a number from 1 on, or use Vec<T>")
        size = fixed_size(element)
        if size is None:
            raise Wrong(f"[T; N] needs a T of fixed size, which {element} is not", f"use Vec<{element}>")
        if size * length > MAX_ARRAY_SIZE:
            problem = f"an array of {size * length:,} bytes is larger than any payload"
            raise Wrong(problem, f"keep it within {MAX_ARRAY_SIZE:,} bytes")
        return ByteArray(length) if element == _U8 else Array(element, length)

    def _vec(self, depth: int) -> Type:
        self._expect("<")
        element = self.type(depth)
        self._expect(">")
        return Bytes() if element == _U8 else Vec(element)

    def _map(self, depth: int) -> Type:
        self._expect("<")
        key = self.type(depth)
        self._expect(",")
        value = self.type(depth)
        self._expect(">")
        if not is_map_key(key):
            raise Wrong(f"{key} cannot be the key of a Map", "use an integer, bool, enum, String or [u8; N]")
        return Map(key, value)

    def _peek(self) -> str | None:
        return self._parts[self._next] if self._next < len(self._parts) else None

    def _take(self, wanted: str) -> str:
        part = self._peek()
        if part is None:
            problem = f"the type {quoted(self._spelling)} ends where {wanted} should be"
            raise Wrong(problem, "complete it; inside { } a type with a comma needs quotes")
        self._next += 1
        return part

    def _expect(self, wanted: str) -> None:
        part = self._take(f"'{wanted}'")
        if part != wanted:
            raise self._unexpected(part, f"'{wanted}'")

    def _unexpected(self, part: str, wanted: str) -> Wrong:
        problem = f"the type {quoted(self._spelling)} has {quoted(part)} where {wanted} should be"
        return Wrong(problem, "write it as T, [T; N], Vec<T> or Map<K, V>")
