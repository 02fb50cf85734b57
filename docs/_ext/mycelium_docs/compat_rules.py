"""Every rule of the compatibility checker, with an example that the tests of the checker run."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from mycelium.schema.compat.table import TABLE, RuleInfo
from mycelium_docs.markdown import fence, table

__all__ = ["rules", "summary"]

_CASES: Final = Path(__file__).parents[3] / "tests" / "compat"
_CATEGORIES: Final = {
    "WIRE": "what bytes say",
    "SOURCE": "names that code uses",
    "ROUTING": "who gets what",
    "MEANING": "what values mean",
    "POLICY": "versions and reservations",
    "DOC": "what only people read",
}
"""In the order of the page."""
_ANSWERS: Final = {True: "yes", False: "**no**"}
_ABOUT_TEXTS: Final = {"MESSAGE_DOC_CHANGED", "FIELD_DOC_CHANGED"}
_ABOUT_VERSIONS: Final = ("SCHEMA_", "MIN_COMPATIBLE_")


def summary() -> str:
    """All rules in a table for each category."""
    parts = []
    for category, title in _CATEGORIES.items():
        rows = ((f"[`{rule.id}`](#{_anchor(rule)})", rule.severity, rule.why) for rule in _of(category))
        parts.append(f"### {category}: {title}\n\n{table(['rule', 'severity', 'why'], rows)}")
    return "\n".join(parts)


def rules() -> str:
    """A section for each rule."""
    return "\n".join(_section(rule) for category in _CATEGORIES for rule in _of(category))


def _of(category: str) -> list[RuleInfo]:
    strange = {rule.category for rule in TABLE.values()} - _CATEGORIES.keys()
    if strange:
        raise LookupError(f"nobody has said what the categories {strange} are")
    return [rule for rule in TABLE.values() if rule.category == category]


def _anchor(rule: RuleInfo) -> str:
    return rule.id.lower()


def _grade(rule: RuleInfo) -> str:
    return "error" if rule.severity == "error" else f"{rule.severity}, an error where it breaks a direction"


def _section(rule: RuleInfo) -> str:
    facts = f"{_grade(rule).capitalize()}. {rule.why}\n\n**Fix.** {rule.hint}\n"
    proof = f"\nNo bytes prove it: {rule.unprovable}.\n" if rule.unprovable else ""
    return f"### {rule.id}\n\n{facts}{proof}\n{_example(rule)}"


def _example(rule: RuleInfo) -> str:
    case = _cases()[rule.id]
    verdict = f"New reads old: {_ANSWERS[case['backward']]}. Old reads new: {_ANSWERS[case['forward']]}.\n"
    return f"{fence(_difference(case['old'], case['new'], rule), 'diff')}\n{verdict}"


@cache
def _cases() -> Mapping[str, Any]:
    """For each rule the case that shows it with the least beside it."""
    found: dict[str, Any] = {}
    for name in ("more_cases.yaml", "cases.yaml"):
        for case in yaml.safe_load((_CASES / name).read_text(encoding="utf-8"))["cases"]:
            if "history" in case:
                continue
            for rule in case["rules"]:
                if rule not in found or _weight(case) < _weight(found[rule]):
                    found[rule] = case
    return found


def _weight(case: Mapping[str, Any]) -> tuple[int, int]:
    return len(case["rules"]), len(case["old"]) + len(case["new"])


def _difference(old: str, new: str, rule: RuleInfo) -> str:
    before, after = (_spelled(text, rule) for text in (old, new))
    lines = list(difflib.unified_diff(before, after, n=3, lineterm=""))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@"))


def _spelled(text: str, rule: RuleInfo) -> list[str]:
    """Contracts in one spelling, a line for each message and field, without what the rule is not about."""
    content = yaml.safe_load(text)
    if not rule.id.startswith(_ABOUT_VERSIONS):
        content.pop("schema", None)
    lines: list[str] = []
    for section, body in content.items():
        if section not in {"messages", "types"}:
            lines.append(f"{section}: {_flow(body)}")
            continue
        lines.append(f"{section}:")
        for name, each in body.items():
            lines += _message(name, each, rule) if section == "messages" else [f"  {name}: {_flow(each)}"]
    return lines


def _message(name: str, message: Mapping[str, Any], rule: RuleInfo) -> Iterator[str]:
    yield f"  {name}:"
    for key, value in _told(message, rule).items():
        if key != "fields":
            yield f"    {key}: {_flow(value)}"
    fields = message["fields"]
    yield "    fields:" if fields else "    fields: {}"
    for field, value in fields.items():
        yield f"      {field}: {_flow(_told(value, rule))}"


def _told(described: Mapping[str, Any], rule: RuleInfo) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "description" or rule.id in _ABOUT_TEXTS}


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()
