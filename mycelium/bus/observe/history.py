"""What became of the edits of a contracts file since somebody looks."""

import time
import weakref
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Self, final

from attrs import frozen

from mycelium.bus.histogram import Histogram
from mycelium.bus.reload import Change
from mycelium.handle import Contracts

if TYPE_CHECKING:
    from mycelium.schema.registry import Registry
    from mycelium.wire.codec import Codec

__all__ = ["History", "Note", "Reload"]

_KEPT: Final = 100
_MOST_FINDINGS: Final = 50
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@frozen
class Note:
    """A finding of the check, without what it was made from."""

    rule: str
    severity: str
    subject: str
    message: str
    hint: str


@frozen
class Reload:
    """One edit, or one reading of the file; it keeps no schema alive.

    Attributes:
        at: When it was decided, in seconds since the epoch.
        outcome: As in `Change`.
        source: The file.
        seconds: How long it took.
        previous: Version and digest of what was in force.
        current: The same of the edit; None where it could not be read.
        reasons: Why it is not applied, a line each.
        findings: The first fifty, the worst first.
        more: How many more there were.
    """

    at: float
    outcome: str
    source: str
    seconds: float
    previous: tuple[int, str]
    current: tuple[int, str] | None
    reasons: tuple[str, ...]
    findings: tuple[Note, ...]
    more: int

    @classmethod
    def of(cls, change: Change, at: float) -> Self:
        """What is kept of a change."""
        previous, current = change.previous, change.current
        issues = () if change.report is None else change.report.issues
        notes = (
            Note(one.rule, one.severity, one.subject or one.path, one.message, one.hint)
            for one in issues[:_MOST_FINDINGS]
        )
        return cls(
            at,
            change.outcome,
            change.source,
            change.seconds,
            previous=(previous.version, previous.digest),
            current=None if current is None else (current.version, current.digest),
            reasons=change.reasons,
            findings=tuple(notes),
            more=max(len(issues) - _MOST_FINDINGS, 0),
        )


@final
class History:
    """Of one handle.

    Args:
        contracts: See above.

    Attributes:
        reloads: The last hundred, the newest last.
        outcomes: How many there were of each outcome.
        seconds: How long they took.
        is_good: Whether what the file says is in force, as far as it was read.
        good_at: When it last was, in seconds since the epoch.
    """

    def __init__(self, contracts: Contracts) -> None:
        self.reloads: deque[Reload] = deque(maxlen=_KEPT)
        self.outcomes: Counter[str] = Counter()
        self.seconds = Histogram(_SECONDS)
        self.is_good = True
        self.good_at = time.time()
        self._contracts = contracts
        self._generations: weakref.WeakSet[Registry[Codec]] = weakref.WeakSet((contracts.registry,))
        reference = weakref.ref(self)  # a handle lives longer than those who look at it

        def on_change(change: Change) -> None:
            history = reference()
            if history is not None:
                history.add(change)

        weakref.finalize(self, contracts.on_change(on_change))

    def __repr__(self) -> str:
        return f"<History of {self.outcomes.total()} reloads>"

    def add(self, change: Change) -> None:
        """The file was read again."""
        now = time.time()
        self.reloads.append(Reload.of(change, now))
        self.outcomes[change.outcome] += 1
        self.seconds.observe(change.seconds)
        self.is_good = not change.refused
        if self.is_good:
            self.good_at = now
        self._generations.add(self._contracts.registry)

    @property
    def generations(self) -> int:
        """Of the contracts, that somebody still holds."""
        return len(self._generations)
