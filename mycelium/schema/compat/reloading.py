"""Whether an edit may be applied while everything runs (reliability: "Schema and reload")."""

from collections.abc import Iterator
from typing import Final, TypeAlias, get_args

from mycelium.schema.compat.findings import Finding
from mycelium.schema.compat.layouts import LAYOUT_RULES
from mycelium.schema.compat.report import PolicyLevel, Report, asked

__all__ = ["RELOAD_POLICIES", "ReloadPolicy", "refusals"]

ReloadPolicy: TypeAlias = PolicyLevel
RELOAD_POLICIES: Final[tuple[ReloadPolicy, ...]] = get_args(ReloadPolicy)
_NAMES_GONE: Final = frozenset({"MESSAGE_REMOVED", "FIELD_REMOVED_REQUIRED", "MESSAGE_TOPIC_CHANGED"})
"""Running code names what these take away, or listens where nothing comes any more. A field that was optional or had a
default may go: it still reads as None or as its default."""


def refusals(report: Report, policy: ReloadPolicy) -> tuple[Finding, ...]:
    """The findings for which an edit is not applied; empty where it may be.

    Severities and waivers do not count here, and findings about value rules are never among them: the bridge's door
    enforces the new rules from then on. Findings about layouts, which only the profile `rust` has, always are: peers
    that speak that dialect have no way to follow.

    Args:
        report: The running schema against the edited one.
        policy: Which directions must hold; under `none` everything else is applied.
    """
    if policy == "none":
        return tuple(one for one in report.issues if one.rule in LAYOUT_RULES)
    return tuple(_refused(report, policy))


def _refused(report: Report, policy: ReloadPolicy) -> Iterator[Finding]:
    backward, forward = asked(policy)
    for one in report.issues:
        if one.rule.startswith("VALIDATION_"):
            continue
        breaks = (backward and not one.backward) or (forward and not one.forward)
        # With `renamed_from` a renaming is mere information: the old name goes on working.
        renamed = one.category == "SOURCE" and one.severity != "info"
        if breaks or renamed or one.rule in _NAMES_GONE or one.rule in LAYOUT_RULES:
            yield one
