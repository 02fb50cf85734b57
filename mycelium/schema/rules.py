"""Rules of `validation:`: which types they apply to, what their arguments may be, and whether a value keeps them.

`BUILTIN` is the table; every other name is a custom rule, which application code registers and which is not enforced
until it does. Rules get values whose type is checked already, and never None.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from attrs import frozen

from mycelium.schema.errors import ContractWarning
from mycelium.schema.faults import Wrong, quoted
from mycelium.schema.model import (
    INTEGERS,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Json,
    Map,
    Rule,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
)
from mycelium.schema.values import ValueProblem, from_json_value, round_to_f32

__all__ = [
    "BUILTIN",
    "MAX_MATCHED",
    "RuleKind",
    "check_rule",
    "checks",
    "is_custom",
    "is_monotonic",
    "register_rule",
    "rule",
    "warn_unenforced",
]

Check: TypeAlias = Callable[[Any], bool]
CustomRule: TypeAlias = Callable[[Any, Json], bool]
F = TypeVar("F", bound=CustomRule)

MAX_MATCHED: Final = 4096
"""Bytes of the longest text that a pattern is run on; a longer one breaks the rule unseen (contract language)."""
_MAX_PATTERN: Final = 1024


@frozen
class RuleKind:
    """What is known of a built-in rule."""

    applies: Callable[[Type], bool]
    to: str
    """The types that it applies to, for an error's text."""
    check_argument: Callable[[Type, Json], None]
    """Raises Wrong for an argument that makes no sense."""
    holds: Callable[[Type, Json], Check] | None
    """Makes the function that says whether a value keeps the rule; None for a rule that compares with earlier messages,
    which is checked per publisher and never by a codec."""
    order: int = 0
    """Rules of a field run in this order, and within it in the file's: a pattern after the length rules."""


# --- types -----------------------------------------------------------------------------------------------------------


def _is_number(type_: Type) -> bool:
    return isinstance(type_, Scalar) and type_.name != "bool"


def _is_number_or_bytes(type_: Type) -> bool:
    return _is_number(type_) or isinstance(type_, Bytes | ByteArray)


def _has_length(type_: Type) -> bool:
    return isinstance(type_, String | Bytes | Vec | Map)


def _is_text(type_: Type) -> bool:
    return isinstance(type_, String)


def _is_plain(type_: Type) -> bool:
    return isinstance(type_, Scalar | String | Bytes | ByteArray | EnumDef)


# --- arguments -------------------------------------------------------------------------------------------------------


def _flag(_: Type, argument: Json) -> None:
    if not isinstance(argument, bool):
        raise Wrong(f"takes true, not {quoted(argument)}", "write true")


def _bound(type_: Type, argument: Json) -> None:
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        raise Wrong(f"takes a number, not {quoted(argument)}", "write a number, without quotes")
    if isinstance(type_, Scalar) and type_.name in INTEGERS:
        return
    try:
        float(argument)
    except OverflowError:
        raise Wrong(f"{quoted(argument)} is beyond every {type_}", "write a smaller number") from None


def _lowest(type_: Type, argument: Json) -> None:
    _bound(type_, argument)
    last = _ends(type_)[1]
    if argument > last:  # type: ignore[operator]
        raise Wrong(f"no {type_} can be {quoted(argument)} or more", f"the largest is {last}")


def _highest(type_: Type, argument: Json) -> None:
    _bound(type_, argument)
    first = _ends(type_)[0]
    if argument < first:  # type: ignore[operator]
        raise Wrong(f"no {type_} can be {quoted(argument)} or less", f"the smallest is {first}")


def _ends(type_: Type) -> tuple[float, float]:
    return INTEGERS.get(str(type_), (-math.inf, math.inf))


def _length(_: Type, argument: Json) -> None:
    if isinstance(argument, bool) or not isinstance(argument, int) or argument < 0:
        raise Wrong(f"takes a length, not {quoted(argument)}", "write a whole number from 0 on")


def _pattern(_: Type, argument: Json) -> None:
    if not isinstance(argument, str):
        raise Wrong(f"takes a regular expression, not {quoted(argument)}", "write it as text, in quotes")
    if len(argument) > _MAX_PATTERN:
        raise Wrong(f"a pattern of {len(argument)} characters is too long", f"use at most {_MAX_PATTERN}")
    _compiled(argument)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        # Warnings are exceptions where the user asked for it.
        problem = f"the pattern {quoted(pattern)} is no regular expression: {error}"
        raise Wrong(problem, "correct it; Python's `re` has the syntax") from error


def _choices(type_: Type, argument: Json) -> None:
    if not isinstance(argument, list) or not argument:
        raise Wrong(f"takes a list of values, not {quoted(argument)}", "write it as [1, 2, 3]")
    for index, item in enumerate(argument):
        try:
            value = from_json_value(type_, item, None)
        except ValueProblem as problem:
            raise Wrong(f"value {index + 1} of one_of {problem}", f"write values of {type_}") from problem
        if value != value:  # noqa: PLR0124  NaN
            raise Wrong("NaN equals no value, not even itself", "leave it out")


# --- what holds ------------------------------------------------------------------------------------------------------


def _f32_bounds(type_: Type, bound: Any) -> tuple[Any, Any]:
    """The bound and what an f32 makes of it, in order: a value at the bound keeps the rule on both sides."""
    if type_ != Scalar("f32"):
        return bound, bound
    rounded = round_to_f32(float(bound))
    return min(bound, rounded), max(bound, rounded)


def _min(type_: Type, bound: Json) -> Check:
    lowest = _f32_bounds(type_, bound)[0]
    return lambda value: bool(value >= lowest)


def _max(type_: Type, bound: Json) -> Check:
    highest = _f32_bounds(type_, bound)[1]
    return lambda value: bool(value <= highest)


def _utf8_length(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


def _min_length(type_: Type, limit: Any) -> Check:
    if isinstance(type_, String):
        return lambda value: _utf8_length(value) >= limit
    return lambda value: len(value) >= limit


def _max_length(type_: Type, limit: Any) -> Check:
    if isinstance(type_, String):
        # Fewer characters than that can have no more bytes: most texts need no count.
        sure = limit // 4
        return lambda value: len(value) <= sure or _utf8_length(value) <= limit
    return lambda value: len(value) <= limit


def _not_empty(_type: Type, _argument: Json) -> Check:
    return lambda value: len(value) > 0


def _not_zero(type_: Type, _argument: Json) -> Check:
    if isinstance(type_, Bytes | ByteArray):
        return lambda value: value.count(0) != len(value)
    return lambda value: bool(value != 0)


def _matches(_type: Type, argument: Json) -> Check:
    match = _compiled(str(argument)).fullmatch
    return lambda value: _utf8_length(value) <= MAX_MATCHED and match(value) is not None


def _is_one_of(type_: Type, argument: Any) -> Check:
    allowed = {from_json_value(type_, item, None) for item in argument}
    if type_ == Scalar("f32"):
        allowed |= {round_to_f32(value) for value in allowed}
    known = frozenset(allowed)
    return lambda value: value in known


def _no_0x_prefix(_type: Type, _argument: Json) -> Check:
    return lambda value: not value.startswith(("0x", "0X"))


BUILTIN: Final[dict[str, RuleKind]] = {
    "min": RuleKind(_is_number, "numbers", _lowest, _min),
    "max": RuleKind(_is_number, "numbers", _highest, _max),
    "min_length": RuleKind(_has_length, "String, bytes, Vec and Map", _length, _min_length),
    "max_length": RuleKind(_has_length, "String, bytes, Vec and Map", _length, _max_length),
    "not_empty": RuleKind(_has_length, "String, bytes, Vec and Map", _flag, _not_empty),
    "not_zero": RuleKind(_is_number_or_bytes, "numbers, bytes and [u8; N]", _flag, _not_zero),
    "pattern": RuleKind(_is_text, "String", _pattern, _matches, order=1),
    "one_of": RuleKind(_is_plain, "numbers, bool, enums, String, bytes and [u8; N]", _choices, _is_one_of),
    "no_0x_prefix": RuleKind(_is_text, "String", _flag, _no_0x_prefix),
    "monotonic": RuleKind(_is_number, "numbers", _flag, None),
}
"""The rules of the contract language, by name."""
_CUSTOM_ORDER: Final = 2


def check_rule(rule: Rule, type_: Type) -> None:
    """Makes sure that a rule of a file can be applied to a field of that type.

    Raises:
        Wrong: It cannot, or its argument makes no sense.
    """
    kind = BUILTIN.get(rule.name)
    if kind is None:
        return
    if not kind.applies(type_):
        raise Wrong(f"the rule {rule.name} does not apply to {type_}", f"it is for {kind.to}: remove it")
    try:
        kind.check_argument(type_, rule.argument)
    except Wrong as wrong:
        raise Wrong(f"the rule {rule.name}: {wrong.problem}", wrong.remedy) from wrong


def is_custom(rule: Rule) -> bool:
    """Whether a rule is one that application code registers."""
    return rule.name not in BUILTIN


def is_monotonic(field: Field) -> bool:
    """Whether the field must never decrease within one publisher."""
    return any(rule.name == "monotonic" and rule.argument is True for rule in field.rules)


def checks(field: Field) -> tuple[tuple[Rule, Check], ...]:
    """The rules of a field with the functions that say whether a value keeps them, in the order in which they run.

    Without `monotonic`, and without rules that are switched off (`not_empty: false`). A custom rule is looked up when
    it is run, and holds as long as nobody has registered it.
    """
    ordered: list[tuple[int, Rule, Check]] = []
    for each in field.rules:
        kind = BUILTIN.get(each.name)
        if each.argument is False:
            continue
        if kind is None:
            ordered.append((_CUSTOM_ORDER, each, _custom(each)))
        elif kind.holds is not None:
            ordered.append((kind.order, each, kind.holds(field.type, each.argument)))
    ordered.sort(key=lambda entry: entry[0])
    return tuple((each, check) for _, each, check in ordered)


# --- custom rules --------------------------------------------------------------------------------------------------

_custom_rules: Final[dict[str, CustomRule]] = {}
_warned: Final[set[str]] = set()


def register_rule(name: str, function: CustomRule) -> None:
    """Gives a custom rule its meaning, for every contract in this process, from now on.

    Args:
        name: As under `validation:` in contracts files.
        function: Gets the value and the rule's argument, says whether the value keeps the rule. What it raises counts
            as a broken rule, and is shown as a warning.

    Raises:
        ValueError: A built-in rule has that name.
    """
    if name in BUILTIN:
        raise ValueError(f"{name!r} is a built-in rule; choose another name")
    _custom_rules[name] = function


def rule(name: str) -> Callable[[F], F]:
    """Decorator form of `register_rule`: `@rule("known_chain")` above `def known_chain(value, argument): ...`."""

    def register(function: F) -> F:
        register_rule(name, function)
        return function

    return register


def _custom(each: Rule) -> Check:
    name, argument = each.name, each.argument

    def holds(value: Any) -> bool:
        function = _custom_rules.get(name)
        if function is None:
            return True
        try:
            return bool(function(value, argument))
        except Exception as error:  # noqa: BLE001  whatever application code raises must not end a connection
            text = f"the custom rule {name!r} raised {type(error).__name__}: {error}; the value counts as refused"
            warnings.warn(ContractWarning(text), stacklevel=2)
            return False

    return holds


def unenforced(schema: Schema) -> Iterator[str]:
    """Names of the custom rules of a schema that nobody has registered."""
    seen: set[str] = set()
    for message in schema.messages.values():
        for field in message.fields:
            for each in field.rules:
                if is_custom(each) and each.argument is not False and each.name not in seen:
                    seen.add(each.name)
                    if each.name not in _custom_rules:
                        yield each.name


def warn_unenforced(schema: Schema) -> None:
    """Warns of custom rules that nobody has registered, once for each name in the life of the process."""
    for name in unenforced(schema):
        if name not in _warned:
            _warned.add(name)
            text = f"the rule {name!r} of {schema.source} is not enforced; register it with mycelium.rule"
            warnings.warn(ContractWarning(text), stacklevel=3)
