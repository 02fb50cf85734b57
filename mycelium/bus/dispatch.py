"""Messages to the handlers and iterators of this process, in the order of their publication."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, final

from mycelium.bus.calling import calling_subscription
from mycelium.bus.delivery import Delivery
from mycelium.bus.groups import Groups
from mycelium.bus.holds import Hold
from mycelium.bus.lag import DropReason
from mycelium.bus.localqueue import Done
from mycelium.bus.meter import UNKNOWN, Tally
from mycelium.bus.stats import SubscriptionStats, Totals
from mycelium.bus.subscription import LocalSubscription
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message

__all__ = ["Dispatcher", "Turnstile", "after"]

_log = Log("mycelium.bus")
_Routes: TypeAlias = dict[int, tuple[LocalSubscription, ...]]
_NOBODY: Final[tuple[LocalSubscription, ...]] = ()


@final
class Dispatcher:
    """Type id -> the subscriptions of this process.

    Args:
        groups: Where those that share their messages are entered; whoever routes asks there whose turn it is.
        on_change: Called when somebody may be offered other messages than before.

    Attributes:
        subscriptions: Those that have not ended, in the order in which they began.
    """

    def __init__(self, groups: Groups[Any], on_change: Callable[[], object] = lambda: None) -> None:
        self.subscriptions: dict[LocalSubscription, None] = {}
        self._groups = groups
        self._on_change = on_change
        self._routes: _Routes = {}
        self._curious: set[int] = set()
        """Types with a handler that takes a Delivery."""
        self._echoless = False
        """Whether somebody leaves out what is published here."""
        self._ended = Totals()
        self._finishing: dict[LocalSubscription, None] = {}
        """Ended, but with a message in the handler."""
        self._tally: Tally | None = None

    def __repr__(self) -> str:
        return f"<Dispatcher of {len(self.subscriptions)} subscriptions>"

    def add(self, subscription: LocalSubscription) -> None:
        """From now on the subscription gets its messages."""
        self.prepare(subscription)
        self.subscriptions[subscription] = None
        self._enter(subscription, subscription.type_ids)

    def prepare(self, subscription: LocalSubscription) -> None:
        """It may be given messages from now on, of which some come before it is added."""
        if self._tally is not None:
            _count_by_type(subscription, self._tally)

    def extend(self, subscription: LocalSubscription, type_ids: frozenset[int]) -> None:
        """From now on it gets messages of these types too."""
        new = type_ids - subscription.type_ids
        subscription.type_ids |= type_ids
        self._enter(subscription, new)

    def remove(self, subscription: LocalSubscription) -> None:
        """From now on it gets none."""
        self._on_change()
        self.subscriptions.pop(subscription, None)
        self._let_finish(subscription)
        if subscription.group is not None:
            self._groups.remove(subscription)
            return
        for type_id in subscription.type_ids:
            left = tuple(one for one in self._routes.get(type_id, _NOBODY) if one is not subscription)
            if left:
                self._routes[type_id] = left
            else:
                self._routes.pop(type_id, None)

    def count_by_type(self, tally: Tally) -> None:
        """Do so from now on."""
        self._tally = tally
        for one in (*self.subscriptions, *self._finishing):
            _count_by_type(one, tally)

    def takers(self, type_id: int) -> tuple[LocalSubscription, ...]:
        """The subscriptions to a type, but for those of groups."""
        return self._routes.get(type_id, _NOBODY)

    def is_curious(self, type_id: int) -> bool:
        """Whether somebody wants to know more of a message of the type than its fields."""
        return type_id in self._curious

    def interested(self, type_id: int) -> list[LocalSubscription]:
        """All subscriptions to a type."""
        return [one for one in self.subscriptions if one.wants(type_id)]

    def deliver(
        self,
        type_id: int,
        message: Message,
        delivery: Delivery,
        done: Done | None = None,
        deadline: float | None = None,
    ) -> list[DropReason | Hold]:
        """Offer a message to everybody who subscribed to its type.

        Args:
            type_id: Its type.
            message: The message.
            delivery: Its context.
            done: Called once, when all are done with it.
            deadline: Until when its publisher waits for room under `block`; None for one that does not wait.

        Returns:
            Of the subscriptions that have not taken it what became of it.
        """
        takers = self._routes.get(type_id, _NOBODY)
        if done is not None and len(takers) != 1:
            done = after(len(takers), done)
        troubles = []
        for taker in takers:
            outcome = taker.offer(message, delivery, done, deadline)
            if outcome is not None:
                troubles.append(outcome)
        return troubles

    def offer(
        self, type_id: int, message: Message, delivery: Delivery, deadline: float | None
    ) -> tuple[int, list[DropReason | Hold]]:
        """Offer a message that is published here; how many it fits, and what became of it where it was not taken."""
        takers = self.offered(type_id)
        troubles = []
        for taker in takers:
            outcome = taker.offer(message, delivery, None, deadline)
            if outcome is not None:
                troubles.append(outcome)
        return len(takers), troubles

    def offered(self, type_id: int) -> tuple[LocalSubscription, ...]:
        """Who is offered a message that is published here, but for those of groups."""
        takers = self._routes.get(type_id, _NOBODY)
        return tuple(one for one in takers if not one.options.no_echo) if self._echoless else takers

    @property
    def unhandled(self) -> int:
        """Messages that handlers still have."""
        return sum(one.load for one in (*self.subscriptions, *self._finishing) if one.busy)

    def stats(self) -> Iterator[SubscriptionStats]:
        """Of every subscription that has a message to handle or may get one, and of those that have ended."""
        self._let_finish()
        yield self._ended.with_live(())
        for one in (*self.subscriptions, *self._finishing):
            yield one.stats()

    def _let_finish(self, *more: LocalSubscription) -> None:
        """Count those in that have ended and have nothing in the handler any more."""
        for one in (*self._finishing, *more):
            if one.busy:
                self._finishing[one] = None
            else:
                self._finishing.pop(one, None)
                self._ended.add(one.stats())
                if self._tally is not None:
                    _write_off(one, self._tally)

    def _enter(self, subscription: LocalSubscription, type_ids: frozenset[int]) -> None:
        self._on_change()
        if subscription.handler is not None and subscription.handler.takes_delivery:
            self._curious |= type_ids
        self._echoless |= subscription.options.no_echo
        if subscription.group is not None:
            self._groups.add(subscription)
            return
        for type_id in type_ids:
            self._routes[type_id] = (*self._routes.get(type_id, _NOBODY), subscription)

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
        self._let_finish()


def _count_by_type(subscription: LocalSubscription, tally: Tally) -> None:
    subscription.queue.losses.tally, subscription.counts.by_type = tally, tally.delivered


def _write_off(subscription: LocalSubscription, tally: Tally) -> None:
    """What an iterator has not given out when it ends counts as dropped, as in `Totals`, whatever becomes of it."""
    left = Counter(subscription.queue.type_ids)
    left[UNKNOWN] += subscription.counts.in_flight
    for type_id, calls in subscription.counts.calls.items():
        left[type_id] += calls.inside
        tally.delivered[type_id] -= calls.inside  # as which a call counts from its beginning
    for type_id, number in left.items():
        if number:
            tally.dropped[type_id, DropReason.DISCONNECTED.reason] += number
    subscription.queue.losses.tally = subscription.counts.by_type = None


def after(count: int, done: Done) -> Done | None:
    """A function for so many subscriptions that share a message; when all are done with it, `done` is told."""
    if count == 0:
        done(1)
        return None
    left = count

    def one_more(messages: int) -> None:
        nonlocal left
        left -= messages
        if left == 0:
            done(1)

    return one_more


@final
class Turnstile:
    """Lets one delivery through at a time: what is published from inside one is queued behind it.

    Attributes:
        is_busy: Whether one is going on. Who finds it free may set it, and calls `leave` in the end.
        waiting: What is queued behind it.
    """

    __slots__ = ("is_busy", "waiting")

    def __init__(self) -> None:
        self.is_busy = False
        self.waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def __repr__(self) -> str:
        return f"<Turnstile {'busy' if self.is_busy else 'free'}, {len(self.waiting)} waiting>"

    def run(self, step: Callable[..., Any], *args: Any) -> Any:
        """Run a step now, and give what it gives; or after the one that is running and those that wait."""
        if self.is_busy:
            self.waiting.append((step, args))
            return None
        self.is_busy = True
        try:
            return step(*args)
        finally:
            if self.waiting:
                self.leave()
            else:
                self.is_busy = False

    def leave(self) -> None:
        """Run the steps that wait; then the turnstile is free."""
        try:
            while self.waiting:
                step, args = self.waiting.popleft()
                try:
                    step(*args)
                except Exception as error:  # noqa: BLE001  whoever published it has gone on, and the others must not suffer
                    _log(Line.PUBLISH_INSIDE, caused_by=error)
        finally:
            self.is_busy = False
