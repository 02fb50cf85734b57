"""What a contracts file may say and had better not: findings of one file, none of which keeps it from being used."""

import difflib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from mycelium.schema.faults import shortened
from mycelium.schema.model import (
    INTEGERS,
    MISSING,
    EnumDef,
    Field,
    Json,
    Location,
    Message,
    Rule,
    Scalar,
    Schema,
    Type,
    inner_types,
    messages_in,
)
from mycelium.schema.rules import BUILTIN, checks, is_custom
from mycelium.schema.values import from_json_value, round_to_f32

__all__ = ["LINT_RULES", "LintFinding", "lint"]

_NEAR: Final = 0.8
"""Likeness of two names, as difflib counts it, from which on one is probably a slip of the other."""

Severity: TypeAlias = Literal["warning", "info"]


@frozen
class LintFinding:
    """One thing that is legal but unwise."""

    rule: str
    """One of `LINT_RULES`."""
    severity: Severity
    path: str
    location: Location
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.location}: {self.severity}: {self.rule} {self.path}: {self.message}; {self.hint}"


@frozen
class _LintRule:
    """A rule of the linter: what it finds in a file, as (path, location, message)."""

    severity: Severity
    find: Callable[[Schema], Iterator[tuple[str, Location | None, str]]]
    hint: str


def lint(schema: Schema) -> list[LintFinding]:
    """The findings of one schema, in file order."""
    start = schema.location or Location(schema.source, 1, 1)
    findings = [
        LintFinding(name, each.severity, path, location or start, message, each.hint)
        for name, each in LINT_RULES.items()
        for path, location, message in each.find(schema)
    ]
    return sorted(findings, key=lambda found: (found.location.line, found.location.column, found.rule))


_Found: TypeAlias = Iterator[tuple[str, Location | None, str]]


def _shown(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fields(schema: Schema) -> Iterator[tuple[Message, Field, str]]:
    """Every field of every message, with its path."""
    for message in schema.messages.values():
        for one in message.fields:
            yield message, one, f"messages.{message.name}.fields.{one.name}"


# --- tags, names, words ----------------------------------------------------------------------------------------------


def _mixed_tags(schema: Schema) -> _Found:
    for message in schema.messages.values():
        implicit = [one.name for one in message.fields if not one.explicit]
        if 0 < len(implicit) < len(message.fields):
            names = ", ".join(implicit)
            yield f"messages.{message.name}", message.location, f"only some fields have a tag; by position go: {names}"


def _without_description(schema: Schema) -> _Found:
    for message in schema.messages.values():
        if not message.description:
            yield f"messages.{message.name}", message.location, "the message has no description"


def _renamed_from_existing(schema: Schema) -> _Found:
    for message in schema.messages.values():
        if message.renamed_from in schema.messages:
            yield f"messages.{message.name}", message.location, f"a message {message.renamed_from} is there as well"
    for message, one, path in _fields(schema):
        if one.renamed_from in message.by_name:
            yield path, one.location, f"a field {one.renamed_from} is there as well"


def _deprecated_required(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        if one.deprecated and one.required:
            yield path, one.location, "the field is deprecated, but nobody can leave it out"


def _unused_types(schema: Schema) -> _Found:
    used: set[str] = set()
    for _, one, _ in _fields(schema):
        used.update(_names_in(one.type), _words(one.spelling))
    for alias in schema.aliases.values():
        used.update(_names_in(alias.type), _words(alias.spelling))
    declared = {name: alias.location for name, alias in schema.aliases.items()}
    declared |= {name: enum.location for name, enum in schema.enums.items()}
    for name, location in declared.items():
        if name not in used:
            yield f"types.{name}", location, "no field has this type"


def _names_in(type_: Type) -> Iterator[str]:
    if isinstance(type_, EnumDef):
        yield type_.name
    yield from messages_in(type_)
    for inner in inner_types(type_):
        yield from _names_in(inner)


def _words(spelling: str) -> list[str]:
    return "".join(letter if letter.isidentifier() or letter.isdigit() else " " for letter in spelling).split()


def _log_payload_without_effect(schema: Schema) -> _Found:
    for message in schema.messages.values():
        if message.log_payload and message.sensitivity is not None:
            yield f"messages.{message.name}", message.location, "`sensitivity` forbids what `log_payload: true` allows"


# --- defaults --------------------------------------------------------------------------------------------------------


def _optional_default(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        if one.optional and one.default is not MISSING:
            yield path, one.location, "None is not written, and what is not written reads as the default"


def _default_breaks_rule(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        if one.default is MISSING or any(messages_in(one.type)):
            continue
        value = from_json_value(one.type, one.default, None)
        for rule, holds in checks(one):
            if not is_custom(rule) and not holds(value):
                said = f"{rule.name}: {_shown(rule.argument)}"
                text = f"the default {_shown(one.default)} breaks the field's own rule {said}"
                yield path, rule.location or one.location, text


def _default_not_exact(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        default: Any = one.default
        if one.type == Scalar("f32") and isinstance(default, int | float) and round_to_f32(float(default)) != default:
            yield path, one.location, f"an f32 turns the default {default} into {round_to_f32(float(default))!r}"


# --- rules -----------------------------------------------------------------------------------------------------------


def _near_built_in(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        for rule in one.rules:
            near = difflib.get_close_matches(rule.name.lower(), BUILTIN, n=1, cutoff=_NEAR) if is_custom(rule) else []
            if near:
                text = f"{rule.name!r} is no built-in rule and waits for your code; did you mean {near[0]!r}?"
                yield f"{path}.validation", rule.location, text


def _vacuous_rules(schema: Schema) -> _Found:
    for _, one, path in _fields(schema):
        for index, rule in enumerate(one.rules):
            reason = _vacuous(rule, one, index)
            if reason:
                yield f"{path}.validation", rule.location, f"{shortened(rule.name)}: {_shown(rule.argument)} {reason}"


def _vacuous(rule: Rule, one: Field, index: int) -> str | None:
    """Why a rule refuses nothing, or None if it does."""
    if rule.argument is False:
        return "is switched off"
    if _holds_for_all(rule, one.type):
        return f"holds for every {one.type}"
    return "says less than another rule of the field" if _is_weaker(rule, one, index) else None


def _holds_for_all(rule: Rule, type_: Type) -> bool:
    first, last = INTEGERS.get(str(type_), (-math.inf, math.inf))
    match rule.name:
        case "min":
            return _number(rule) <= first
        case "max":
            return _number(rule) >= last
        case "min_length":
            return _number(rule) == 0
        case _:
            return False


def _is_weaker(rule: Rule, one: Field, index: int) -> bool:
    """Whether another rule of the field refuses all that this one does; of two equal ones the later is the weaker."""
    for place, other in enumerate(one.rules):
        if place == index or is_custom(rule) or other.argument is False:
            continue
        if rule.name == "not_empty" and other.name == "min_length" and _number(other) > 0:
            return True
        if rule.name != other.name:
            continue
        if rule.argument == other.argument:
            return place < index
        sign = {"min": 1, "min_length": 1, "max": -1, "max_length": -1}.get(rule.name, 0)
        if sign * (_number(other) - _number(rule)) > 0:
            return True
    return False


def _number(rule: Rule) -> float:
    return rule.argument if isinstance(rule.argument, int | float) else 0


LINT_RULES: Final[dict[str, _LintRule]] = {
    "MIXED_TAGS": _LintRule("warning", _mixed_tags, "`mycelium schema pin-tags` writes the others"),
    "OPTIONAL_WITH_DEFAULT": _LintRule("warning", _optional_default, "take either `optional: true` or `default:` out"),
    "VACUOUS_RULE": _LintRule("warning", _vacuous_rules, "remove it, or correct its argument"),
    "RULE_NAME_NEAR_BUILT_IN": _LintRule("warning", _near_built_in, "correct it, or give your own rule another name"),
    "DEFAULT_BREAKS_RULE": _LintRule("warning", _default_breaks_rule, "correct one of the two"),
    "RENAMED_FROM_EXISTING": _LintRule("warning", _renamed_from_existing, "`renamed_from` is for a name that is gone"),
    "LOG_PAYLOAD_WITHOUT_EFFECT": _LintRule("warning", _log_payload_without_effect, "take one of the two out"),
    "DEPRECATED_REQUIRED": _LintRule("info", _deprecated_required, "write `optional: true`, or give it a default"),
    "DEFAULT_NOT_EXACT": _LintRule("info", _default_not_exact, "write the value that it becomes, or use f64"),
    "TYPE_NOT_USED": _LintRule("info", _unused_types, "remove it if nobody needs it"),
    "MESSAGE_WITHOUT_DESCRIPTION": _LintRule("info", _without_description, "say what it means, for whoever gets one"),
}
"""Every rule of the linter, by id."""
