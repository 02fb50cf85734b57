"""The comparison: every rule over every pair of elements, then what all findings have in common."""

from collections.abc import Iterator
from typing import Final

from attrs import evolve

from mycelium.schema.compat.aliases import alias_rules
from mycelium.schema.compat.enums import enum_rules
from mycelium.schema.compat.fields import field_rules, structure
from mycelium.schema.compat.findings import SEVERITIES, Finding, Prover
from mycelium.schema.compat.layouts import layout_rules, new_layout_rules
from mycelium.schema.compat.messages import message_rules, set_rules
from mycelium.schema.compat.pairs import SchemaPair
from mycelium.schema.compat.reserved import reserved_rules
from mycelium.schema.compat.scope import Scope, Settings
from mycelium.schema.compat.section import conclusion_rules, identity_rules, section_rules
from mycelium.schema.model import Schema

__all__ = ["compare", "ordered"]

_DEFAULTS: Final = Settings()
_LAST: Final = 2**31
"""A line behind every file's last: what stands nowhere comes at the end."""


def compare(
    previous: Schema,
    current: Schema,
    settings: Settings = _DEFAULTS,
    prover: Prover | None = None,
) -> tuple[Finding, ...]:
    """Everything that changed from one schema to another, in the order of a report.

    Args:
        previous: The schema that is out there.
        current: The schema that is to replace it.
        settings: What changes findings and verdicts.
        prover: Finds bytes that prove a break, when somebody asks a finding for its witness.
    """
    scope = Scope(SchemaPair(previous, current), settings, structure)
    findings = list(identity_rules(scope.pair))
    if findings and not settings.everything:
        return tuple(evolve(one, prover=prover) for one in findings)
    excused: list[Finding] = []
    for finding, experimental in _found(scope):
        findings.append(_capped(finding) if experimental else finding)
        if experimental:
            excused.append(findings[-1])
    by_fingerprint = frozenset(one.fingerprint for one in excused)
    findings += conclusion_rules(scope.pair, findings, by_fingerprint)
    return ordered(evolve(one, prover=prover) for one in findings)


def _found(scope: Scope) -> Iterator[tuple[Finding, bool]]:
    """Findings, and whether each concerns nothing but experimental messages."""
    for finding in section_rules(scope.pair):
        yield finding, False
    for finding in (*set_rules(scope), *new_layout_rules(scope)):
        yield finding, scope.experimental(*_messages(finding))
    for pair in scope.pair.messages.kept:
        findings = [*message_rules(pair), *reserved_rules(pair), *field_rules(scope, pair), *layout_rules(scope, pair)]
        if not findings:
            continue
        paths, holders = scope.reach(pair.current.name)
        experimental = scope.experimental(pair.current.name, *holders)
        for finding in findings:
            inner = paths and finding.path.startswith(f"messages.{pair.current.name}.fields")
            yield (evolve(finding, affects=(*finding.affects, *paths)) if inner else finding), experimental
    for finding in [*alias_rules(scope), *enum_rules(scope)]:
        users = {path.split(".")[1] for path in finding.affects}
        outer = {holder for user in users for holder in scope.reach(user)[1]}
        yield finding, scope.experimental(*users, *outer)


def _messages(finding: Finding) -> list[str]:
    """The previous names of the messages that a finding about messages is of."""
    if finding.rule == "TYPE_ID_REUSED" and isinstance(finding.old, dict):
        return [str(finding.old["name"])]
    paths = finding.affects or (finding.path,)
    return [path.split(".")[1] for path in paths if "." in path]


def _capped(finding: Finding) -> Finding:
    """In the experimental range nothing is worse than a warning."""
    return evolve(finding, severity="warning") if finding.severity == "error" else finding


def ordered(findings: "Iterator[Finding] | tuple[Finding, ...]") -> tuple[Finding, ...]:
    """The worst first, then by place in the new file, then by name: the same on every run."""

    def place(finding: Finding) -> tuple[int, str, int, int, str, str]:
        at = finding.new_location or finding.old_location
        file, line, column = (at.file, at.line, at.column) if at else ("", _LAST, 0)
        return (-SEVERITIES.index(finding.severity), file, line, column, finding.path, finding.rule)

    return tuple(sorted(findings, key=place))
