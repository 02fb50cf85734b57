"""Values that a contracts file writes itself, defaults and the arguments of rules: checked against the field's type."""

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import evolve

from mycelium.schema.faults import Wrong, join
from mycelium.schema.model import MISSING, Field, Json, Message, Rule, messages_in
from mycelium.schema.readers import Reading
from mycelium.schema.rules import check_rule
from mycelium.schema.values import ValueProblem, checked_json

__all__ = ["settled"]

_MAX_PATTERNS: Final = 65_536
_BOUNDS: Final = (("min", "max"), ("min_length", "max_length"))


def settled(messages: Mapping[str, Message], reading: Reading) -> dict[str, Message]:
    """The messages with each default and `one_of` in its one spelling; what does not fit is told to the faults."""
    return {name: _message(message, messages, reading) for name, message in messages.items()}


def _message(message: Message, messages: Mapping[str, Message], reading: Reading) -> Message:
    if all(one.default is MISSING and not one.rules for one in message.fields):
        return message
    path = f"messages.{message.name}.fields"
    fields = tuple(_field(one, join(path, one.name), messages, reading) for one in message.fields)
    return evolve(message, fields=fields) if fields != message.fields else message


def _field(one: Field, path: str, messages: Mapping[str, Message], reading: Reading) -> Field:
    if path in reading.broken:
        return one
    rules = tuple(_rule(one, rule, path, reading) for rule in one.rules)
    for rule, wrong in _contradictions(rules):
        reading.faults.add(rule.location, join(path, "validation"), wrong.problem, wrong.remedy)
    return evolve(one, rules=rules, default=_default(one, path, messages, reading))


def _default(one: Field, path: str, messages: Mapping[str, Message], reading: Reading) -> Json:
    if one.default is MISSING or (reading.broken and any(messages_in(one.type))):
        return one.default  # type: ignore[return-value]
    try:
        return checked_json(one.type, one.default, messages)
    except ValueProblem as problem:
        where = join(path, "default")
        remedy = f"write a value of {one.type}{_example(one, one.default)}"
        reading.faults.add(reading.where(where), where, f"the default {problem}", remedy)
        return one.default


def _example(one: Field, default: Json) -> str:
    """A hint at what YAML makes of hexadecimal digits."""
    return ', in quotes: "0x…"' if str(one.type) == "bytes" and isinstance(default, int) else ""


def _rule(one: Field, rule: Rule, path: str, reading: Reading) -> Rule:
    try:
        _spend(rule, reading)
        check_rule(rule, one.type)
    except Wrong as wrong:
        reading.faults.add(rule.location, join(path, "validation"), wrong.problem, wrong.remedy)
        return rule
    if rule.name == "one_of" and isinstance(rule.argument, list):
        return evolve(rule, argument=[checked_json(one.type, item, {}) for item in rule.argument])
    return rule


def _spend(rule: Rule, reading: Reading) -> None:
    """Patterns take about a microsecond a character to compile."""
    if rule.name == "pattern" and isinstance(rule.argument, str):
        spent = reading.spent["pattern"] = reading.spent.get("pattern", 0) + len(rule.argument)
        if spent > _MAX_PATTERNS:
            problem = f"the patterns of the file have more than {_MAX_PATTERNS:,} characters together"
            raise Wrong(problem, "use shorter ones")


def _contradictions(rules: tuple[Rule, ...]) -> Iterator[tuple[Rule, Wrong]]:
    """Pairs of rules that no value keeps; each is told at the later of the two."""
    numbers: dict[str, list[Rule]] = {}
    for rule in rules:
        if isinstance(rule.argument, int | float):
            numbers.setdefault(rule.name, []).append(rule)
    for lowest, highest in _BOUNDS:
        if lowest in numbers and highest in numbers:
            low = max(numbers[lowest], key=_figure)
            high = min(numbers[highest], key=_figure)
            if _figure(low) > _figure(high):
                problem = f"no value keeps both {lowest}: {low.argument} and {highest}: {high.argument}"
                yield max(low, high, key=_place), Wrong(problem, "correct one of the two")
    empty = next((rule for rule in numbers.get("max_length", ()) if rule.argument == 0), None)
    if empty and any(rule.argument is True for rule in numbers.get("not_empty", ())):
        yield empty, Wrong("no value keeps both not_empty and max_length: 0", "correct one of the two")


def _figure(rule: Rule) -> float:
    return rule.argument if isinstance(rule.argument, int | float) else 0


def _place(rule: Rule) -> tuple[int, int]:
    return (rule.location.line, rule.location.column) if rule.location else (0, 0)
