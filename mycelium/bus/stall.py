"""When a peer that does not read has to go (reliability, 2.4); a state machine that is told the time."""

from typing import final

from mycelium.bus.limits import Limits

__all__ = ["Stall"]


@final
class Stall:
    """Watches one connection from the moment on that its socket takes nothing more until nothing waits for it.

    Args:
        limits: What a bridge puts up with.
        now: Seconds of a monotonic clock.
        sent: Bytes that the kernel has taken so far.
        written: Bytes that were given to the socket so far.
    """

    def __init__(self, limits: Limits, now: float, sent: int, written: int) -> None:
        self._limits = limits
        self._sent, self._sent_at = sent, now
        self._mark, self._mark_at = written, now
        """A byte that was the last one at that time; when it is out, there is another one."""
        self._many_since: float | None = None
        self._moved = False

    def __repr__(self) -> str:
        return f"<Stall, {self._sent} bytes sent>"

    def moves(self) -> None:
        """The socket has taken what it had; how much waits for the peer is another matter, and goes on counting."""
        self._moved = True

    def check(self, now: float, sent: int, written: int, waiting: int) -> str | None:
        """Why the peer has to go; None while it may stay.

        Args:
            now: Seconds.
            sent: Bytes that the kernel has taken.
            written: Bytes that were given to the socket.
            waiting: Bytes that only the peer keeps from being sent, those that were written included.
        """
        limits = self._limits
        if sent != self._sent or self._moved:
            self._sent, self._sent_at = sent, now
        if sent >= self._mark or self._moved:
            self._mark, self._mark_at = written, now
        self._moved = False
        if waiting <= limits.outbound_soft_bytes:
            self._many_since = None
        elif self._many_since is None:
            self._many_since = now
        if waiting > limits.outbound_bytes:
            return f"{waiting} bytes wait for it, over {limits.outbound_bytes}"
        if self._many_since is not None and now - self._many_since >= limits.outbound_soft_seconds:
            return f"over {limits.outbound_soft_bytes} bytes have waited for it for {limits.outbound_soft_seconds:g} s"
        if now - self._sent_at >= limits.stall_seconds:
            return f"it has read nothing for {limits.stall_seconds:g} s"
        if now - self._mark_at >= limits.unsent_seconds:
            return f"the oldest unsent byte is {limits.unsent_seconds:g} s old"
        return None
