"""Messages to the handlers and iterators of this process, in the order of their publication."""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.subscription import Done, LocalSubscription
from mycelium.schema.classes import Message

__all__ = ["Dispatcher"]

_Routes: TypeAlias = dict[int, tuple[LocalSubscription, ...]]
_NOBODY: Final[tuple[LocalSubscription, ...]] = ()


@final
class Dispatcher:
    """Type id -> the subscriptions of this process."""

    def __init__(self) -> None:
        self._routes: _Routes = {}
        self.subscriptions: set[LocalSubscription] = set()

    def __repr__(self) -> str:
        return f"<Dispatcher of {len(self.subscriptions)} subscriptions>"

    def add(self, subscription: LocalSubscription) -> None:
        """From now on the subscription gets its messages."""
        self.subscriptions.add(subscription)
        for type_id in subscription.type_ids:
            self._routes[type_id] = (*self._routes.get(type_id, _NOBODY), subscription)

    def remove(self, subscription: LocalSubscription) -> None:
        """From now on it gets none."""
        self.subscriptions.discard(subscription)
        for type_id in subscription.type_ids:
            left = tuple(one for one in self._routes.get(type_id, _NOBODY) if one is not subscription)
            if left:
                self._routes[type_id] = left
            else:
                self._routes.pop(type_id, None)

    def interested(self, type_id: int) -> tuple[LocalSubscription, ...]:
        """The subscriptions to a type."""
        return self._routes.get(type_id, _NOBODY)

    def deliver(self, type_id: int, message: Message, delivery: Delivery, done: Done | None = None) -> None:
        """Offer a message to everybody who subscribed to its type; `done` is called once, when all are done with it."""
        takers = self._routes.get(type_id, _NOBODY)
        if done is not None and len(takers) != 1:
            done = _after(len(takers), done)
        for taker in takers:
            taker.offer(message, delivery, done)


def _after(count: int, done: Done) -> Done | None:
    """A function to be called `count` times; the last call is passed on."""
    if count == 0:
        done()
        return None
    left = count

    def one_more() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done()

    return one_more


@final
class Turnstile:
    """Lets one delivery through at a time: what is published from inside one is queued behind it."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._inside = False

    def run(self, step: Callable[[], None]) -> None:
        """Run a step now, or after the one that is running and those that wait."""
        self._waiting.append(step)
        if self._inside:
            return
        self._inside = True
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:
            self._inside = False
