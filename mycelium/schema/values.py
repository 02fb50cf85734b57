"""JSON form of values, both ways: bytes as "0x…", enums by name, integers exact, NaN and infinities as those strings.

Message objects leave out what is None; keys of a Map are strings, since JSON has no others. Contracts files write
defaults and `one_of` in the same form.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, assert_never

from mycelium.schema.faults import nearest, quoted, shortened
from mycelium.schema.model import (
    INTEGERS,
    MAX_NESTING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Json,
    Map,
    Message,
    MessageRef,
    Scalar,
    String,
    Type,
    Vec,
)

__all__ = ["Types", "ValueProblem", "checked_json", "from_json_value", "round_to_f32", "to_json_value"]

_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)
_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,80}", re.ASCII)
_F32_OVERFLOW: Final = float.fromhex("0x1.ffffffp127")
"""From here on a float rounds to infinity as an f32 (IEEE 754, round to nearest, ties to even)."""
_MAX_LISTED: Final = 20
_MAX_TOLD: Final = 100
_F32_DIGITS: Final = 24
_F32_LOWEST_EXPONENT: Final = -125
"""Of a normal f32 as `math.frexp` counts; below it digits are lost one by one."""
_FLOAT_WORDS: Final[Mapping[str, float]] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT_SPELLINGS: Final[Mapping[str, str]] = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Types(Protocol):
    """Where the classes of messages and enums are found: a registry."""

    def class_of(self, name: str) -> Any:
        """The class of a message."""

    def enum_of(self, name: str) -> Any:
        """The IntEnum of an enum."""


class ValueProblem(ValueError):
    """A value that its type does not allow; always told as another error, together with where the value came from.

    Attributes:
        problems: For each part that is wrong, where in the value it is (`[2].price`), and why.
    """

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        told = [f"{path.lstrip('.')}: {problem}" if path else problem for path, problem in self.problems[:_MAX_TOLD]]
        more = len(self.problems) - len(told)
        return "; ".join((*told, f"{more} more like these") if more else told)

    def inside(self, step: str) -> "ValueProblem":
        """The same, seen from one step further out."""
        return ValueProblem((step + path, problem) for path, problem in self.problems)


def from_json_value(type_: Type, value: Any, types: Types | None) -> Any:
    """The Python value of a JSON value.

    Args:
        type_: What it has to be.
        value: What a JSON parser gave; None for an absent optional is the caller's affair.
        types: Where classes are found; without it enums become their numbers and messages cannot be read.

    Raises:
        ValueProblem: The type does not allow it.
    """
    return _From(_Classes(types) if types is not None else _Plain({})).read(type_, value)


def to_json_value(type_: Type, value: Any, types: Types) -> Json:
    """The JSON value of a Python value that fits its type."""
    match type_:
        case Scalar("f32" | "f64"):
            return float(value) if math.isfinite(value) else _FLOAT_SPELLINGS[repr(float(value))]
        case Scalar() | String():
            return value  # type: ignore[no-any-return]
        case Bytes() | ByteArray():
            return f"0x{value.hex()}"
        case EnumDef():
            return type_.by_number.get(int(value), int(value))
        case Array(element, _) | Vec(element):
            return [to_json_value(element, item, types) for item in value]
        case Map(key, inner):
            return {_key_text(key, each): to_json_value(inner, item, types) for each, item in value.items()}
        case MessageRef(name):
            held = ((one, getattr(value, one.name)) for one in _Classes(types).fields(name))
            return {one.name: to_json_value(one.type, item, types) for one, item in held if item is not None}
        case _:
            assert_never(type_)


def checked_json(type_: Type, value: Json, messages: Mapping[str, Message]) -> Json:
    """A JSON value that fits its type, in its one spelling: hex digits in lower case, enums by name.

    Raises:
        ValueProblem: The type does not allow it.
    """
    _From(_Plain(messages)).read(type_, value)
    return _spelled(type_, value, messages)


# --- where classes come from -----------------------------------------------------------------------------------------


class _Classes:
    """Makes messages and enum members of the classes of a registry."""

    def __init__(self, types: Types) -> None:
        self._types = types

    def fields(self, name: str) -> tuple[Field, ...]:
        fields: tuple[Field, ...] = self._types.class_of(name).__mycelium__.message.fields
        return fields

    def make(self, name: str, values: dict[str, Any]) -> Any:
        return self._types.class_of(name)(**values)

    def member(self, enum: EnumDef, number: int) -> Any:
        return self._types.enum_of(enum.name)(number)


class _Plain:
    """Makes dicts and numbers: for files whose classes do not exist yet."""

    def __init__(self, messages: Mapping[str, Message]) -> None:
        self._messages = messages

    def fields(self, name: str) -> tuple[Field, ...]:
        return self._messages[name].fields

    def make(self, _name: str, values: dict[str, Any]) -> Any:
        return values

    def member(self, _enum: EnumDef, number: int) -> Any:
        return number


# --- reading ---------------------------------------------------------------------------------------------------------


def _not(wanted: str, value: object) -> ValueProblem:
    return ValueProblem([("", f"must be {wanted}, not {quoted(value)}")])


class _From:
    """Reads JSON values; recursion is bounded by the types and by `MAX_NESTING` messages."""

    def __init__(self, made: _Classes | _Plain) -> None:
        self._made = made
        self._depth = 1

    def read(self, type_: Type, value: Any) -> Any:
        match type_:
            case Scalar(name):
                return _SCALARS[name](name, value)
            case String():
                return _text(value)
            case Bytes():
                return _bytes(value)
            case ByteArray(length):
                return _sized(_bytes(value), length, "bytes")
            case EnumDef():
                return self._member(type_, value)
            case Array(element, length):
                return _sized(self._items(element, value), length, "items")
            case Vec(element):
                return self._items(element, value)
            case Map(key, inner):
                return self._entries(key, inner, value)
            case MessageRef(name):
                return self._message(name, value)
            case _:
                assert_never(type_)

    def _member(self, enum: EnumDef, value: Any) -> Any:
        if isinstance(value, str):
            if value in enum.members:
                return self._made.member(enum, enum.members[value])
            raise ValueProblem([("", f"{enum.name} has no member {quoted(value)}{_members_hint(enum, value)}")])
        number = _integer(enum.repr, value)
        if number in enum.by_number:
            return self._made.member(enum, number)
        if enum.open:
            return number
        raise ValueProblem([("", f"{enum.name} has no member with the number {number}, and is closed")])

    def _items(self, element: Type, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _not("a list", value)
        return [self._part(element, item, f"[{index}]") for index, item in enumerate(value)]

    def _entries(self, key: Type, inner: Type, value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _not("an object", value)
        entries: dict[Any, Any] = {}
        for text, item in value.items():
            step = f"[{quoted(text)}]"
            read = self._part(key, _key_json(key, text), step)
            if read in entries:
                raise ValueProblem([(step, "the same key is there already, spelled otherwise")])
            entries[read] = self._part(inner, item, step)
        return entries

    def _part(self, type_: Type, value: Any, step: str) -> Any:
        try:
            return self.read(type_, value)
        except ValueProblem as problem:
            raise problem.inside(step) from None

    def _message(self, name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not(f"an object with the fields of {name}", value)
        if self._depth >= MAX_NESTING:
            raise ValueProblem([("", f"messages are nested more than {MAX_NESTING} deep")])
        fields = {one.name: one for one in self._made.fields(name)}
        problems = [(f".{shortened(str(key))}", f"{name} has no such field") for key in value if key not in fields]
        values: dict[str, Any] = {}
        self._depth += 1
        for one in fields.values():
            given = value.get(one.name)
            if one.name not in value or (given is None and one.optional):
                if one.required:
                    problems.append((f".{one.name}", "is missing"))
                continue
            try:
                values[one.name] = self.read(one.type, given)
            except ValueProblem as problem:
                problems.extend(problem.inside(f".{one.name}").problems)
        self._depth -= 1
        if problems:
            raise ValueProblem(problems)
        return self._made.make(name, values)


def _members_hint(enum: EnumDef, value: str) -> str:
    if len(enum.members) > _MAX_LISTED:
        return ""
    meant = nearest(value, enum.members)
    return f"; did you mean {meant!r}?" if meant else f", only {', '.join(enum.members)}"


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = ", a number without a fraction" if isinstance(value, float) else ""
        raise _not(f"an integer{hint}", value)
    first, last = INTEGERS[name]
    if not first <= value <= last:
        raise ValueProblem([("", f"{quoted(value)} is out of range for {name}")])
    return value


def _float(name: str, value: Any) -> float:
    if isinstance(value, str) and value in _FLOAT_WORDS:
        return _FLOAT_WORDS[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not('a number, "NaN", "Infinity" or "-Infinity"', value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number) or (name == "f32" and abs(number) >= _F32_OVERFLOW):
        raise ValueProblem([("", f"{quoted(value)} is out of range for {name}")])
    return number


def _boolean(_name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _not("true or false", value)
    return value


_SCALARS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(INTEGERS, _integer),
    "f32": _float,
    "f64": _float,
    "bool": _boolean,
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _not("text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _not("text without halves of surrogate pairs", value) from None
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(value[2:])
    raise _not('bytes as text, such as "0x00ff"', value)


def _sized(value: Any, length: int, what: str) -> Any:
    if len(value) != length:
        raise ValueProblem([("", f"must have {length} {what}, not {len(value)}")])
    return value


# --- keys of maps, and one spelling of each value --------------------------------------------------------------------


def _key_json(key: Type, text: Any) -> Any:
    """The JSON value that a key's text stands for; a text that stands for none is given back, to be refused."""
    if isinstance(key, Scalar | EnumDef) and isinstance(text, str):
        if text in {"true", "false"} and key == Scalar("bool"):
            return text == "true"
        if _DECIMAL.fullmatch(text) and key != Scalar("bool"):
            return int(text)
    return text


def _key_text(key: Type, value: Any) -> str:
    if isinstance(key, EnumDef):
        return key.by_number.get(int(value), str(int(value)))
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_spelled(key: Type, text: str) -> str:
    if isinstance(key, EnumDef) and text not in key.members:
        return key.by_number.get(int(text), text)
    return text.lower() if isinstance(key, ByteArray) else text


def _spelled(type_: Type, value: Any, messages: Mapping[str, Message]) -> Json:
    """The one spelling of a value that fits its type."""
    match type_:
        case Bytes() | ByteArray():
            return str(value).lower()
        case EnumDef() if isinstance(value, int):
            return type_.by_number.get(value, value)
        case Array(element, _) | Vec(element):
            return [_spelled(element, item, messages) for item in value]
        case Map(key, inner):
            return {_key_spelled(key, text): _spelled(inner, item, messages) for text, item in value.items()}
        case MessageRef(name):
            fields = {one.name: one for one in messages[name].fields}
            return {
                each: _spelled(fields[each].type, item, messages) for each, item in value.items() if item is not None
            }
        case _:
            return value  # type: ignore[no-any-return]


def round_to_f32(value: float) -> float:
    """The nearest f32 as Python's float, which is what a value is after the wire (IEEE 754, ties to even)."""
    if value == 0 or not math.isfinite(value):
        return value
    exponent = max(math.frexp(value)[1], _F32_LOWEST_EXPONENT) - _F32_DIGITS
    return math.copysign(math.ldexp(round(math.ldexp(value, -exponent)), exponent), value)
