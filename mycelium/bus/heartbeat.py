"""When to ask whether the peer is alive, and when to stop believing it; a state machine that is told the time."""

from enum import Enum
from typing import Final, final

__all__ = ["DEAD_AFTER", "DEFAULT_HEARTBEAT_MS", "LOOK_SECONDS", "Due", "Heartbeat", "clamp_interval"]

DEFAULT_HEARTBEAT_MS: Final = 10_000
_LEAST_MS: Final = 1_000
_MOST_MS: Final = 300_000
DEAD_AFTER: Final = 3
"""Intervals without a received byte."""
LOOK_SECONDS: Final = 1.0
"""How late `check` may be called where nothing is wrong."""


class Due(Enum):
    """What has to be done now."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"


@final
class Heartbeat:
    """Both sides of a connection run one.

    Args:
        interval: Seconds without traffic in either direction after which a Ping is sent.
        now: Seconds of a monotonic clock.

    Attributes:
        interval: See above.
        due_at: When `check` is to be called, at the latest; before that it has nothing to say.
        heard_at: When bytes came; set by whoever reads them.
        said_at: When bytes went out; set by whoever writes them.
    """

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self.due_at = now + interval
        self.heard_at = self.said_at = self._asked = now

    def __repr__(self) -> str:
        return f"<Heartbeat every {self.interval:g} s>"

    def check(self, now: float) -> Due:
        """What is due; a Ping counts as sent when it is asked for.

        A check that comes more than an interval late was held up on this side, where bytes of the peer may lie unread,
        so the peer gets one interval more.
        """
        interval = self.interval
        if now > self.due_at + interval:
            self.heard_at = max(self.heard_at, now - (DEAD_AFTER - 1) * interval)
        dead_at = self.heard_at + DEAD_AFTER * interval
        if now >= dead_at:
            return Due.DEAD
        found = Due.NOTHING
        if now >= max(min(self.heard_at, self.said_at), self._asked) + interval:
            self._asked = self.said_at = now
            found = Due.PING
        self.due_at = min(max(min(self.heard_at, self.said_at), self._asked) + interval, dead_at)
        return found


def clamp_interval(milliseconds: int | None) -> int:
    """The interval that a bridge agrees to for what a client asked for."""
    if milliseconds is None:
        return DEFAULT_HEARTBEAT_MS
    return min(max(milliseconds, _LEAST_MS), _MOST_MS)
