"""The report as SARIF 2.1.0, which code-scanning services read."""

import json
from typing import Any, Final

from mycelium.schema.compat.findings import Finding
from mycelium.schema.compat.table import TABLE
from mycelium.schema.compat.view import View
from mycelium.schema.model import Location

__all__ = ["failed_sarif", "render_sarif"]

_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def render_sarif(view: View) -> str:
    """One run with the rules that it reports and a result for each finding."""
    used = dict.fromkeys(one.rule for one in view.report.issues)
    index = {rule: number for number, rule in enumerate(used)}
    driver = {
        "name": "mycelium",
        "informationUri": "https://pypi.org/project/mycelium-py/",
        "rules": [*map(_rule, used)],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, index[one.rule]) for one in view.report.issues],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False, default=str) + "\n"


def _rule(name: str) -> dict[str, Any]:
    rule = TABLE[name]
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.id.replace("_", " ").capitalize()},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why} {rule.hint}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"category": rule.category},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} Fix: {finding.fix.text}"},
        "locations": [_location(finding.new_location)] if finding.new_location else [],
        "partialFingerprints": {"mycelium/v1": finding.fingerprint},
        "properties": {"new_reads_old": finding.backward, "old_reads_new": finding.forward, "path": finding.path},
    }
    if finding.old_location:
        result["relatedLocations"] = [_location(finding.old_location) | {"message": {"text": "before"}}]
    if finding.waiver:
        result["suppressions"] = [{"kind": "external", "justification": finding.waiver.reason}]
    return result


def _location(location: Location) -> dict[str, Any]:
    region = {"startLine": location.line, "startColumn": location.column}
    return {"physicalLocation": {"artifactLocation": {"uri": location.file.replace("\\", "/")}, "region": region}}


def failed_sarif(status: str, what: str, why: str) -> str:
    """A log of a run that has no report."""
    notice = {"level": "note" if status == "ok" else "error", "message": {"text": f"{what} {why}".strip()}}
    run = {
        "tool": {"driver": {"name": "mycelium"}},
        "invocations": [{"executionSuccessful": status == "ok", "toolExecutionNotifications": [notice]}],
        "results": [],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"
