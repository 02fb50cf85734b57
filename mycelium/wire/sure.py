"""Tests in source text that are enough to know that a value keeps a rule; where one fails the rule itself decides."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mycelium.schema.model import INTEGERS, Rule, Scalar, String, Type

__all__ = ["sure_test"]


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
