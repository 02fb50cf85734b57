"""Messages at random: Hypothesis strategies for whatever a contract declares."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, assert_never, final

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from mycelium.schema.classes import Message
from mycelium.schema.errors import MessageError
from mycelium.schema.model import (
    INTEGERS,
    MAX_NESTING,
    MISSING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Map,
    MessageRef,
    Scalar,
    String,
    Type,
    Vec,
    messages_in,
)
from mycelium.schema.rules import checks
from mycelium.schema.values import from_json_value, round_to_f32

__all__ = ["messages"]

M = TypeVar("M", bound=Message)

_MOST_NESTED: Final = 3
"""Messages inside one another that are drawn where none has to be."""
_MOST_DRAWN: Final = 64
"""Elements that are drawn one by one; what has to be longer repeats them."""
_LARGEST_F32: Final = float.fromhex("0x1.fffffep127")


def messages(*types: type[M], allow_nan: bool = False) -> SearchStrategy[M]:
    """Messages of some types, every one of which can be published and survives the wire.

    Custom rules that are registered hold too; drawn values are tried on them, so a rule that few values keep makes
    Hypothesis complain. `monotonic`, which compares messages with each other, is not looked at.

    Args:
        types: Message classes; `messages(*contracts)` for all of a contract.
        allow_nan: Whether floats may be NaN, which makes a message unequal to itself.
    """
    return st.one_of([_Drawing(one, allow_nan).strategy() for one in types])


@final
class _Drawing:
    """Strategies for one message type and for those that it holds."""

    def __init__(self, cls: type[Message], allow_nan: bool) -> None:
        self._cls = cls
        self._types: Any = cls.__mycelium__.lineage  # type: ignore[attr-defined]  # the entry is the registry's
        self._allow_nan = allow_nan
        self._made: dict[tuple[str, int], SearchStrategy[Any]] = {}

    def strategy(self) -> SearchStrategy[Any]:
        return self._message(self._cls.__mycelium__.message.name, 1).filter(_can_be_published)

    def _message(self, name: str, depth: int) -> SearchStrategy[Any]:
        """Messages of a type inside `depth - 1` others."""
        if depth > MAX_NESTING:
            return st.nothing()
        if (name, depth) not in self._made:
            cls = self._types.class_of(name)
            always, sometimes = {}, {}
            for one in cls.__mycelium__.message.fields:
                if one.required or not self._may_be_absent(one):
                    always[one.name] = self._field(one, depth)
                elif self._has_room(one.type, depth):
                    sometimes[one.name] = self._field(one, depth)
            self._made[name, depth] = _built(cls, st.fixed_dictionaries(always, optional=sometimes))
        return self._made[name, depth]

    def _may_be_absent(self, one: Field) -> bool:
        """Whether the field's default keeps its rules."""
        if one.default is MISSING:
            return True
        default = from_json_value(one.type, one.default, self._types)
        return all(holds(default) for _, holds in checks(one))

    def _has_room(self, type_: Type, depth: int) -> bool:
        """Whether messages that need not be there may be drawn inside a message at that depth."""
        return all(depth < _MOST_NESTED and depth + self._height(name) <= MAX_NESTING for name in messages_in(type_))

    def _height(self, name: str) -> int:
        """Messages inside one another that a message of the type has at least, itself included."""
        fields = self._types.class_of(name).__mycelium__.message.fields
        held = (one.type.name for one in fields if isinstance(one.type, MessageRef) and one.required)
        return 1 + max(map(self._height, held), default=0)

    def _field(self, one: Field, depth: int) -> SearchStrategy[Any]:
        """Values of a field that are likely to keep its rules, without those that do not."""
        bounds = _Bounds.of(one)
        kept = checks(one)
        if bounds.choices is None:
            values = self._value(one.type, depth, bounds)
        else:
            values = st.sampled_from([self._chosen(one.type, item) for item in bounds.choices])
        return values.filter(lambda value: all(holds(value) for _, holds in kept)) if kept else values

    def _chosen(self, type_: Type, item: Any) -> Any:
        value = from_json_value(type_, item, self._types)
        return round_to_f32(value) if type_ == Scalar("f32") else value

    def _value(self, type_: Type, depth: int, bounds: "_Bounds") -> SearchStrategy[Any]:
        match type_:
            case Scalar("bool"):
                return st.booleans()
            case Scalar("f32" | "f64" as name):
                return _floats(name, bounds, allow_nan=self._allow_nan)
            case Scalar(name):
                return _integers(*INTEGERS[name], bounds)
            case String():
                return _texts(bounds)
            case Bytes():
                return _stretched(lambda low, high: st.binary(min_size=low, max_size=high), bounds)
            case ByteArray(length):
                return _stretched(lambda low, high: st.binary(min_size=low, max_size=high), _Bounds.exactly(length))
            case EnumDef():
                return self._members(type_)
            case Array(element, length):
                return self._lists(element, depth, _Bounds.exactly(length))
            case Vec(element):
                return self._lists(element, depth, self._roomy(element, depth, bounds))
            case Map(key, value):
                return self._maps(key, value, depth, self._roomy(value, depth, bounds))
            case MessageRef(name):
                return self._message(name, depth + 1)
            case _:
                assert_never(type_)

    def _roomy(self, element: Type, depth: int, bounds: "_Bounds") -> "_Bounds":
        """The bounds of a collection; the closest where there is no room for messages inside."""
        return bounds if self._has_room(element, depth) else _Bounds.exactly(bounds.shortest)

    def _lists(self, element: Type, depth: int, bounds: "_Bounds") -> SearchStrategy[list[Any]]:
        if bounds.longest == 0:
            return st.builds(list)
        elements = self._value(element, depth, _Bounds())
        return _stretched(lambda low, high: st.lists(elements, min_size=low, max_size=high), bounds)

    def _maps(self, key: Type, value: Type, depth: int, bounds: "_Bounds") -> SearchStrategy[dict[Any, Any]]:
        if bounds.longest == 0:
            return st.builds(dict)
        keys, values = self._value(key, depth, _Bounds()), self._value(value, depth, _Bounds())
        return st.dictionaries(keys, values, min_size=bounds.shortest, max_size=bounds.longest)

    def _members(self, enum: EnumDef) -> SearchStrategy[Any]:
        cls = self._types.enum_of(enum.name)
        named = st.sampled_from([cls(number) for number in enum.members.values()])
        numbers = st.integers(*INTEGERS[enum.repr])
        return named | numbers.map(lambda one: cls(one) if one in enum.by_number else one) if enum.open else named


def _built(cls: type[Message], fields: SearchStrategy[dict[str, Any]]) -> SearchStrategy[Any]:
    """Messages of a class by their fields; shown by the name of the class, as Hypothesis now and then shows them."""

    def build(draw: st.DrawFn) -> Any:
        return cls(**draw(fields))

    build.__name__ = cls.__name__
    return st.composite(build)()


def _can_be_published(message: Any) -> bool:
    try:
        message.__mycelium__.codec.check(message)
    except MessageError:
        return False
    return True


@frozen
class _Bounds:
    """What a field's rules leave of its type, as far as values can be drawn by it."""

    low: float | None = None
    high: float | None = None
    shortest: int = 0
    longest: int | None = None
    not_zero: bool = False
    pattern: str | None = None
    choices: Sequence[Any] | None = None

    @classmethod
    def of(cls, one: Field) -> "_Bounds":
        """The bounds of a field."""
        said: dict[str, list[Any]] = {}
        for rule in one.rules:
            if rule.argument is not False:
                said.setdefault(rule.name, []).append(rule.argument)
        return cls(
            low=max(said.get("min", ()), default=None),
            high=min(said.get("max", ()), default=None),
            shortest=max([*said.get("min_length", ()), int("not_empty" in said)]),
            longest=min(said.get("max_length", ()), default=None),
            not_zero="not_zero" in said,
            pattern=said.get("pattern", [None])[0],
            choices=said.get("one_of", [None])[0],
        )

    @classmethod
    def exactly(cls, length: int) -> "_Bounds":
        """Of that length and no other."""
        return cls(shortest=length, longest=length)


def _integers(first: int, last: int, bounds: _Bounds) -> SearchStrategy[int]:
    low = first if bounds.low is None else max(first, math.ceil(bounds.low))
    high = last if bounds.high is None else min(last, math.floor(bounds.high))
    parts = [(low, min(high, -1)), (max(low, 1), high)] if bounds.not_zero else [(low, high)]
    return st.one_of([st.integers(start, stop) for start, stop in parts if start <= stop])


def _floats(name: str, bounds: _Bounds, *, allow_nan: bool) -> SearchStrategy[float]:
    low, high = bounds.low, bounds.high
    if name == "f32":  # a bound that is no f32 means the nearest f32 too: see the rules
        low = None if low is None or low < -_LARGEST_F32 else round_to_f32(float(low))
        high = None if high is None or high > _LARGEST_F32 else round_to_f32(float(high))
    else:
        low = None if low is None else math.nextafter(low, math.inf) if float(low) < low else float(low)
        high = None if high is None else math.nextafter(high, -math.inf) if float(high) > high else float(high)
    nan = allow_nan and low is None and high is None
    return st.floats(low, high, allow_nan=nan, width=32 if name == "f32" else 64)


def _texts(bounds: _Bounds) -> SearchStrategy[str]:
    """Texts by their length in bytes of UTF-8."""
    if bounds.pattern is not None:
        return st.from_regex(bounds.pattern, fullmatch=True, alphabet=st.characters(codec="utf-8"))
    ascii_ = st.characters(codec="ascii")
    plain = _stretched(lambda low, high: st.text(ascii_, min_size=low, max_size=high), bounds)
    if bounds.shortest > _MOST_DRAWN:
        return plain
    wide = st.text(min_size=bounds.shortest, max_size=bounds.longest)
    return plain | wide.map(lambda text: text.encode()[: bounds.longest].decode(errors="ignore"))


def _stretched(make: Callable[[int, int | None], SearchStrategy[Any]], bounds: _Bounds) -> SearchStrategy[Any]:
    """Sequences within bounds; Hypothesis draws no thousands of elements, so long ones repeat what is drawn."""
    shortest = bounds.shortest
    if shortest <= _MOST_DRAWN:
        return make(shortest, bounds.longest)
    return make(1, _MOST_DRAWN).map(lambda drawn: (drawn * (shortest // len(drawn) + 1))[:shortest])
