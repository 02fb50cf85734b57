"""The report: findings, the verdict over them, and whether a run with a given policy fails.

The verdict (`backward`, `forward`, `level`) is over all findings, waived or not; only `failures` honours waivers.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, Literal, TypeAlias, get_args

from attrs import evolve, field, frozen

from mycelium.schema.compat.bump import Bump, Level, deploy_order, level_of, suggest
from mycelium.schema.compat.findings import SEVERITIES, Finding, Prover, Waiver
from mycelium.schema.compat.parity import Parity, parity
from mycelium.schema.compat.scope import Settings
from mycelium.schema.compat.table import TABLE, Severity
from mycelium.schema.compat.walk import compare, ordered
from mycelium.schema.model import Schema

__all__ = ["LEVELS", "Policy", "PolicyLevel", "Report", "asked", "examine"]

PolicyLevel: TypeAlias = Literal[
    "full", "backward", "forward", "full-transitive", "backward-transitive", "forward-transitive", "none"
]

LEVELS: Final[Mapping[str, PolicyLevel]] = {
    **{level: level for level in get_args(PolicyLevel)},
    "any-order": "full",
    "readers-first": "backward",
    "writers-first": "forward",
}
"""Every name of a policy level, synonyms too, with the one that reports use."""


@frozen
class Policy:
    """What makes a run fail, and what is looked at."""

    level: PolicyLevel = "full"
    fail_on: Severity = "error"
    severities: Mapping[str, Severity] = field(factory=dict)
    """Severities of rules that somebody wants otherwise."""
    only: tuple[str, ...] = ()
    """Rules or paths: what else is found is left out, as if it had not been looked for."""
    skip: tuple[str, ...] = ()
    strict_source: bool = False
    """SOURCE findings are errors, unless `renamed_from` records them."""
    settings: Settings = field(factory=Settings)
    waivers: tuple[Waiver, ...] = ()
    today: str = ""
    """ISO date, for waivers that end; empty: none has ended."""


DEFAULT_POLICY: Final = Policy()


def asked(level: PolicyLevel) -> tuple[bool, bool]:
    """Which directions a policy level asks for: new reads old, old reads new."""
    name = level.removesuffix("-transitive")
    return name in {"full", "backward"}, name in {"full", "forward"}


@frozen(slots=False)
class Report:
    """What a comparison found."""

    previous: Schema = field(repr=False)
    current: Schema = field(repr=False)
    issues: tuple[Finding, ...]
    """The worst first. Under a transitive policy also the breaks against older versions."""
    policy: Policy = Policy()
    history: tuple[Schema, ...] = field(default=(), repr=False)
    older: tuple[tuple[Schema, tuple[Finding, ...]], ...] = field(default=(), repr=False)
    """What was found against each older version that still counts, whether or not the policy asks for it."""
    unused_waivers: tuple[Waiver, ...] = ()
    expired_waivers: tuple[Waiver, ...] = ()

    @cached_property
    def backward(self) -> bool:
        """Whether new reads old."""
        return all(one.backward for one in self.issues)

    @cached_property
    def forward(self) -> bool:
        """Whether old reads new."""
        return all(one.forward for one in self.issues)

    @property
    def level(self) -> Level:
        """Both directions in a word: full, backward, forward or none."""
        return level_of(backward=self.backward, forward=self.forward)

    @property
    def severity(self) -> Literal["none", "info", "warning", "error"]:
        """Of the worst finding."""
        return self.issues[0].severity if self.issues else "none"

    @cached_property
    def backward_transitive(self) -> bool:
        """Whether new reads old, and every older version from `min_compatible` on."""
        return self.backward and all(one.backward for _, findings in self.older for one in findings)

    @cached_property
    def forward_transitive(self) -> bool:
        """Whether old and every such older version reads new."""
        return self.forward and all(one.forward for _, findings in self.older for one in findings)

    @cached_property
    def failures(self) -> tuple[Finding, ...]:
        """Findings that make a run with this policy fail."""
        return tuple(one for one in self.issues if self._fails(one))

    def _fails(self, finding: Finding) -> bool:
        if finding.waiver is not None or SEVERITIES.index(finding.severity) < SEVERITIES.index(self.policy.fail_on):
            return False
        backward, forward = asked(self.policy.level)
        hurts = (backward and not finding.backward) or (forward and not finding.forward)
        return hurts or not finding.breaks

    @property
    def ok(self) -> bool:
        """Whether a run with this policy passes."""
        return not self.failures

    @cached_property
    def parity(self) -> Parity:
        """What the Rust checker would say."""
        return parity(self.previous, self.current)

    @cached_property
    def suggested(self) -> Bump:
        """The versions that the change asks for."""
        return suggest(self.previous, self.current, self.issues, self.policy.level)

    @property
    def deploy_order(self) -> str:
        """Who goes first."""
        return deploy_order(self.level)

    def count(self, severity: Severity) -> int:
        """How many findings have the severity."""
        return sum(one.severity == severity for one in self.issues)

    def __str__(self) -> str:
        counts = ", ".join(f"{self.count(one)} {one}" for one in reversed(SEVERITIES) if self.count(one))
        return f"{self.level}: {counts or 'no changes'}"


def examine(
    previous: Schema,
    current: Schema,
    policy: Policy = DEFAULT_POLICY,
    history: Sequence[Schema] = (),
    prover: Prover | None = None,
) -> Report:
    """Compare two schemas, and the current one with older ones, under a policy.

    Args:
        previous: The schema that is out there.
        current: The schema that is to replace it.
        policy: What fails, and what is looked at.
        history: Older versions. Those below the current `min_compatible` are left out: nobody reads them any more.
        prover: Finds bytes that prove a break.
    """
    findings = _selected(compare(previous, current, policy.settings, prover), policy)
    older = tuple(
        (schema, _selected(compare(schema, current, policy.settings), policy))
        for schema in history
        if schema.version >= current.min_compatible
    )
    if policy.level.endswith("-transitive"):
        findings = ordered((*findings, *_beyond(findings, older)))
    waived, unused, expired = _waived(findings, policy)
    return Report(previous, current, waived, policy, tuple(history), older, unused, expired)


def _beyond(findings: Sequence[Finding], older: Sequence[tuple[Schema, tuple[Finding, ...]]]) -> tuple[Finding, ...]:
    """Breaks against older versions that are not already found against the previous one, each once."""
    known = {(one.fingerprint, one.backward, one.forward) for one in findings}
    extra: list[Finding] = []
    for schema, candidates in reversed(older):
        for one in candidates:
            mark = (one.fingerprint, one.backward, one.forward)
            if one.breaks and mark not in known:
                known.add(mark)
                extra.append(evolve(one, against=f"version {schema.version}"))
    return tuple(extra)


def _selected(findings: Sequence[Finding], policy: Policy) -> tuple[Finding, ...]:
    chosen = (
        _graded(one, policy)
        for one in findings
        if (not policy.only or _matches(one, policy.only)) and not _matches(one, policy.skip)
    )
    found = tuple(chosen)
    if all(one.backward for one in found):
        # What it would be about was not looked for.
        found = tuple(one for one in found if one.rule != "MIN_COMPATIBLE_NOT_RAISED")
    return ordered(found)


def _matches(finding: Finding, patterns: Sequence[str]) -> bool:
    """Whether a finding is of one of the rules, or at or below one of the paths."""
    short = finding.path.removeprefix("messages.")
    return any(
        finding.rule == one or any(path == one or path.startswith(f"{one}.") for path in (finding.path, short))
        for one in patterns
    )


def _graded(finding: Finding, policy: Policy) -> Finding:
    severity = policy.severities.get(finding.rule)
    if severity is None and policy.strict_source and finding.category == "SOURCE":
        severity = "error" if finding.severity == TABLE[finding.rule].severity else None
    return finding if severity is None else evolve(finding, severity=severity)


def _waived(
    findings: Sequence[Finding], policy: Policy
) -> tuple[tuple[Finding, ...], tuple[Waiver, ...], tuple[Waiver, ...]]:
    expired = tuple(one for one in policy.waivers if one.until and policy.today and one.until < policy.today)
    valid = {one.fingerprint: one for one in policy.waivers if one not in expired}
    marked = tuple(evolve(one, waiver=valid[one.fingerprint]) if one.fingerprint in valid else one for one in findings)
    found = {one.fingerprint for one in findings}
    unused = tuple(one for one in policy.waivers if one.fingerprint not in found and one not in expired)
    return marked, unused, expired
