"""The report for people: the verdict, the worst findings with proof and fix, and what to do next, on one screen."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from mycelium.schema.compat.findings import Finding, Fix
from mycelium.schema.compat.table import Severity
from mycelium.schema.compat.view import View

__all__ = ["Paint", "plain", "render_text"]

Paint: TypeAlias = Callable[[str, str], str]
"""Text and a style (`error`, `warning`, `info`, `good`, `bad`, `faint`, `strong`) to text for a terminal."""

_LABELS: Final[dict[Severity, str]] = {"error": "ERROR", "warning": "WARN ", "info": "INFO "}
_LONG_FIX: Final = 12
"""Lines of YAML above which a fix is shown under --verbose only."""
_LONG_TABLE: Final = 12
"""Rows of a table above which only those that differ are shown, and so many at most, without --verbose."""
_HEX: Final = 48
_FOOTER: Final = 4


def plain(text: str, _style: str) -> str:
    """No styles at all."""
    return text


def render_text(view: View, paint: Paint = plain) -> str:
    """The report as text."""
    report = view.report
    breaking = any(one.breaks for one in report.issues)
    if not report.issues or (not view.verbose and not breaking and report.severity == "info"):
        return "\n".join([_clean(view, paint), *_notes(view), *_parity(view)]) + "\n"
    lines = [_head(view, paint), "", *_verdict(view, paint), ""]
    lines += _body(view, paint, view.height - len(lines) - _FOOTER)
    lines += _hurt(view)
    lines += _notes(view)
    lines += _next(view)
    return "\n".join([*lines, *_parity(view)]) + "\n"


def _names(view: View) -> str:
    report = view.report
    return f"{view.current}  v{report.current.version}  against  {view.previous}  v{report.previous.version}"


def _clean(view: View, paint: Paint) -> str:
    count = len(view.report.issues)
    said = f"No breaking changes, {count} safe change{'s' if count > 1 else ''}." if count else "No changes."
    return f"{_names(view)}:  {paint(said, 'good')}"


def _head(view: View, paint: Paint) -> str:
    return f"{paint(_names(view), 'strong')}      policy: {view.policy}"


def _verdict(view: View, paint: Paint) -> Iterator[str]:
    report = view.report
    rows = (
        ("new reads old", report.backward, [one for one in report.issues if not one.backward], "backward"),
        ("old reads new", report.forward, [one for one in report.issues if not one.forward], "forward"),
    )
    for words, holds, findings, name in rows:
        answer = paint("YES" if holds else "NO ", "good" if holds else "bad")
        yield f"  {words}   {answer}  {_counted(findings):<20} [{name}]"


def _counted(findings: list[Finding]) -> str:
    parts = []
    severities: tuple[Severity, ...] = ("error", "warning", "info")
    for severity in severities:
        count = sum(one.severity == severity for one in findings)
        if count:
            parts.append(f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}")
    return ", ".join(parts)


def _body(view: View, paint: Paint, room: int) -> list[str]:
    """As many findings as fit: breaks in full, others in a line, safe changes under --verbose only."""
    lines: list[str] = []
    hidden: list[Finding] = []
    for finding in view.report.issues:
        if finding.severity == "info" and not finding.breaks and not view.verbose:
            hidden.append(finding)
            continue
        if not view.verbose and len(lines) >= room:
            hidden.append(finding)
            continue
        block = list(_block(finding, view, paint)) if view.verbose or finding.breaks else [_line(finding, paint)]
        fits = view.verbose or not lines or len(lines) + len(block) <= room
        lines += block if fits else [_line(finding, paint)]
    if hidden:
        lines.append(paint(f"        {_counted(hidden)} more: --verbose", "faint"))
    return [*lines, ""] if lines else []


def _line(finding: Finding, paint: Paint) -> str:
    at = finding.lines[1] or finding.lines[0] or ""
    waived = "  (waived)" if finding.waiver else ""
    label = paint(_LABELS[finding.severity], finding.severity)
    return f" {label}  {finding.rule:<22} {finding.subject:<22} {at}{waived}"


def _block(finding: Finding, view: View, paint: Paint) -> Iterator[str]:
    yield _line(finding, paint)
    was = f"  (was {finding.lines[0]})" if finding.lines[0] and finding.lines[1] else ""
    yield f"   {finding.message}{paint(was, 'faint')}"
    yield from _table(finding, view)
    if finding.against:
        yield f"   found   against {finding.against}"
    # Fields of the element itself stand in the message.
    affected = [path for path in finding.affects if not path.startswith(finding.path)]
    if affected:
        shown = [path.removeprefix("messages.").replace(".fields.", ".") for path in affected]
        rest = f" and {len(shown) - 6} more" if len(shown) > 6 and not view.verbose else ""  # noqa: PLR2004  one line
        yield f"   affects {', '.join(shown if view.verbose else shown[:6])}{rest}"
    yield from _proof(finding, view)
    yield from _fix(finding, view)
    if finding.waiver is not None:
        until = f" (until {finding.waiver.until})" if finding.waiver.until else ""
        yield f"   waived  {finding.waiver.reason}{until}"
    elif finding in view.report.failures and view.gate and view.waivable:
        yield f'   accept  mycelium schema accept {finding.fingerprint} --reason "..."'


def _table(finding: Finding, view: View) -> Iterator[str]:
    """Both sides beside each other; names at the left, numbers at the right of their columns."""
    if not finding.table:
        return
    widths = [max(map(len, column)) for column in zip(*finding.table, strict=True)]
    *rows, total = finding.table
    kept = rows if view.verbose or len(rows) <= _LONG_TABLE else [one for one in rows if one[-1] or one is rows[0]]
    for row in (*kept[: None if view.verbose else _LONG_TABLE], total):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield f"           {'  '.join(cells)}".rstrip()


def _proof(finding: Finding, view: View) -> Iterator[str]:
    witness = finding.witness
    if witness is None:
        return
    payload = witness.hex if len(witness.hex) <= _HEX or view.verbose else f"{witness.hex[:_HEX]}..."
    error = witness.error if len(witness.error) <= 160 or view.verbose else f"{witness.error[:157]}..."  # noqa: PLR2004
    yield f"   proof   {witness.writer} bytes {payload or '(empty)'}, {witness.reader} reader: {error}"


def _fix(finding: Finding, view: View) -> Iterator[str]:
    if not finding.breaks and not finding.fix.yaml and not view.verbose:
        return
    yield f"   fix     {finding.fix.text}"
    for place in finding.fix.places:
        yield from _edit(place, view)


def _edit(place: Fix, view: View) -> Iterator[str]:
    """One place of a fix: where, and the lines to paste there."""
    lines = place.yaml.splitlines()
    if len(lines) > _LONG_FIX and not view.verbose:
        yield f"           {len(lines)} lines of YAML: --verbose, or --format json"
        return
    if place.drop:
        yield f"           {place.at}: without {', '.join(place.drop)}"
    if lines:
        yield f"           {place.at or 'at the top of the file'}:"
        yield from (f"             {line}" for line in lines)


def _hurt(view: View) -> Iterator[str]:
    """Who is connected and would be hurt, and when each has to get the new contract."""
    for one in view.hurt:
        yield f" hurts          {one.client} (v{one.version}), connected now: {one.deploy}"
        for words, found in (("new readers cannot read its", one.unread), ("cannot read new writers'", one.unreadable)):
            if found:
                yield f"                {words} {', '.join(found)}"


def _notes(view: View) -> Iterator[str]:
    for state, waiver in view.stale_waivers:
        yield f" note           waiver {waiver.fingerprint} is {state}: {waiver.reason}"


def _next(view: View) -> Iterator[str]:
    report = view.report
    if not any(one.category != "DOC" for one in report.issues):
        return
    yield f" deploy order   {report.deploy_order}"
    if report.level == "none":
        yield "                1 add the new beside the old (fresh tag or id, optional)   2 write both, move readers"
        yield "                3 stop writing the old, remove it, reserve its tag or id"
    yield from _version(view)


def _version(view: View) -> Iterator[str]:
    old, new, wanted = view.report.previous, view.report.current, view.report.suggested
    if (wanted.version, wanted.min_compatible) == (old.version, old.min_compatible):
        return
    steps = [f"schema.version {old.version} -> {wanted.version} {_done(new.version, wanted.version)}"]
    if wanted.min_compatible != old.min_compatible:
        done = _done(new.min_compatible, wanted.min_compatible)
        steps.append(f"min_compatible {old.min_compatible} -> {wanted.min_compatible} {done}")
    patch = "     `mycelium schema bump`" if any(one.endswith("needed") for one in steps) else ""
    yield f" version        {'; '.join(steps)}{patch}"


def _done(is_now: int, wanted: int) -> str:
    return "ok" if is_now == wanted else "needed"


def _parity(view: View) -> Iterator[str]:
    if view.parity:
        said = view.report.parity
        yield f" upstream       {said.level}; issues: {', '.join(said.issues) or 'none'}; warnings: {said.warnings}"
