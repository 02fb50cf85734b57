"""Messages to the handlers and iterators of this process, in the order of their publication."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.subscription import Done, LocalSubscription, calling_subscription
from mycelium.schema.classes import Message

__all__ = ["Dispatcher", "Turnstile"]

_log = logging.getLogger("mycelium.bus")
_Routes: TypeAlias = dict[int, tuple[LocalSubscription, ...]]
_NOBODY: Final[tuple[LocalSubscription, ...]] = ()


@final
class Dispatcher:
    """Type id -> the subscriptions of this process.

    Attributes:
        subscriptions: Those that have not ended.
    """

    def __init__(self) -> None:
        self.subscriptions: set[LocalSubscription] = set()
        self._routes: _Routes = {}
        self._finishing: set[LocalSubscription] = set()
        """Ended, but with a message in the handler."""

    def __repr__(self) -> str:
        return f"<Dispatcher of {len(self.subscriptions)} subscriptions>"

    def add(self, subscription: LocalSubscription) -> None:
        """From now on the subscription gets its messages."""
        self.subscriptions.add(subscription)
        for type_id in subscription.type_ids:
            self._routes[type_id] = (*self._routes.get(type_id, _NOBODY), subscription)

    def extend(self, subscription: LocalSubscription, type_ids: frozenset[int]) -> None:
        """From now on it gets messages of these types too."""
        for type_id in type_ids - subscription.type_ids:
            self._routes[type_id] = (*self._routes.get(type_id, _NOBODY), subscription)
        subscription.type_ids |= type_ids

    def remove(self, subscription: LocalSubscription) -> None:
        """From now on it gets none."""
        self.subscriptions.discard(subscription)
        self._finishing = {one for one in (*self._finishing, subscription) if one.busy}
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

    def missed(self, type_id: int, reason: str, count: int) -> None:
        """Tell everybody who subscribed to a type that messages of it were dropped before they came here."""
        for taker in self.interested(type_id):
            taker.missed(reason, count)

    # --- the end ---

    @property
    def is_calling(self) -> bool:
        """Whether this is run from inside an async handler of one of these subscriptions."""
        caller = calling_subscription()
        return caller in self.subscriptions or caller in self._finishing

    def excuse_caller(self) -> None:
        """Let the end go on without the handler that asks for it."""
        caller = calling_subscription()
        if caller is not None and self.is_calling:
            caller.excuse()

    async def idle(self) -> None:
        """Wait until no handler has anything left; those may hand each other more meanwhile."""
        while busy := [one for one in (*self.subscriptions, *self._finishing) if one.busy]:
            await busy[0].idle()

    def close(self) -> None:
        """End every subscription."""
        for each in list(self.subscriptions):
            each.close()

    async def end(self) -> None:
        """End every subscription and cancel the handlers that still run, but for those that wait for this."""
        self.close()
        stopping = [asyncio.ensure_future(each.stop()) for each in self._finishing if not each.excused]
        if stopping:
            await asyncio.wait(stopping)
        self._finishing.clear()


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
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._inside = False

    def __repr__(self) -> str:
        return f"<Turnstile {'busy' if self._inside else 'free'}, {len(self._waiting)} waiting>"

    def run(self, step: Callable[..., None], *args: Any) -> None:
        """Run a step now, or after the one that is running and those that wait."""
        if self._inside:
            self._waiting.append((step, args))
            return
        self._inside = True
        try:
            step(*args)
        finally:
            try:
                self._run_waiting()
            finally:
                self._inside = False

    def _run_waiting(self) -> None:
        while self._waiting:
            step, args = self._waiting.popleft()
            try:
                step(*args)
            except Exception:  # noqa: BLE001  whoever published it has gone on, and the others must not suffer
                _log.exception("what was published from inside a delivery could not be delivered")
