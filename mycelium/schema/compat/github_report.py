r"""The report as GitHub workflow commands, as a job summary in Markdown, and as step outputs.

Escapes follow the runner's `toolkit/command`: `% \r \n` in text, and also `: ,` in properties.
"""

from collections.abc import Iterator
from typing import Final

from mycelium.schema.compat.findings import SEVERITIES, Finding
from mycelium.schema.compat.view import View

__all__ = ["render_failure", "render_github", "render_outputs", "render_summary"]

_COMMANDS: Final = {"error": "error", "warning": "warning", "info": "notice"}
_MOST: Final = 10
"""Annotations that GitHub shows of one step."""
_MARKS: Final = {"error": "🔴", "warning": "🟡", "info": "⚪"}


def _text(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _text(value).replace(":", "%3A").replace(",", "%2C")


def render_github(view: View) -> str:
    """Annotations for the worst ten findings that matter; a note says how many more there are."""
    findings = [one for one in view.report.issues if one.severity != "info" or one.breaks]
    lines = [_annotation(one) for one in findings[:_MOST]]
    if len(findings) > _MOST:
        lines.append(f"::notice title=mycelium::{len(findings) - _MOST} more in the job summary")
    report = view.report
    words = {True: "yes", False: "no"}
    said = f"new reads old: {words[report.backward]}, old reads new: {words[report.forward]}"
    lines.append(_text(f"{view.current} against {view.previous}: {view.status}; {said}"))
    return "\n".join(lines) + "\n"


def _annotation(finding: Finding) -> str:
    properties = [f"title={_property(finding.rule)}"]
    at = finding.new_location
    if at is not None:
        properties = [f"file={_property(at.file)}", f"line={at.line}", f"col={at.column}", *properties]
    waived = f" Waived: {finding.waiver.reason}" if finding.waiver else ""
    command = "notice" if finding.waiver else _COMMANDS[finding.severity]
    return f"::{command} {','.join(properties)}::{_text(f'{finding.message} Fix: {finding.fix.text}{waived}')}"


def render_summary(view: View) -> str:
    """Markdown for `$GITHUB_STEP_SUMMARY`: the verdict and every finding."""
    report = view.report
    lines = [
        f"### {view.current} v{report.current.version} against {view.previous} v{report.previous.version}",
        "",
        "| new reads old | old reads new | policy | status |",
        "| --- | --- | --- | --- |",
        f"| {_yes(holds=report.backward)} | {_yes(holds=report.forward)} | {view.policy} | {view.status} |",
        "",
    ]
    if report.issues:
        lines += [
            "| | rule | where | what | fingerprint |",
            "| --- | --- | --- | --- | --- |",
            *map(_row, report.issues),
        ]
    else:
        lines.append("No changes.")
    return "\n".join([*lines, "", *_fixes(report.issues)]) + "\n"


def _yes(*, holds: bool) -> str:
    return "✅ yes" if holds else "❌ no"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _row(finding: Finding) -> str:
    at = finding.lines[1] or finding.lines[0] or ""
    waived = f" (waived: {finding.waiver.reason})" if finding.waiver else ""
    what = _cell(finding.message + waived)
    return f"| {_MARKS[finding.severity]} | {finding.rule} | {_cell(at)} | {what} | `{finding.fingerprint}` |"


def _fixes(findings: tuple[Finding, ...]) -> Iterator[str]:
    for finding in findings:
        if finding.breaks and finding.fix.yaml:
            yield f"<details><summary>Fix for {finding.rule} at {_cell(finding.subject)}</summary>"
            yield f"\n{finding.fix.text}\n"
            yield from (f"In `{one.at}`:\n\n```yaml\n{one.yaml}\n```\n" for one in finding.fix.places if one.yaml)
            yield "</details>\n"


def render_outputs(view: View) -> str:
    """Lines for `$GITHUB_OUTPUT`."""
    report = view.report
    counts = "".join(f"{one}s={report.count(one)}\n" for one in SEVERITIES)
    return f"status={view.status}\nlevel={report.level}\n{counts}"


def render_failure(status: str, what: str, why: str, remedy: str) -> str:
    """One annotation for a run that has no report."""
    if status == "ok":
        return f"::notice title=mycelium::{_text(f'{what}: {why}')}\n"
    text = ". ".join(part for part in (what, why, f"Try: {remedy}" if remedy else "") if part)
    return f"::error title=mycelium {status}::{_text(text)}\n"
