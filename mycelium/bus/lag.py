"""What happens to a subscription whose queue is full: policies and reasons, by their numbers on the wire."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from mycelium.bus.errors import UsageError
from mycelium.wire.errors import ErrorCode

__all__ = ["REASON_CODES", "REFUSALS", "REPORTED", "DropReason", "Lag"]


class Lag(IntEnum):
    """Lag policies by their number in Subscribe; the names in lower case are what users write."""

    DROP_OLDEST = 0
    """The head of the queue makes room."""
    DROP_NEWEST = 1
    """The new message is dropped."""
    LATEST = 2
    """At any time at most one message of a type, or of a key, waits: a newer one takes its place."""
    BLOCK = 3
    """The publisher waits for room."""
    REJECT = 4
    """The publisher is refused."""
    DISCONNECT = 5
    """The subscriber is sent away."""

    @property
    def word(self) -> str:
        """What users write."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Lag":
        """The policy of a word.

        Raises:
            UsageError: There is none.
        """
        found = _BY_WORD.get(word)
        if found is None:
            raise UsageError(f"no lag policy {word!r}; there are {', '.join(_BY_WORD)}")
        return found


_BY_WORD: Final[Mapping[str, Lag]] = MappingProxyType({one.word: one for one in Lag})


class DropReason(IntEnum):
    """Why messages were dropped, by the number in Lagged; the names in lower case are the reasons in counters."""

    DROPPED_OLDEST = 0
    DROPPED_NEWEST = 1
    CONFLATED = 2
    REJECTED = 3
    BLOCK_TIMEOUT = 4
    MEMORY = 5
    DENIED = 6
    SCHEMA = 7
    DISCONNECTED = 8
    SHUTDOWN_DEADLINE = 9
    EXPIRED = 10

    @classmethod
    def _missing_(cls, value: object) -> "DropReason | None":
        """A reason of a newer bridge: its number has to do."""
        if not isinstance(value, int):
            return None
        made = int.__new__(cls, value)
        made._name_, made._value_ = f"REASON_{value}", value
        return made

    @property
    def reason(self) -> str:
        """The name in counters."""
        return self.name.lower()


REFUSALS: Final[Mapping[Lag, DropReason]] = MappingProxyType(
    {
        Lag.DROP_NEWEST: DropReason.DROPPED_NEWEST,
        Lag.REJECT: DropReason.REJECTED,
        Lag.DISCONNECT: DropReason.DISCONNECTED,
    }
)
"""Policies that do not take a new message when the queue is full, and why it is dropped; the others make it wait, or
make room for it."""

REPORTED: Final = frozenset(
    one.reason for one in (DropReason.DROPPED_OLDEST, DropReason.DROPPED_NEWEST, DropReason.MEMORY)
)
"""Reasons that a subscriber is told of by a Gap; of others the publisher was told, or nothing is missing."""

REASON_CODES: Final[Mapping[DropReason, ErrorCode]] = MappingProxyType(
    {DropReason.REJECTED: ErrorCode.QUEUE_FULL, DropReason.BLOCK_TIMEOUT: ErrorCode.BACKPRESSURE_TIMEOUT}
)
"""What the publisher is told of a message that was not taken; of others it is not."""
