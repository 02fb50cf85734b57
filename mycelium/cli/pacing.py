"""Messages at a rate that somebody has asked for."""

from typing import Final, final

__all__ = ["Pacing"]

_CATCH_UP_SECONDS: Final = 0.25


@final
class Pacing:
    """When each message is due, by a plan and not by the one before: what wakes too late goes on at once.

    Who was held up for longer than a quarter of a second does not send all of that in one rush.

    Args:
        rate: Messages a second.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._due: float | None = None

    def __repr__(self) -> str:
        return f"<Pacing of {1 / self._step:g} a second>"

    def delay(self, now: float) -> float:
        """Seconds up to the next message; 0 where it is due, as the first one is.

        Args:
            now: Seconds of a monotonic clock.
        """
        due = now if self._due is None else max(self._due + self._step, now - _CATCH_UP_SECONDS)
        self._due = due
        return max(due - now, 0.0)
