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
"""How often `check` is called, at the least."""


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
    """

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._heard = self._said = self._asked = self._looked = now

    def __repr__(self) -> str:
        return f"<Heartbeat every {self.interval:g} s>"

    def heard(self, now: float) -> None:
        """Bytes came."""
        self._heard = now

    def said(self, now: float) -> None:
        """Bytes went out."""
        self._said = now

    def check(self, now: float) -> Due:
        """What is due; a Ping counts as sent when it is asked for.

        A check that comes more than an interval late was held up on this side, where bytes of the peer may lie unread,
        so the peer gets one interval more.
        """
        if now - self._looked > LOOK_SECONDS + self.interval:
            self._heard = max(self._heard, now - (DEAD_AFTER - 1) * self.interval)
        self._looked = now
        if now - self._heard >= DEAD_AFTER * self.interval:
            return Due.DEAD
        quiet = max(now - self._heard, now - self._said)
        if quiet >= self.interval and now - self._asked >= self.interval:
            self._asked = self._said = now
            return Due.PING
        return Due.NOTHING


def clamp_interval(milliseconds: int | None) -> int:
    """The interval that a bridge agrees to for what a client asked for."""
    if milliseconds is None:
        return DEFAULT_HEARTBEAT_MS
    return min(max(milliseconds, _LEAST_MS), _MOST_MS)
