"""How long to wait before the next attempt to connect: exponential, with full jitter."""

from collections.abc import Callable
from typing import Final, final

__all__ = ["Backoff"]

_FIRST_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 10.0


@final
class Backoff:
    """Delays between attempts: a random part of a ceiling that doubles from 100 ms up to 10 s.

    The whole ceiling is drawn from ("full jitter"), so that not all clients of a bridge come back at once.

    Args:
        random: Gives a number from 0 up to 1.
        give_up_after: Seconds after which there is no other attempt; None for never.

    Attributes:
        attempt: Number of delays that were given since the last success.
    """

    def __init__(self, random: Callable[[], float], give_up_after: float | None = None) -> None:
        self.attempt = 0
        self._random = random
        self._give_up_after = give_up_after
        self._ceiling = 0.0
        self._since: float | None = None
        self._joined = 0.0

    def __repr__(self) -> str:
        return f"<Backoff, {self.attempt} attempts, up to {self._ceiling:g} s>"

    def delay(self, now: float) -> float | None:
        """Seconds until the next attempt; None where it is not worth another.

        Args:
            now: Seconds of a monotonic clock.
        """
        if self._since is None:
            self._since = now
        self._ceiling = min(max(2 * self._ceiling, _FIRST_SECONDS), _MOST_SECONDS)
        delay = self._random() * self._ceiling
        if self._give_up_after is not None:
            left = self._since + self._give_up_after - now
            if left <= 0:
                return None
            delay = min(delay, left)
        self.attempt += 1
        return delay

    def joined(self, now: float) -> None:
        """An attempt has succeeded."""
        self.attempt = 0
        self._since = None
        self._joined = now

    def lost(self, now: float) -> None:
        """The connection is gone. One that did not last as long as the last delay might have does not count.

        Else a bridge that lets everybody in and falls over at once would be asked without a pause.
        """
        if now - self._joined >= self._ceiling:
            self._ceiling = 0.0
