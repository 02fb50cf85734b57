"""Messages that waited too long to be sent, looked for now and then."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.sendbuffer import SendBuffer

__all__ = ["Expiry"]

_LOOK_SECONDS: Final = 1.0
"""How much longer a message may wait than its time while there is no connection: one look, and one event, for many."""


@final
class Expiry:
    """Of one send buffer.

    Args:
        buffer: See above.
        on_expired: Told how many messages are dropped that were never sent.
        on_look: Called after each look.
    """

    def __init__(self, buffer: SendBuffer, on_expired: Callable[[int], object], on_look: Callable[[], object]) -> None:
        self._buffer = buffer
        self._on_expired = on_expired
        self._on_look = on_look
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Expiry of {self._buffer!r}>"

    def arm(self) -> None:
        """Look again when the oldest message has waited for too long."""
        oldest = self._buffer.oldest
        if self._timer is None and oldest is not None:
            delay = max(oldest - time.monotonic(), 0) + _LOOK_SECONDS
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def tell(self, drop: Callable[[], None]) -> None:
        """Do what drops messages, and tell how many."""
        before = self._buffer.expired
        drop()
        if self._buffer.expired > before:
            self._on_expired(self._buffer.expired - before)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self.tell(self._buffer.expire)
        self._on_look()
        self.arm()
