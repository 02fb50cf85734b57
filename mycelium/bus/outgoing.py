"""What one session sends: answers first, then each subscription's messages in turn; and whether the peer reads it."""

from collections.abc import Callable
from typing import Final, final

from mycelium.bus.limits import Limits
from mycelium.bus.remote import RemoteSubscriptions
from mycelium.bus.remotesubscription import RemoteSubscription
from mycelium.bus.stall import Stall

__all__ = ["Outgoing"]

_WRITE_SIZE: Final = 256 * 1024
"""Bytes that are given to the socket at once."""


@final
class Outgoing:
    """Bytes for the socket of one session.

    Args:
        limits: How far behind the peer may be.
        subscriptions: What is sent when there are no answers.
        lagged: What has to be said of a subscription before its next message.

    Attributes:
        written: Bytes that were given to the socket.
        messages: Messages among them.
    """

    def __init__(
        self, limits: Limits, subscriptions: RemoteSubscriptions, lagged: Callable[[RemoteSubscription], bytes]
    ) -> None:
        self._limits = limits
        self._subscriptions = subscriptions
        self._lagged = lagged
        self._answers = bytearray()
        self.written = self.messages = 0
        self._stall: Stall | None = None

    def __len__(self) -> int:
        """Bytes of answers that wait."""
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<Outgoing, {len(self)} bytes of answers, {self.written} bytes written>"

    def say(self, data: bytes) -> int:
        """Put bytes behind the other answers, and before everything that is queued; how many of answers wait then."""
        self._answers += data
        return len(self._answers)

    def clear(self) -> None:
        """Forget the answers."""
        self._answers.clear()

    def take(self) -> bytes:
        """The next bytes; empty when there is nothing to send now. Whose turn comes then did not get to it yet."""
        pieces: list[bytes] = []
        size = 0
        if self._answers:
            pieces.append(bytes(self._answers))
            size = len(self._answers)
            self._answers.clear()
        subscriptions = self._subscriptions
        turns = subscriptions.turns
        while turns and size < _WRITE_SIZE and (taken := subscriptions.take(_WRITE_SIZE - size)) is not None:
            subscription, batch = taken
            if subscription.outbox.losses.pending:
                pieces.append(self._lagged(subscription))
            pieces.append(batch.to_bytes())
            size += batch.size
            self.messages += len(batch.type_ids)
        output = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.written += len(output)
        if self._stall is not None and not turns:
            self._stall = None
        return output

    def restate(self, taken: int, written: int) -> None:
        """What `take` gave is written in another form.

        Args:
            taken: Bytes that it gave.
            written: Bytes that go to the socket in their place.
        """
        self.written += written - taken

    # --- a socket that takes nothing more for now ---

    def watch(self, now: float, unsent: int) -> str | None:
        """Why the peer has to go; None while it may stay. To be called a few times a second.

        Args:
            now: Seconds of a monotonic clock.
            unsent: Bytes that the socket was given and has not taken.
        """
        sent = self.written - unsent
        if self._stall is None:
            self._stall = Stall(self._limits, now, sent, self.written)
        waiting = unsent + len(self._answers) + self._subscriptions.sendable_bytes
        return self._stall.check(now, sent, self.written, waiting)

    def moves(self) -> None:
        """The socket takes bytes again."""
        if self._stall is not None:
            self._stall.moves()
