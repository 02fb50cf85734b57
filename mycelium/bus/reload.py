"""From an edited file to the schema in force: read, check, swap; on any failure what was in force goes on.

The decision is `judge`, which is pure. `Reloader` does the reading, and follows the file.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

from attrs import evolve, field, frozen

from mycelium.bus.aside import aside
from mycelium.bus.filewatch import hints, settled
from mycelium.contractfile import read_file
from mycelium.errors import MyceliumError
from mycelium.events import Event, SchemaChanged, SchemaRefused
from mycelium.handle import Contracts
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.errors import ContractError, Fault
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_text

if TYPE_CHECKING:
    from mycelium.schema.compat.findings import Finding
    from mycelium.schema.compat.reloading import ReloadPolicy
    from mycelium.schema.compat.report import Report
    from mycelium.schema.compat.scope import Profile

__all__ = ["Change", "Outcome", "Reading", "Reloader", "judge"]

_log = Log("mycelium.reload")
_MOST_REASONS: Final = 20

_LINES: Final = {"applied": Line.SCHEMA_APPLIED, "unchanged": Line.SCHEMA_UNCHANGED}
"""What is logged of an edit that is not refused."""

Outcome: TypeAlias = Literal["applied", "unchanged", "incompatible", "invalid", "error"]


@frozen
class Change:
    """What became of an edit.

    Attributes:
        outcome: `applied`, `unchanged` (says the same in other words), `incompatible`, `invalid` or `error`.
        source: The file.
        previous: The schema that was in force.
        current: The edited one; None where it could not be read.
        report: The comparison, where there was one.
        reasons: Why it is not applied, a line each.
        objections: The findings for which it is not.
        seconds: How long it took to find that out.
    """

    outcome: Outcome
    source: str
    previous: Schema = field(repr=False)
    current: Schema | None = field(default=None, repr=False)
    report: "Report | None" = field(default=None, repr=False)
    reasons: tuple[str, ...] = ()
    objections: "tuple[Finding, ...]" = field(default=(), repr=False)
    seconds: float = field(default=0.0, eq=False)

    @property
    def refused(self) -> bool:
        """Whether what was in force goes on although the file says something else."""
        return self.outcome in ("incompatible", "invalid", "error")

    def to_fields(self) -> dict[str, Any]:
        """What a log line has of it."""
        found = self.objections if self.refused else () if self.report is None else self.report.issues
        in_force = self.previous if self.refused or self.current is None else self.current
        return {
            "source": self.source,
            "schema_version": in_force.version,
            "schema_digest": in_force.digest,
            "old_digest": self.previous.digest,
            "new_digest": None if self.current is None else self.current.digest,
            "issues": [_issue(one) for one in found[:_MOST_REASONS]],
        }

    @property
    def event(self) -> Event | None:
        """The event that tells of it; none where nothing changed."""
        if self.outcome == "unchanged":
            return None
        if self.refused or self.current is None:
            return SchemaRefused(self.source, self.outcome, self.reasons, self.report)
        return SchemaChanged(self.source, self.current.version, self.previous.digest, self.current.digest, self.report)


@frozen
class Reading:
    """What is remembered of the last time that a file was read: no schema, which would live on.

    Attributes:
        at: When it was decided, in seconds since the Unix epoch.
        outcome: As in `Change`.
        reasons: Why it is not applied, a line each.
        refused: Whether what was in force goes on although the file says something else.
    """

    at: float
    outcome: Outcome
    reasons: tuple[str, ...]
    refused: bool


def judge(previous: Schema, current: Schema, policy: "ReloadPolicy", source: str, profile: "Profile" = "tlv") -> Change:
    """Whether an edited schema may take the place of the one in force.

    Args:
        previous: The one in force.
        current: The edited one.
        policy: What it must keep.
        source: The file.
        profile: `rust` where every layout must stay as it is, too, whatever the policy is.
    """
    from mycelium.compat import prover
    from mycelium.schema.compat.reloading import refusals
    from mycelium.schema.compat.report import Policy, examine
    from mycelium.schema.compat.scope import Settings

    settings = Settings(profile=profile, everything=profile == "rust")
    report = examine(previous, current, Policy(settings=settings), prover=prover(previous, current))
    refused = refusals(report, policy)
    if refused:
        reasons = tuple(f"{one.rule} {one.subject or one.path}: {one.message}" for one in refused)
        return Change("incompatible", source, previous, current, report, reasons, refused)
    if not report.issues and previous == current:
        return Change("unchanged", source, previous, current, report)
    return Change("applied", source, previous, current, report)


Around: TypeAlias = Callable[[], AbstractContextManager[Callable[[Change], object]]]


def _nothing() -> AbstractContextManager[Callable[[Change], object]]:
    return contextlib.nullcontext(lambda _: None)


@final
class Reloader:
    """Follows the file of a handle.

    Args:
        contracts: A handle that was loaded from a file.
        policy: What an edit must keep.

    Attributes:
        is_brief: Whether the log leaves the reasons of a refusal out, since somebody else tells them.
        around: What goes on around a reload, which is told what became of it.

    Raises:
        ValueError: The handle was not loaded from a file.
    """

    def __init__(self, contracts: Contracts, policy: "ReloadPolicy" = "full") -> None:
        origin = contracts.origin
        if origin is None:
            raise ValueError(f"{contracts!r} has no file to follow; load it from a path")
        self.contracts = contracts
        self.policy: ReloadPolicy = policy
        self.is_brief = False
        self.around: Around = _nothing
        self._path = origin.given
        self._seen = origin.content_hash
        self._gone = False
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Reloader of {self._path}, policy {self.policy}>"

    async def run(self) -> None:
        """Follow the file until cancelled. A file that is gone is waited for."""
        async with contextlib.aclosing(hints([self._path])) as chances:
            async for _ in chances:
                (content,) = await settled([self._path], read_file)
                self._notice(gone=content is None)
                if content is not None and _hash(content) != self._seen:
                    _log(Line.SCHEMA_CHANGE_SEEN, source=str(self._path))
                    await self.reload(content)

    def _notice(self, *, gone: bool) -> None:
        if gone and not self._gone:
            version = self.contracts.schema.version
            _log(Line.SCHEMA_GONE, source=str(self._path), schema_version=version)
        self._gone = gone

    async def reload(self, content: bytes | None = None, *, force: bool = False) -> Change:
        """Read the file and apply it if it may be.

        Args:
            content: What the file holds; None to read it.
            force: Apply it whatever it breaks, as long as it is valid.
        """
        async with self._lock:
            began = monotonic()
            with self.around() as tell:
                change = await self._decide(content, force=force)
                change = evolve(change, seconds=monotonic() - began)
                if change.outcome == "applied" and change.current is not None:
                    self.contracts.apply(change.current, self._seen)
                elif change.outcome == "unchanged" and change.current is not None:
                    self.contracts.texts.take(self._seen, change.current)  # other words, such as a comment
                self._log(change, change.seconds)
                tell(change)
            self.contracts.tell(change)
            return change

    async def _decide(self, content: bytes | None, *, force: bool) -> Change:
        previous, source = self.contracts.schema, str(self._path)
        try:
            if content is None:
                content = await aside(read_file, self._path)
            self._seen = _hash(content)
            # Off the loop: libyaml and the checks of a large file take longer than a message may wait.
            current = await aside(parse_text, content, source)
        except ContractError as error:
            return Change("invalid", source, previous, None, None, _first(error.faults))
        except (MyceliumError, OSError, RecursionError) as error:
            return Change("error", source, previous, None, None, (str(error),))
        policy = "none" if force else self.policy
        return await aside(judge, previous, current, policy, source, self.contracts.profile)

    def _log(self, change: Change, seconds: float) -> None:
        line = _LINES.get(change.outcome, Line.SCHEMA_REFUSED)
        reasons = "; ".join(change.reasons)
        _log(
            line,
            more=f": {reasons}" if reasons and not self.is_brief else "",
            error=None if self.is_brief else reasons,
            reason=change.outcome,
            compatibility=self.policy,
            duration_s=round(seconds, 6),
            **change.to_fields(),
        )


def _issue(finding: "Finding") -> dict[str, Any]:
    """A finding in a log line."""
    where = finding.new_location or finding.old_location
    place = {} if where is None else {"line": where.line, "col": where.column}
    return {"rule": finding.rule, "path": finding.path, **place}


def _first(faults: Sequence[Fault]) -> tuple[str, ...]:
    """The faults as lines; of a file that is all wrong the first few say enough."""
    lines = tuple(map(str, faults[:_MOST_REASONS]))
    more = len(faults) - len(lines)
    return (*lines, f"and {more} more faults; `mycelium schema lint` lists them") if more else lines


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
