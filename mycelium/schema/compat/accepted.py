"""The values that a field's rules accept, and those that a conforming writer sends, as sets that can be compared.

Rules are normalised to an interval of numbers, an interval of lengths, flags, patterns and a finite set (`one_of`), so
that `not_empty` equals `min_length: 1`, `not_zero` on an unsigned integer equals `min: 1`, and bounds that equal the
type's own range say nothing. Custom rules and `monotonic` stay opaque.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from attrs import evolve, frozen

from mycelium.schema.model import (
    INTEGERS,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Json,
    Map,
    Rule,
    Scalar,
    String,
    Type,
    Vec,
)
from mycelium.schema.values import round_to_f32

__all__ = ["OPAQUE", "Accepted", "accepted", "opaque_rules", "sent", "within"]

Value: TypeAlias = "bool | int | float | str | bytes"
Number: TypeAlias = "int | float"
Rounding: TypeAlias = Callable[[Number], Number]

MAX_LENGTH: Final = 64 * 1024 * 1024
"""No value is longer than the largest payload (wire protocol, "Frame")."""
PATTERN_LIMIT: Final = 4096
"""A pattern is broken unseen by a longer text, in bytes of UTF-8 (contract language, "Rules")."""
BUILTIN: Final = frozenset(
    {"min", "max", "min_length", "max_length", "not_empty", "not_zero", "pattern", "one_of", "no_0x_prefix"}
)
OPAQUE: Final = "monotonic"
"""The one built-in rule whose set of values is not known: it keeps state."""


@frozen
class Accepted:
    """A set of values; what is not limited is everything."""

    low: Number = -math.inf
    high: Number = math.inf
    nan: bool = True
    nonzero: bool = False
    """Zero, or bytes that are all zero, are left out."""
    shortest: int = 0
    longest: int = MAX_LENGTH
    values: frozenset[Value] | None = None
    """All of it, where it is finite and small."""
    patterns: frozenset[str] = frozenset()
    plain: bool = False
    """Texts that begin with 0x are left out."""

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, as far as its intervals show."""
        return self.low > self.high or self.shortest > self.longest or self.values == frozenset()

    def holds(self, value: Value) -> bool:
        """Whether the set has the value."""
        if self.values is not None and value not in self.values:
            return False
        if isinstance(value, str | bytes):
            return self._holds_text(value)
        if math.isnan(value):
            return self.nan
        return self.low <= value <= self.high and not (self.nonzero and value == 0)

    def _holds_text(self, value: str | bytes) -> bool:
        raw = value.encode() if isinstance(value, str) else value
        if not self.shortest <= len(raw) <= self.longest or (self.nonzero and not any(raw)):
            return False
        if isinstance(value, bytes):
            return True
        if self.plain and value.startswith(("0x", "0X")):
            return False
        short = len(raw) <= PATTERN_LIMIT
        return all(short and re.fullmatch(pattern, value) for pattern in self.patterns)


def opaque_rules(rules: Iterable[Rule]) -> dict[str, list[Json]]:
    """Names and arguments of the rules whose sets are not known."""
    found: dict[str, list[Json]] = {}
    for rule in rules:
        if rule.name not in BUILTIN and rule.argument is not False:  # false switches every rule off
            found.setdefault(rule.name, []).append(rule.argument)
    return found


def accepted(field: Field) -> Accepted:
    """What the field's rules accept, of values that its type can have."""
    result = Accepted()
    rounded = _rounding(field.type)
    for rule in field.rules:
        result = _narrow(result, rule, rounded)
    if isinstance(field.type, EnumDef):
        result = _by_number(result, field.type)
    elif result.values is not None and field.type == Scalar("f32"):
        result = evolve(result, values=frozenset(round_to_f32(float(one)) for one in result.values))
    elif result.values is not None and isinstance(field.type, Bytes | ByteArray):
        result = evolve(result, values=frozenset(map(_unhex, result.values)))
    bounds = _bounds(field.type)
    if bounds is not None and result.nonzero:
        result = _without_zero(result, *bounds)
    return result


def _same(bound: Number) -> Number:
    return bound


def _single(bound: Number) -> Number:
    return round_to_f32(float(bound))


def _up(bound: Number) -> Number:
    return math.ceil(bound) if math.isfinite(bound) else bound


def _down(bound: Number) -> Number:
    return math.floor(bound) if math.isfinite(bound) else bound


def _rounding(type_: Type) -> tuple[Rounding, Rounding]:
    """How lower and upper bounds fall on values of the type; an f32's bounds are taken as what an f32 makes of them."""
    if not isinstance(type_, Scalar):
        return _same, _same
    return (_up, _down) if type_.name in INTEGERS else (_single, _single) if type_.name == "f32" else (_same, _same)


def _bounds(type_: Type) -> tuple[int, int] | None:
    match type_:
        case Scalar(name):
            return INTEGERS.get(name)
        case EnumDef():
            return INTEGERS[type_.repr]
        case _:
            return None


def _narrow(result: Accepted, rule: Rule, rounded: tuple[Rounding, Rounding]) -> Accepted:
    argument = rule.argument
    match rule.name, argument:
        case "min", int() | float():
            return evolve(result, low=max(result.low, rounded[0](argument)), nan=False)
        case "max", int() | float():
            return evolve(result, high=min(result.high, rounded[1](argument)), nan=False)
        case "min_length", int():
            return evolve(result, shortest=max(result.shortest, argument))
        case "max_length", int():
            return evolve(result, longest=min(result.longest, argument))
        case "not_empty", True:
            return evolve(result, shortest=max(result.shortest, 1))
        case "not_zero", True:
            return evolve(result, nonzero=True)
        case "no_0x_prefix", True:
            return evolve(result, plain=True)
        case "pattern", str():
            return evolve(result, patterns=result.patterns | {argument}, longest=min(result.longest, PATTERN_LIMIT))
        case "one_of", list():
            values = frozenset(one for one in argument if isinstance(one, bool | int | float | str))
            return evolve(result, values=values if result.values is None else values & result.values)
        case _:
            return result


def _by_number(result: Accepted, enum: EnumDef) -> Accepted:
    if result.values is None:
        return result
    numbers = (enum.members.get(one) if isinstance(one, str) else one for one in result.values)
    return evolve(result, values=frozenset(one for one in numbers if one is not None))


def _unhex(value: Value) -> Value:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            return value
    return value


def _without_zero(result: Accepted, low: int, high: int) -> Accepted:
    """Move a bound that is zero, so that `not_zero` on an unsigned integer is `min: 1`."""
    if max(result.low, low) == 0:
        result = evolve(result, low=1)
    if min(result.high, high) == 0:
        result = evolve(result, high=-1)
    return result


def sent(field: Field) -> Accepted:
    """What a conforming writer sends: what the rules accept, within the range of the type."""
    result = accepted(field)
    type_ = field.type
    match type_:
        case Scalar("bool"):
            return _finite(result, (False, True))
        case EnumDef() if not type_.open:
            return _finite(result, type_.members.values())
        case ByteArray(length) | Array(_, length):
            result = evolve(result, shortest=max(result.shortest, length), longest=min(result.longest, length))
        case String() | Bytes() | Vec() | Map():
            pass
        case Scalar("f32" | "f64"):
            pass
        case Scalar() | EnumDef():
            low, high = _bounds(type_) or (0, 0)
            result = evolve(result, low=max(result.low, low), high=min(result.high, high), nan=False)
    return _finite(result, result.values) if result.values is not None else result


def _finite(result: Accepted, values: Iterable[Value]) -> Accepted:
    return evolve(result, values=frozenset(one for one in values if result.holds(one)))


def within(writer: Accepted, reader: Accepted) -> bool:
    """Whether everything that the writer sends is accepted by the reader."""
    if writer.empty:
        return True
    if writer.values is not None:
        return all(reader.holds(one) for one in writer.values)
    return (
        reader.low <= writer.low
        and writer.high <= reader.high
        and (reader.nan or not writer.nan)
        and (not reader.nonzero or writer.nonzero or not writer.low <= 0 <= writer.high)
        and reader.shortest <= writer.shortest
        and writer.longest <= reader.longest
        and writer.patterns >= reader.patterns
        and (writer.plain or not reader.plain)
        and _all_in(writer, reader.values)
    )


def _all_in(writer: Accepted, values: frozenset[Value] | None) -> bool:
    """Whether an interval of integers lies in a finite set."""
    if values is None:
        return True
    if not isinstance(writer.low, int) or not isinstance(writer.high, int) or writer.high - writer.low >= len(values):
        return False
    return all(one in values for one in range(writer.low, writer.high + 1) if one or not writer.nonzero)
