"""From an edited file to the schema in force: read, check, swap; on any failure what was in force goes on.

The decision is `judge`, which is pure. `Reloader` does the reading, and follows the file.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import field, frozen

from mycelium.bus.aside import aside
from mycelium.bus.filewatch import hints, settled
from mycelium.contractfile import read_file
from mycelium.errors import MyceliumError
from mycelium.events import Event, SchemaChanged, SchemaRefused
from mycelium.handle import Contracts
from mycelium.schema.errors import ContractError, Fault
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_text

if TYPE_CHECKING:
    from mycelium.schema.compat.findings import Finding
    from mycelium.schema.compat.reloading import ReloadPolicy
    from mycelium.schema.compat.report import Report

__all__ = ["Change", "Outcome", "Reloader", "judge"]

_log = logging.getLogger("mycelium.reload")
_file_log = logging.getLogger("mycelium.contracts")
_MOST_REASONS: Final = 20

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
    """

    outcome: Outcome
    source: str
    previous: Schema = field(repr=False)
    current: Schema | None = field(default=None, repr=False)
    report: "Report | None" = field(default=None, repr=False)
    reasons: tuple[str, ...] = ()
    objections: "tuple[Finding, ...]" = field(default=(), repr=False)

    @property
    def refused(self) -> bool:
        """Whether what was in force goes on although the file says something else."""
        return self.outcome in ("incompatible", "invalid", "error")

    @property
    def event(self) -> Event | None:
        """The event that tells of it; none where nothing changed."""
        if self.outcome == "unchanged":
            return None
        if self.refused or self.current is None:
            return SchemaRefused(self.source, self.outcome, self.reasons, self.report)
        return SchemaChanged(self.source, self.current.version, self.previous.digest, self.current.digest, self.report)


def judge(previous: Schema, current: Schema, policy: "ReloadPolicy", source: str) -> Change:
    """Whether an edited schema may take the place of the one in force."""
    from mycelium.compat import prover
    from mycelium.schema.compat.reloading import refusals
    from mycelium.schema.compat.report import examine

    report = examine(previous, current, prover=prover(previous, current))
    refused = refusals(report, policy)
    if refused:
        reasons = tuple(f"{one.rule} {one.subject or one.path}: {one.message}" for one in refused)
        return Change("incompatible", source, previous, current, report, reasons, refused)
    if not report.issues and previous == current:
        return Change("unchanged", source, previous, current, report)
    return Change("applied", source, previous, current, report)


@final
class Reloader:
    """Follows the file of a handle.

    Args:
        contracts: A handle that was loaded from a file.
        policy: What an edit must keep.

    Raises:
        ValueError: The handle was not loaded from a file.
    """

    def __init__(self, contracts: Contracts, policy: "ReloadPolicy" = "full") -> None:
        origin = contracts.origin
        if origin is None:
            raise ValueError(f"{contracts!r} has no file to follow; load it from a path")
        self.contracts = contracts
        self.policy: ReloadPolicy = policy
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
                    await self.reload(content)

    def _notice(self, *, gone: bool) -> None:
        if gone and not self._gone:
            version = self.contracts.schema.version
            _file_log.warning("%s is gone; version %d goes on until it is back", self._path, version)
        self._gone = gone

    async def reload(self, content: bytes | None = None, *, force: bool = False) -> Change:
        """Read the file and apply it if it may be.

        Args:
            content: What the file holds; None to read it.
            force: Apply it whatever it breaks, as long as it is valid.
        """
        async with self._lock:
            change = await self._decide(content, force=force)
            if change.outcome == "applied" and change.current is not None:
                self.contracts.apply(change.current)
            self._log(change)
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
        return await aside(judge, previous, current, "none" if force else self.policy, source)

    def _log(self, change: Change) -> None:
        if change.refused:
            _log.warning("%s is not applied (%s): %s", change.source, change.outcome, "; ".join(change.reasons))
        elif change.outcome == "applied" and change.current is not None:
            _log.info("%s: version %d is in force", change.source, change.current.version)


def _first(faults: Sequence[Fault]) -> tuple[str, ...]:
    """The faults as lines; of a file that is all wrong the first few say enough."""
    lines = tuple(map(str, faults[:_MOST_REASONS]))
    more = len(faults) - len(lines)
    return (*lines, f"and {more} more faults; `mycelium schema lint` lists them") if more else lines


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
