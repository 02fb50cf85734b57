"""The subscriptions of one client at the bridge: who wants what, and whose turn it is to send."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, final

from mycelium.bus.lag import Lag
from mycelium.bus.limits import Limits
from mycelium.bus.outbox import Outbox
from mycelium.bus.router import Router
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode

__all__ = ["Refusal", "RemoteSubscription", "RemoteSubscriptions"]

_SLICE: Final = 64 * 1024
"""Bytes that a subscription may send before it is the next one's turn."""
Refusal: TypeAlias = tuple[ErrorCode, str]


@final
class RemoteSubscription:
    """A subscription of a connection: the client's number for one queue and one window.

    Attributes:
        owner: All subscriptions of that connection.
        number: What the client calls it.
        type_ids: Empty for every type that no other subscription of the connection names.
        outbox: What waits for it.
        no_echo: Whether the connection's own messages are left out.
    """

    def __init__(
        self,
        owner: "RemoteSubscriptions",
        number: int,
        type_ids: frozenset[int],
        outbox: Outbox,
        *,
        no_echo: bool = False,
    ) -> None:
        self.owner = owner
        self.number = number
        self.type_ids = type_ids
        self.outbox = outbox
        self.no_echo = no_echo

    def __repr__(self) -> str:
        return f"<RemoteSubscription {self.number} to {sorted(self.type_ids) or 'all types'}, {self.outbox!r}>"

    def wants(self, type_id: int) -> bool:
        """Whether a message of the type fits."""
        if self.type_ids:
            return type_id in self.type_ids
        return not self.owner.names(type_id)

    def offer(self, batch: Batch) -> None:
        """Queue a batch and have it sent soon."""
        if self.owner.blocked:
            self.outbox.put_fitting(batch, self.owner.blocked)
        else:
            self.outbox.put(batch)
        self.owner.changed(self)


@final
class RemoteSubscriptions:
    """Number -> subscription of one connection.

    Args:
        router: Where they are entered.
        limits: How many there may be.
        on_ready: Called when something can be sent.
        on_lag: Called when messages were dropped.

    Attributes:
        blocked: Types that the client does not read as they are written now.
    """

    def __init__(
        self, router: Router, limits: Limits, on_ready: Callable[[], None], on_lag: Callable[[], None]
    ) -> None:
        self._router = router
        self._limits = limits
        self._on_ready = on_ready
        self._on_lag = on_lag
        self.blocked: frozenset[int] = frozenset()
        self._by_number: dict[int, RemoteSubscription] = {}
        self._number_of: dict[int, int] = {}
        self._turns: dict[RemoteSubscription, None] = {}
        """Those that have something to send, in the order of their turns."""

    def __repr__(self) -> str:
        return f"<RemoteSubscriptions {sorted(self._by_number)}>"

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[RemoteSubscription]:
        return iter(self._by_number.values())

    def names(self, type_id: int) -> bool:
        """Whether a subscription names the type."""
        return type_id in self._number_of

    # --- requests ---

    def problem_with(self, wish: Any) -> Refusal | None:
        """Why a Subscribe cannot be carried out; None if it can."""
        for check in (self._problem_with_types, self._problem_with_options, self._problem_with_number):
            problem = check(wish)
            if problem is not None:
                return problem
        return None

    def put(self, wish: Any) -> None:
        """Carry out a Subscribe: a new subscription, or other types and options for an old one."""
        limit = min(wish.queue or self._limits.queue, self._limits.queue)
        type_ids = frozenset(wish.type_ids)
        replaced = self._remove(wish.subscription)
        outbox = Outbox(limit, wish.window) if replaced is None else replaced.outbox
        if replaced is not None:
            outbox.replace(limit, wish.window, lambda type_id: not type_ids or type_id in type_ids)
        made = RemoteSubscription(self, wish.subscription, type_ids, outbox, no_echo=bool(wish.no_echo))
        self._by_number[made.number] = made
        self._number_of.update(dict.fromkeys(type_ids, made.number))
        self._router.add(made)
        self.changed(made)

    def drop(self, number: int) -> None:
        """Carry out an Unsubscribe; nothing of the number is sent any more."""
        self._remove(number)

    def add_credit(self, number: int, messages: int) -> None:
        """Carry out a Credit; a number that is not known may have crossed its Unsubscribe."""
        subscription = self._by_number.get(number)
        if subscription is not None:
            subscription.outbox.add_credit(messages)
            self.changed(subscription)

    def clear(self) -> None:
        """End all."""
        for number in list(self._by_number):
            self._remove(number)

    # --- sending ---

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._turns)

    def changed(self, subscription: RemoteSubscription) -> None:
        """Something was queued, or may be sent that could not before."""
        outbox = subscription.outbox
        if outbox.ready:
            self._turns[subscription] = None
            self._on_ready()
        if outbox.lagging:
            self._on_lag()

    def take(self, most_bytes: int) -> tuple[RemoteSubscription, Batch] | None:
        """The next messages to send, and whose they are: each subscription in its turn."""
        turns = self._turns
        while turns:
            subscription = next(iter(turns))
            del turns[subscription]
            batch = subscription.outbox.take(min(most_bytes, _SLICE))
            if batch is not None:
                if subscription.outbox.ready:
                    turns[subscription] = None
                return subscription, batch
        return None

    @property
    def queued(self) -> int:
        """Messages that wait, sendable or not."""
        return sum(one.outbox.queued for one in self._by_number.values())

    # --- inside ---

    def _remove(self, number: int) -> RemoteSubscription | None:
        subscription = self._by_number.pop(number, None)
        if subscription is not None:
            for type_id in subscription.type_ids:
                self._number_of.pop(type_id, None)
            self._turns.pop(subscription, None)
            self._router.remove(subscription)
        return subscription

    def _problem_with_types(self, wish: Any) -> Refusal | None:
        number = wish.subscription
        taken = sorted({one for one in wish.type_ids if self._number_of.get(one, number) != number})
        if taken:
            return ErrorCode.PROTOCOL, f"type ids {taken[:10]} belong to another subscription of this connection"
        if not wish.type_ids and any(not one.type_ids for key, one in self._by_number.items() if key != number):
            return ErrorCode.PROTOCOL, "another subscription of this connection has all types already"
        return None

    def _problem_with_options(self, wish: Any) -> Refusal | None:
        if wish.on_lag is not None and wish.on_lag != Lag.DROP_OLDEST:
            return ErrorCode.PROTOCOL, f"on_lag {wish.on_lag} is not supported yet; leave it out for drop_oldest"
        if wish.group is not None:
            return ErrorCode.PROTOCOL, "groups are not supported yet"
        if wish.window == 0 or wish.queue == 0:
            return ErrorCode.PROTOCOL, "a window or queue of 0 messages delivers nothing; leave it out for the default"
        return None

    def _problem_with_number(self, wish: Any) -> Refusal | None:
        if wish.subscription not in self._by_number and len(self._by_number) >= self._limits.subscriptions:
            return ErrorCode.LIMIT, f"more than {self._limits.subscriptions} subscriptions"
        replaced = self._by_number.get(wish.subscription)
        others = len(self._number_of) - (len(replaced.type_ids) if replaced is not None else 0)
        if others + len(set(wish.type_ids)) > self._limits.types:
            return ErrorCode.LIMIT, f"more than {self._limits.types} types"
        return None
