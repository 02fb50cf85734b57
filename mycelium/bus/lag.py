"""What happens to a subscription whose queue is full: policies and reasons, by their numbers on the wire."""

from enum import IntEnum

__all__ = ["DropReason", "Lag"]


class Lag(IntEnum):
    """Lag policies by their number in Subscribe."""

    DROP_OLDEST = 0
    DROP_NEWEST = 1
    LATEST = 2
    BLOCK = 3
    REJECT = 4
    DISCONNECT = 5


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

    @property
    def reason(self) -> str:
        """The name in counters."""
        return self.name.lower()
