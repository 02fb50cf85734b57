"""What the checker says about one change: a finding, its fix, its witness.

Directions have plain names everywhere: *backward* is "new reads old" (a reader on the current schema, a writer on the
previous one), *forward* is "old reads new".
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from mycelium.schema.compat.table import TABLE, Category, Severity
from mycelium.schema.model import Json, Location

__all__ = [
    "FAILURE_MODES",
    "SEVERITIES",
    "FailureMode",
    "Finding",
    "Fix",
    "Probe",
    "Prover",
    "Waiver",
    "Witness",
    "found",
]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error")
"""From the mildest to the worst."""

FailureMode: TypeAlias = Literal["some_values", "every_message", "not_delivered", "silent"]
FAILURE_MODES: Final[tuple[FailureMode, ...]] = ("some_values", "every_message", "not_delivered", "silent")
"""From the mildest to the worst: `silent` is a wrong or lost value without any error."""


@frozen
class Fix:
    """An edit that undoes the break.

    `yaml` is a mapping to be merged into the mapping at `at` (a path in the file, empty for the file itself): its keys
    replace those of the same name, the others stay.
    """

    text: str
    at: str = ""
    yaml: str = ""
    drop: tuple[str, ...] = ()
    """Keys to delete from the mapping at `at` before the merge."""
    also: "Fix | None" = None
    """A second place to edit."""

    @property
    def places(self) -> "tuple[Fix, ...]":
        """This edit and those that belong to it."""
        return (self, *self.also.places) if self.also else (self,)


@frozen
class Probe:
    """Where to look for bytes that show a break: which message each side knows, and the fields in question."""

    previous: str | None
    """The message's name in the previous schema, None where it has no such message."""
    current: str | None
    previous_fields: tuple[str, ...] = ()
    current_fields: tuple[str, ...] = ()
    backward: bool = False
    """Whether new-reads-old is the direction that breaks; else it is old-reads-new."""
    forward: bool = False


@frozen
class Witness:
    """Bytes that one side writes and the other does not read, or reads as something else."""

    writer: Literal["old", "new"]
    hex: str
    """The payload, in hexadecimal."""
    reader: Literal["old", "new"]
    error: str
    """What the reader says, or which wrong value it reads."""


Prover: TypeAlias = Callable[[Probe], Witness | None]
"""Finds a witness with real codecs; handed in, because the schema layer knows no bytes."""


@frozen
class Waiver:
    """A known break that was accepted. It changes the exit code, never the verdict."""

    fingerprint: str
    reason: str
    until: str | None = None
    """The last day on which it holds, as `2027-01-31`."""


@frozen
class Finding:
    """One change and what it does to readers and writers."""

    rule: str
    path: str
    """Of the element: `messages.Quote.fields.venue`."""
    message: str
    """One or two sentences about this very change."""
    backward: bool = True
    """Whether new reads old, as far as this change goes."""
    forward: bool = True
    """Whether old reads new."""
    severity: Severity = "info"
    failure_mode: FailureMode | None = None
    subject: str = ""
    """The element in short, for people: `Quote.size -> quantity`."""
    old: Json = None
    """What the change was made from, in JSON form; None where there was nothing."""
    new: Json = None
    old_location: Location | None = field(default=None, eq=False)
    new_location: Location | None = field(default=None, eq=False)
    """Of the element, or of its parent where the element is gone."""
    table: tuple[tuple[str, ...], ...] = field(default=(), eq=False, repr=False)
    """Both sides beside each other, for people: rows of cells, the heads first."""
    affects: tuple[str, ...] = ()
    """Paths of the fields elsewhere that the change reaches."""
    against: str | None = None
    """Which older version this was found against, where it is not the previous one."""
    waiver: Waiver | None = None
    probe: Probe | None = field(default=None, eq=False, repr=False)
    remedy: Callable[[], Fix] | None = field(default=None, eq=False, repr=False)
    prover: Prover | None = field(default=None, eq=False, repr=False)

    @property
    def category(self) -> Category:
        """WIRE, SOURCE, ROUTING, MEANING, POLICY or DOC."""
        return TABLE[self.rule].category

    @property
    def breaks(self) -> bool:
        """Whether the change breaks a direction."""
        return not (self.backward and self.forward)

    @property
    def why(self) -> str:
        """The rule's explanation, which is the same for each of its findings."""
        return TABLE[self.rule].why

    @property
    def hint(self) -> str:
        """What to do about it: the text of the fix."""
        return self.fix.text

    @cached_property
    def fix(self) -> Fix:
        """What to do about it; made when it is asked for."""
        return self.remedy() if self.remedy else Fix(TABLE[self.rule].hint)

    @cached_property
    def witness(self) -> Witness | None:
        """Bytes that prove the break; searched for when they are asked for. None where no bytes can prove it."""
        if not self.breaks or self.prover is None or self.probe is None or TABLE[self.rule].unprovable:
            return None
        return self.prover(evolve(self.probe, backward=not self.backward, forward=not self.forward))

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over rule, path, old and new: not over wording, lines or order, so that waivers last."""
        what = json.dumps([self.rule, self.path, self.old, self.new], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(what.encode()).hexdigest()[:12]

    @property
    def lines(self) -> tuple[str | None, str | None]:
        """`file:line` in the old and in the new file, as far as known."""
        return short(self.old_location), short(self.new_location)


def short(location: Location | None) -> str | None:
    """`file:line`, which is how people and editors like it."""
    return None if location is None else f"{location.file}:{location.line}"


def found(rule: str, path: str, message: str, *, severity: Severity | None = None, **details: Any) -> Finding:
    """A finding with its severity: a break is an error, anything else is what the table says.

    Args:
        rule: An id of the table.
        path: The element.
        message: What happened to it.
        severity: Another severity than the table's.
        **details: Further attributes of `Finding`.
    """
    finding = Finding(rule=rule, path=path, message=message, **details)
    if severity is None:
        severity = "error" if finding.breaks else TABLE[rule].severity
    return evolve(finding, severity=severity)
