"""Which types one client is asked not to publish for now, and how much of what it has sent waits for room."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, final

from mycelium.bus.holds import Hold, Holds

__all__ = ["HELD_BYTES", "FlowControl"]

HELD_BYTES: Final = 1024 * 1024
"""Of what a client sent before it read the Flow so much is still taken."""


class SayFlow(Protocol):
    """Tells a client that a type is paused, or goes on."""

    def __call__(self, type_id: int, *, paused: bool) -> None:
        """Say it."""


@final
class FlowControl:
    """Of one session.

    Args:
        say: Tells the client that a type is paused, or goes on.

    Attributes:
        held_bytes: Bytes of frames that wait for room.
        blocked_seconds: How long types have been paused, all together.
    """

    def __init__(self, say: SayFlow) -> None:
        self.held_bytes = 0
        self.blocked_seconds = 0.0
        self._say = say
        self._full: dict[int, set[Holds[object]]] = {}
        """Paused types, and the queues that have to be half empty again."""
        self._since: dict[int, float] = {}
        self._holds: dict[Hold, int] = {}

    def __repr__(self) -> str:
        return f"<FlowControl, {sorted(self._full)} paused, {self.held_bytes} bytes held>"

    @property
    def holding(self) -> bool:
        """Whether frames wait for room."""
        return bool(self._holds)

    def hold(self, hold: Hold, size: int, now: Callable[[], float]) -> None:
        """A frame waits for room: its type is paused until the queue is half empty."""
        self._holds[hold] = size
        self.held_bytes += size
        hold.when_decided(partial(self._decided, hold))
        type_id = hold.type_id
        if type_id not in self._full:
            self._full[type_id] = set()
            self._since[type_id] = now()
            self._say(type_id, paused=True)
        if hold.queue not in self._full[type_id]:
            self._full[type_id].add(hold.queue)
            hold.queue.when_low(partial(self._low, type_id, hold.queue, now))

    def expire(self, now: float) -> None:
        """Give up frames that have waited for too long."""
        for hold in [one for one in self._holds if one.deadline <= now]:
            hold.give_up()

    def _decided(self, hold: Hold) -> None:
        self.held_bytes -= self._holds.pop(hold)

    def _low(self, type_id: int, queue: Holds[object], now: Callable[[], float]) -> None:
        queues = self._full[type_id]
        queues.discard(queue)
        if not queues:
            del self._full[type_id]
            self.blocked_seconds += now() - self._since.pop(type_id)
            self._say(type_id, paused=False)
