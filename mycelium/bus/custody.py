"""Messages that a client has been sent and not given back: how many, and of which types where that is counted."""

from collections import Counter, deque
from typing import TypeAlias, final

from mycelium.bus.meter import UNKNOWN, Tally
from mycelium.wire.buffer import Batch

__all__ = ["Custody"]

_Run: TypeAlias = tuple[int, int] | list[int]
"""Messages in their order: a type and how many of it, or the type of each."""


@final
class Custody:
    """Of one subscription.

    Attributes:
        sent: Messages that the client has been sent.
        returned: Those that it has given back, which means that its handlers are done with them.
    """

    __slots__ = ("_begun", "_runs", "_tally", "returned", "sent")

    _runs: deque[_Run]
    """Of what is out, in the order in which it was sent; where somebody counts by type, or it would be as large as all
    the rest of an idle connection's subscription."""

    def __init__(self) -> None:
        self.sent = self.returned = 0
        self._tally: Tally | None = None
        self._begun = 0
        """Messages of the first run that are not out any more."""

    def __repr__(self) -> str:
        return f"<Custody of {self.out} messages>"

    @property
    def out(self) -> int:
        """Messages that the client has."""
        return self.sent - self.returned

    def count_by_type(self, tally: Tally) -> None:
        """Do so from now on; nobody knows the types of what is out already."""
        self._tally, self._runs = tally, deque()
        if self.out:
            self._runs.append((UNKNOWN, self.out))

    def give(self, batch: Batch, *, for_good: bool) -> None:
        """The client is sent messages; for good where it gives none back."""
        count = len(batch.type_ids)
        self.sent += count
        if self._tally is not None:
            self._runs.append((batch.type_ids[0], count) if count == 1 or batch.is_even else batch.type_ids)
        if for_good:
            self.take_back(count)

    def take_back(self, messages: int) -> None:
        """The client gives back so many, which it has."""
        self.returned += messages
        if self._tally is not None:
            self._move(messages, self._tally.delivered)

    def fail(self, type_id: int) -> None:
        """A message that was just given for good has turned out to be one that cannot be sent."""
        self.sent -= 1
        self.returned -= 1
        if self._tally is not None:
            self._tally.delivered[type_id] -= 1

    def write_off(self) -> "Counter[int]":
        """The client is gone with what it had: how many messages of each type, `UNKNOWN` where that was not counted."""
        lost: Counter[int] = Counter()
        if self._tally is not None:
            self._move(self.out, lost)
        elif self.out:
            lost[UNKNOWN] = self.out
        self.sent = self.returned
        return lost

    def _move(self, messages: int, into: "Counter[int]") -> None:
        """Count so many messages that are out no more, the oldest first."""
        runs = self._runs
        while messages:
            run, start = runs[0], self._begun
            count = run[1] if isinstance(run, tuple) else len(run)
            taken = min(count - start, messages)
            if isinstance(run, tuple):
                into[run[0]] += taken
            else:
                into.update(run if taken == count else run[start : start + taken])
            messages -= taken
            self._begun = start + taken
            if self._begun == count:
                runs.popleft()
                self._begun = 0
