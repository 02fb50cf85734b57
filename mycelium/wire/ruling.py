"""Rules as source text: before each rule comes a cheap test that is enough to know that a value keeps it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from mycelium.schema.model import INTEGERS, Rule, Scalar, String, Type
from mycelium.wire.shapes import Slot
from mycelium.wire.source import Function, Scope, Writer

__all__ = ["obeys", "rules", "rules_function", "sure_test"]


def _most(type_: Type, limit: Any) -> str:
    # A character of a text has at most four bytes.
    return f"len({{v}}) <= {limit // 4 if isinstance(type_, String) else limit}"


def _least(_: Type, limit: Any) -> str:
    return f"len({{v}}) >= {limit}"


def _is_true(_type: Type, _argument: Any) -> str:
    return "{v}"


def _compare(operator: str) -> Callable[[Type, Any], str]:
    def test(type_: Type, bound: Any) -> str:
        is_exact = isinstance(type_, Scalar) and type_.name in INTEGERS and isinstance(bound, int)
        return f"{{v}} {operator} {bound}" if is_exact else ""

    return test


def _not_zero(type_: Type, _argument: Any) -> str:
    return "{v}" if isinstance(type_, Scalar) else ""


_SURE: Final[Mapping[str, Callable[[Type, Any], str]]] = MappingProxyType(
    {
        "max_length": _most,
        "min_length": _least,
        "not_empty": _is_true,
        "not_zero": _not_zero,
        "min": _compare(">="),
        "max": _compare("<="),
    }
)


def sure_test(type_: Type, rule: Rule) -> str:
    """An expression with `{v}` for the value, true only if it keeps the rule; empty where there is none.

    Args:
        type_: Of the value.
        rule: The rule.
    """
    made = _SURE.get(rule.name)
    return made(type_, rule.argument) if made is not None else ""


def rules(slots: Sequence[Slot], scope: Scope) -> Iterator[str]:
    """Tests whether the values obey their rules."""
    for slot in slots:
        if slot.codec.checks:
            holds = obeys(slot, scope)
            yield f"({slot.value} is None or {holds})" if slot.field.optional else holds


def obeys(slot: Slot, scope: Scope) -> str:
    """Tests whether a value that is not None obeys its rules, of which there are some."""
    return " and ".join(_holds(slot, rule, scope.add("rule", check)) for rule, check in slot.codec.checks)


def _holds(slot: Slot, rule: Rule, check: str) -> str:
    sure, call = sure_test(slot.field.type, rule).format(v=slot.value), f"{check}({slot.value})"
    return f"({sure} or {call})" if sure else call


def rules_function(owner: str, slots: Sequence[Slot], scope: Scope, fallback: Function) -> Function:
    """`check_rules(message)`: returns if every value obeys the rules of its own field."""
    writer = Writer("check_rules(message)", fallback, scope)
    writer.add(*(f"{slot.value} = message.{slot.field.name}" for slot in slots if slot.codec.checks))
    writer.require(*rules(slots, scope))
    writer.add("return None")
    return writer.compile(owner)
