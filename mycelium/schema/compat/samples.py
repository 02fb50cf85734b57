"""Values worth trying when bytes are searched that prove a break: ends of ranges, lengths around limits, odd bytes."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from attrs import evolve, frozen

from mycelium.schema.model import (
    INTEGERS,
    MAX_NESTING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Map,
    Message,
    MessageRef,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
)
from mycelium.schema.rules import checks
from mycelium.schema.values import ValueProblem, from_json_value, round_to_f32

__all__ = ["Interests", "Sampler", "interests"]

_LONGEST: Final = 5000
"""Lengths above are not tried; one more than a pattern may see is."""
_MOST: Final = 48
"""Values tried of one field."""


@frozen
class Interests:
    """Numbers and lengths at which some rule or type changes its mind."""

    numbers: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()
    values: tuple[Any, ...] = ()
    """JSON values of `one_of` and defaults."""


def interests(fields: Iterable[Field]) -> Interests:
    """What the rules and types of some fields make interesting."""
    numbers: list[float] = []
    lengths: list[int] = []
    values: list[Any] = []
    for one in fields:
        lengths += _lengths(one.type)
        numbers += _numbers(one.type)
        for rule in one.rules:
            argument = rule.argument
            if rule.name in {"min", "max"} and isinstance(argument, int | float):
                numbers += [argument, argument - 1, argument + 1]
                if math.isfinite(argument):
                    numbers += [math.ceil(argument), math.floor(argument)]
            elif rule.name in {"min_length", "max_length"} and isinstance(argument, int):
                lengths += [argument, argument + 1, argument - 1]
            elif rule.name == "one_of" and isinstance(argument, list):
                values += argument
    kept = sorted({length for length in lengths if 0 <= length <= _LONGEST})
    return Interests(tuple(dict.fromkeys(numbers)), tuple(kept), tuple(values))


def _lengths(type_: Type) -> list[int]:
    match type_:
        case ByteArray(length) | Array(_, length):
            return [length, length + 1]
        case _:
            return []


def _numbers(type_: Type) -> list[float]:
    match type_:
        case EnumDef():
            numbers = list(type_.members.values())
            return [*numbers, *(number + 1 for number in numbers)]
        case Scalar(name) if name in INTEGERS:
            low, high = INTEGERS[name]
            return [low, high, low - 1, high + 1]
        case _:
            return []


@frozen
class Sampler:
    """Makes values of a schema's types.

    Attributes:
        schema: Where nested messages are looked up.
        make: Makes a message from its name and its fields.
        known: What is interesting.
    """

    schema: Schema
    make: Callable[[str, dict[str, Any]], Any]
    known: Interests = Interests()

    def of_field(self, field: Field) -> list[Any]:
        """Some dozens of values at most, the plainest first; None too where it may be absent."""
        given = [self.given(field.type, value) for value in self.known.values]
        values = [value for value in given if value is not None]
        values += islice(self.of_type(field.type), _MOST)
        return [*values, None] if field.optional else values

    def given(self, type_: Type, value: Any) -> Any:
        """The value of a JSON value; None where it is none of the type."""
        try:
            return from_json_value(type_, value, None)
        except ValueProblem:
            return None

    def of_type(self, type_: Type, depth: int = 1) -> Iterator[Any]:
        """Values of a type, the plainest first."""
        match type_:
            case Scalar("bool"):
                yield from (True, False)
            case Scalar("f32" | "f64"):
                yield from self._floats(type_)
            case Scalar(name):
                yield from self._integers(*INTEGERS[name])
            case EnumDef():
                yield from type_.members.values()
                if type_.open:
                    yield from self._integers(*INTEGERS[type_.repr])
            case String():
                yield from ("abc", "", "7", "A1", "é", "0xab", "\0")
                yield from ("a" * length for length in self.known.lengths)
            case Bytes():
                yield from (b"\xff\xfe", b"", b"abc", b"\0", b"\0\0", bytes(range(240, 248)))
                yield from (b"\xff" * length for length in self.known.lengths)
            case ByteArray(length):
                yield from (
                    b"\xff" * length,
                    bytes(length),
                    b"a" * length,
                    bytes(index % 256 for index in range(length)),
                )
            case _:
                yield from self._composite(type_, depth)

    def _integers(self, low: int, high: int) -> Iterator[int]:
        wanted = (
            1,
            0,
            2,
            7,
            high,
            low,
            high // 2 + 1,
            -1,
            *(int(one) for one in self.known.numbers if math.isfinite(one)),
        )
        yield from dict.fromkeys(number for number in wanted if low <= number <= high)

    def _floats(self, type_: Type) -> Iterator[float]:
        wanted = (1.5, 0.0, -1.5, *self.known.numbers, 1e30, math.inf, -math.inf, math.nan)
        for number in wanted:
            try:
                yield round_to_f32(float(number)) if type_ == Scalar("f32") else float(number)
            except OverflowError:
                continue

    def _composite(self, type_: Type, depth: int) -> Iterator[Any]:
        match type_:
            case Array(element, length):
                for value in islice(self.of_type(element, depth), 6):
                    yield [value] * length
            case Vec(element):
                yield from self._lists(element, depth)
            case Map(key, value):
                keys, values = list(self.of_type(key, depth)), list(islice(self.of_type(value, depth), 8))
                if values:
                    yield {keys[0]: values[0]}
                    yield from ({one: values[0]} for one in keys[1:8])
                    yield from ({keys[0]: one} for one in values[1:])
                    for length in (2, *self.known.lengths):
                        if length <= len(keys):
                            yield dict.fromkeys(keys[:length], values[0])
                yield {}
            case MessageRef(name):
                if depth < MAX_NESTING:
                    yield from self.messages(self.schema.messages[name], depth + 1)
            case _:
                return

    def _lists(self, element: Type, depth: int) -> Iterator[list[Any]]:
        values = list(islice(self.of_type(element, depth), 8))
        if values:
            yield [values[0]]
            yield [values[0]] * 2
            yield from ([value] for value in values[1:])
            yield from ([values[0]] * length for length in self.known.lengths if length)
        yield []

    def messages(self, message: Message, depth: int = 1) -> Iterator[Any]:
        """A nested message with everything in it, and one with as little as may be."""
        for full in (True, False):
            fields = self.fields(message, full=full, depth=depth)
            if fields is not None:
                yield self.make(message.name, fields)

    def fields(self, message: Message, *, full: bool, depth: int = 1) -> dict[str, Any] | None:
        """Plain values for the fields of a message, or None where it would be nested too deep.

        Args:
            message: Which message.
            full: Whether optional fields have values; below the first level they never have.
            depth: How deep the message is.
        """
        values: dict[str, Any] = {}
        for one in message.fields:
            if one.optional and not (full and depth == 1):
                values[one.name] = None
                continue
            value = self._legal(one, depth)
            if value is None and not one.optional:
                return None
            values[one.name] = value
        return values

    def _legal(self, field: Field, depth: int) -> Any:
        """The plainest value that keeps the field's rules; None where none is found."""
        holds = [check for _, check in checks(field)]
        own = evolve(self, known=interests([field])) if holds else self
        wanted = [own.given(field.type, value) for value in own.known.values] if holds else []
        for value in chain(wanted, own.of_type(field.type, depth)):
            if value is not None and all(check(value) for check in holds):
                return value
        return None
