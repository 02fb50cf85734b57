"""What was just sent to a bus that sends everything to everybody, so that it is known again when it comes back."""

from typing import Final, final

__all__ = ["RecentFrames"]

_MOST: Final = 65_536
"""Frames of one half."""
_SECONDS: Final = 15.0
"""How long a half is added to."""


@final
class RecentFrames:
    """Frames of this side that have not come back yet, by what Python's `hash` says of their bytes.

    Each frame that was sent is known again once. They are kept in two halves, of which the older one is forgotten as a
    whole: what has not come back within 15 to 30 s, or before that many others were sent, is let through like a frame
    of somebody else.
    """

    def __init__(self) -> None:
        self._newer: dict[int, int] = {}
        """How many frames with a hash are out."""
        self._older: dict[int, int] = {}
        self._added = 0
        """Frames of the newer half."""
        self._since = 0.0

    def __len__(self) -> int:
        return sum(self._newer.values()) + sum(self._older.values())

    def __repr__(self) -> str:
        return f"<RecentFrames, {len(self)} out>"

    def add(self, frame: bytes, now: float) -> None:
        """A frame is sent.

        Args:
            frame: Its bytes.
            now: Seconds of a monotonic clock.
        """
        self._turn(now)
        key = hash(frame)
        self._newer[key] = self._newer.get(key, 0) + 1
        self._added += 1

    def take(self, frame: bytes, now: float) -> bool:
        """Whether a frame that came is one of those; it is known again only once."""
        self._turn(now)
        key = hash(frame)
        for half in (self._older, self._newer):
            if key in half:
                half[key] -= 1
                if not half[key]:
                    del half[key]
                return True
        return False

    def _turn(self, now: float) -> None:
        if now - self._since >= _SECONDS or self._added >= _MOST:
            self._older = self._newer if now - self._since < 2 * _SECONDS else {}
            self._newer = {}
            self._added = 0
            self._since = now
