"""How much a client sends before the bridge has answered: a Ping every 256 KiB, at most 1 MiB without its Pong.

So a bridge that says Flow has to take 1 MiB more, and no more than that (reliability, "Lag policies").
"""

from collections import deque
from typing import Final, final

__all__ = ["PING_BYTES", "WINDOW_BYTES", "PongWindow"]

PING_BYTES: Final = 256 * 1024
"""Bytes of messages after which a Ping is sent."""
WINDOW_BYTES: Final = 1024 * 1024
"""Bytes of messages that may be without the Pong of a Ping behind them."""
_FIRST_NONCE: Final = 1 << 63
"""The nonces of these Pings are above those of `flush`; a heartbeat's is 0."""


@final
class PongWindow:
    """Counts what one connection has sent and what is known to have arrived."""

    def __init__(self) -> None:
        self._sent = self._arrived = self._pinged = 0
        self._pings: deque[tuple[int, int]] = deque()
        self._next = _FIRST_NONCE

    def __repr__(self) -> str:
        return f"<PongWindow, {self._sent - self._arrived} bytes without a Pong>"

    def allows(self, size: int) -> bool:
        """Whether so many bytes may be sent. A frame larger than the window goes alone."""
        out = self._sent - self._arrived
        return out + size <= WINDOW_BYTES or out == 0

    def add(self, size: int) -> bool:
        """Count bytes as sent; whether a Ping is due."""
        self._sent += size
        return self._sent - self._pinged >= PING_BYTES

    @property
    def is_unasked(self) -> bool:
        """Whether bytes were sent after the last Ping."""
        return self._sent > self._pinged

    def ping(self) -> int:
        """The nonce of a Ping that is sent now."""
        self._next += 1
        self._pinged = self._sent
        self._pings.append((self._next, self._sent))
        return self._next

    def pong(self, nonce: int) -> bool:
        """A Pong came; whether it was one of these."""
        if nonce < _FIRST_NONCE:
            return False
        while self._pings and self._pings[0][0] <= nonce:
            self._arrived = self._pings.popleft()[1]
        return True
