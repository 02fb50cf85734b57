"""Which types one client is asked not to publish for now, and how much of what it has sent waits for room."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import Any, Final, Protocol, final

from mycelium.bus.holds import Hold, Holds

__all__ = ["HELD_BYTES", "FlowControl"]

HELD_BYTES: Final = 1024 * 1024
"""Of what a client sent before it read the Flow so much is still taken."""


class SayFlow(Protocol):
    """Tells a client that a type is paused, or goes on."""

    def __call__(self, type_id: int, *, paused: bool) -> None:
        """Say it."""


class Counters(Protocol):
    """Where the time is counted: `Traffic`."""

    blocked_seconds: float


class _Pause:
    """A type that is paused.

    Attributes:
        since: Seconds.
        full: The queues that have to be half empty again, and what they call then.
    """

    __slots__ = ("full", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.full: dict[Holds[object], Callable[[], None]] = {}


@final
class FlowControl:
    """Of one session.

    Args:
        say: Tells the client that a type is paused, or goes on.
        counters: Where the time is counted for which types are paused.
        clock: Seconds of a monotonic clock.

    Attributes:
        held_bytes: Bytes of frames that wait for room.
    """

    def __init__(self, say: SayFlow, counters: Counters, clock: Callable[[], float] = monotonic) -> None:
        self.held_bytes = 0
        self._say = say
        self._counters = counters
        self._clock = clock
        self._paused: dict[int, _Pause] = {}
        self._holds: dict[Hold, None] = {}
        self._ended = False

    def __repr__(self) -> str:
        return f"<FlowControl, {sorted(self._paused)} paused, {self.held_bytes} bytes held>"

    @property
    def holding(self) -> bool:
        """Whether frames wait for room."""
        return bool(self._holds)

    def wait(self, holds: Sequence[Hold], size: int, decided: Callable[[], None]) -> None:
        """Frames wait for room in some queues: their types are paused until these are half empty.

        Args:
            holds: One for each queue.
            size: Bytes of the frames; however many queues they wait for, they count once.
            decided: Called when none of them waits any more.
        """
        self.held_bytes += size
        left = len(holds)

        def one_decided(hold: Hold) -> None:
            nonlocal left
            del self._holds[hold]
            left -= 1
            if not left:
                self.held_bytes -= size
                decided()

        for hold in holds:
            self._holds[hold] = None
            hold.when_decided(partial(one_decided, hold))
            if not self._ended:
                for type_id in hold.type_ids:
                    self._pause(type_id, hold.queue)

    def expire(self, now: float) -> None:
        """Give up frames that have waited for too long; those that came first do so first."""
        for hold in list(takewhile(lambda one: one.deadline <= now, self._holds)):
            hold.give_up()

    def end(self) -> None:
        """The client is gone, and nobody is to be told any more; what it has sent goes on waiting."""
        self._ended = True
        for pause in self._paused.values():
            for queue, listener in pause.full.items():
                queue.forget(listener)
        self._paused.clear()

    def _pause(self, type_id: int, queue: Holds[Any]) -> None:
        pause = self._paused.get(type_id)
        if pause is None:
            pause = self._paused[type_id] = _Pause(self._clock())
            self._say(type_id, paused=True)
        if queue not in pause.full:
            pause.full[queue] = listener = partial(self._low, type_id, queue)
            queue.when_low(listener)

    def _low(self, type_id: int, queue: Holds[object]) -> None:
        pause = self._paused[type_id]
        del pause.full[queue]
        if not pause.full:
            del self._paused[type_id]
            self._counters.blocked_seconds += self._clock() - pause.since
            self._say(type_id, paused=False)
