"""Messages that wait under `block` for room in a queue, and what became of them.

What came together waits together: a hold may stand for a run of messages, which are let in as room comes.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Generic, TypeVar, final

from mycelium.bus.lag import DropReason
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Hold", "Holds"]

_log = Log("mycelium.bus")
T = TypeVar("T")


@final
class Hold:
    """A message, or a run of them, that waits for room in one queue.

    Attributes:
        type_ids: Its types.
        deadline: When it is given up, in seconds of a monotonic clock.
        is_decided: Whether it has been taken, or dropped; of a run, whether none waits any more.
        outcome: Why what was left of it was dropped; None while it waits, and when all of it was taken.
        queue: Where it waits.
    """

    __slots__ = ("_drop", "_listeners", "deadline", "is_decided", "outcome", "queue", "type_ids")

    def __init__(
        self,
        queue: "Holds[Any]",
        type_ids: AbstractSet[int],
        deadline: float,
        drop: Callable[["Hold", DropReason], None],
    ) -> None:
        self.queue = queue
        self.type_ids = type_ids
        self.deadline = deadline
        self.is_decided = False
        self.outcome: DropReason | None = None
        self._drop = drop
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Hold of types {sorted(self.type_ids)}, {'decided' if self.is_decided else 'waiting'}>"

    def when_decided(self, listener: Callable[[], None]) -> None:
        """Have a function called when it is taken or dropped; at once if it is already."""
        if self.is_decided:
            listener()
        else:
            self._listeners.append(listener)

    def decide(self, outcome: DropReason | None = None) -> None:
        """It has been taken (None), or dropped."""
        self.is_decided, self.outcome = True, outcome
        listeners, self._listeners = self._listeners, []
        _call(listeners)

    def give_up(self, reason: DropReason = DropReason.BLOCK_TIMEOUT) -> None:
        """Wait no longer, unless it is decided already."""
        if not self.is_decided:
            self._drop(self, reason)
            self.decide(reason)


@final
class Holds(Generic[T]):
    """What waits for one queue, first come first served.

    Attributes:
        waiting: The messages.
        listeners: Who waits for a queue that is half empty.
    """

    def __init__(self) -> None:
        self.waiting: OrderedDict[Hold, T] = OrderedDict()
        self.listeners: dict[Callable[[], None], None] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def __iter__(self) -> Iterator[T]:
        return iter(self.waiting.values())

    def __repr__(self) -> str:
        return f"<Holds, {len(self)} waiting>"

    def add(
        self, type_ids: AbstractSet[int], deadline: float, item: T, drop: Callable[[Hold, DropReason, T], None]
    ) -> Hold:
        """Have messages wait; `drop` is called if they are given up."""

        def dropped(hold: Hold, reason: DropReason) -> None:
            del self.waiting[hold]
            drop(hold, reason, item)

        hold = Hold(self, type_ids, deadline, dropped)
        self.waiting[hold] = item
        return hold

    @property
    def first(self) -> T:
        """What has waited longest."""
        return next(iter(self.waiting.values()))

    def take(self) -> tuple[Hold, T]:
        """The same, to be let in; whoever takes it decides it."""
        return self.waiting.popitem(last=False)

    def expire(self, now: float) -> None:
        """Give up those whose time is over."""
        self._give_up([hold for hold in self.waiting if hold.deadline <= now], DropReason.BLOCK_TIMEOUT)

    def give_up_all(self, reason: DropReason, which: Callable[[T], bool] = lambda _: True) -> None:
        """Give up every one, or some."""
        self._give_up([hold for hold, item in self.waiting.items() if which(item)], reason)

    def when_low(self, listener: Callable[[], None]) -> None:
        """Have a function called once, when the queue is half empty: so much room is worth asking for more."""
        self.listeners[listener] = None

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self.listeners.pop(listener, None)

    def look(self, queued: int, limit: int) -> None:
        """Call those who wait for a queue that is half empty, if it is."""
        if self.listeners and queued <= limit // 2:
            listeners, self.listeners = self.listeners, {}
            _call(listeners)

    def _give_up(self, holds: list[Hold], reason: DropReason) -> None:
        for hold in holds:
            hold.give_up(reason)


def _call(listeners: Iterable[Callable[[], None]]) -> None:
    """Tell publishers; a fault of one is neither the subscriber's nor another publisher's."""
    for listener in listeners:
        try:
            listener()
        except Exception as error:  # noqa: BLE001  the queue goes on
            _log(Line.FAULT, caused_by=error, problem="a publisher could not be told of a queue that was full")
