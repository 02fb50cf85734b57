"""The report as JSON. Its shape is published in `report.schema.json` beside this module."""

import json
from typing import Any, Final

from attrs import asdict

from mycelium.schema.compat.findings import Finding, Fix, Waiver
from mycelium.schema.compat.view import Status, View
from mycelium.schema.model import Location

__all__ = ["REPORT_VERSION", "as_json", "failed_json", "render_json"]

REPORT_VERSION: Final = 1
"""Rises when something is removed or changes its meaning; new keys may come at any time."""
_PROVED: Final = 100
"""Findings, the worst first, for which bytes are searched: a message class for each takes its time."""


def render_json(view: View) -> str:
    """The report as indented JSON text."""
    return json.dumps(as_json(view), indent=2, ensure_ascii=False, default=str) + "\n"


def failed_json(status: Status, what: str, why: str = "", remedy: str = "") -> str:
    """The JSON of a run that has no report, so that it can never be taken for a clean one."""
    error = {"what": what, "why": why, "remedy": remedy}
    return json.dumps({"report_version": REPORT_VERSION, "status": status, "error": error}, indent=2) + "\n"


def as_json(view: View) -> dict[str, Any]:
    """The report as JSON values."""
    report = view.report
    return {
        "report_version": REPORT_VERSION,
        "status": view.status,
        "level": report.level,
        "new_reads_old": report.backward,
        "old_reads_new": report.forward,
        "policy": {
            "level": report.policy.level,
            "fail_on": report.policy.fail_on,
            "profile": report.policy.settings.profile,
        },
        "previous": {"name": view.previous, "version": report.previous.version},
        "current": {"name": view.current, "version": report.current.version},
        "transitive": {
            "new_reads_old": report.backward_transitive,
            "old_reads_new": report.forward_transitive,
            "versions": [schema.version for schema, _ in report.older],
        },
        "parity": {
            "level": report.parity.level,
            "issues": list(report.parity.issues),
            "warnings": report.parity.warnings,
        },
        "suggested": asdict(report.suggested),
        "deploy_order": report.deploy_order,
        "hurt": [{**asdict(one), "deploy": one.deploy} for one in view.hurt],
        "findings": [_finding(one, prove=index < _PROVED) for index, one in enumerate(report.issues)],
        "waivers": {
            "unused": [_waiver(one) for one in report.unused_waivers],
            "expired": [_waiver(one) for one in report.expired_waivers],
        },
    }


def _finding(finding: Finding, *, prove: bool) -> dict[str, Any]:
    witness = finding.witness if prove else None
    return {
        "rule": finding.rule,
        "category": finding.category,
        "severity": finding.severity,
        "path": finding.path,
        "message": finding.message,
        "why": finding.why,
        "fix": _fix(finding.fix),
        "old": finding.old,
        "new": finding.new,
        "old_location": _location(finding.old_location),
        "new_location": _location(finding.new_location),
        "backward": finding.backward,
        "forward": finding.forward,
        "failure_mode": finding.failure_mode,
        "affects": list(finding.affects),
        "against": finding.against,
        "witness": None if witness is None else asdict(witness),
        "fingerprint": finding.fingerprint,
        "waiver": None if finding.waiver is None else _waiver(finding.waiver),
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "text": fix.text,
        "at": fix.at,
        "yaml": fix.yaml,
        "drop": list(fix.drop),
        "also": None if fix.also is None else _fix(fix.also),
    }


def _location(location: Location | None) -> dict[str, Any] | None:
    return None if location is None else asdict(location)


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return asdict(waiver)
