"""The subscriptions of one client at the bridge: who wants what, and whose turn it is to send."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, final

from mycelium.bus.catalog import Catalog
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.limits import Limits
from mycelium.bus.meter import Tally
from mycelium.bus.options import GROUP_PROBLEM, is_group
from mycelium.bus.outbox import Outbox
from mycelium.bus.remotesubscription import RemoteSubscription
from mycelium.bus.sessionlog import SessionLog
from mycelium.events import Recovered, SlowConsumer
from mycelium.logs.lines import Line
from mycelium.schema.printable import listed
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode

if TYPE_CHECKING:
    from mycelium.bus.exchange import Exchange

__all__ = ["Refusal", "RemoteSubscriptions", "Subscriber"]

_SLICE: Final = 64 * 1024
"""Bytes that a subscription may send before it is the next one's turn."""
_POLICIES: Final = frozenset(Lag)
Refusal: TypeAlias = tuple[ErrorCode, str]


class Subscriber(Protocol):
    """Whose subscriptions these are."""

    tally: Tally | None
    log: SessionLog
    now: float

    @property
    def client(self) -> str:
        """The name that the client gave itself."""

    def ready(self) -> None:
        """Something can be sent."""

    def pass_on(self, data: bytes, messages: int, /) -> bool:
        """Write some messages at once if nothing is to be written before them; whether it has."""

    def lags(self) -> None:
        """Messages were dropped, of which the client is to be told."""

    def too_slow(self, problem: str) -> None:
        """The client has to go."""

    def warn(self, line: Line, reason: str, text: str, **values: Any) -> bool:
        """Log, within limits; whether it was."""


@final
class RemoteSubscriptions:
    """Number -> subscription of one connection.

    Args:
        exchange: Where they are entered.
        limits: How many there may be.
        session: Who is told.
        echo: Whether the connection may get its own messages.

    Attributes:
        blocked: Types that the client does not read as they are written now.
        forbidden: Types that it may not have.
        exchange: See above.
        turns: Those that have something to send, in the order of their turns.
    """

    def __init__(self, exchange: "Exchange", limits: Limits, session: Subscriber, *, echo: bool = True) -> None:
        self._echo = echo
        self.exchange = exchange
        self._router = exchange.router
        self._limits = limits
        self._session = session
        self.blocked: frozenset[int] = frozenset()
        self.forbidden: frozenset[int] = frozenset()
        self._who = ""
        self._by_number: dict[int, RemoteSubscription] = {}
        self._number_of: dict[int, int] = {}
        self._told_slow: set[int] = set()
        """Numbers of which the log says that they are slow: it says when they are not any more."""
        self.turns: dict[RemoteSubscription, None] = {}

    def __repr__(self) -> str:
        return f"<RemoteSubscriptions {sorted(self._by_number)}>"

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[RemoteSubscription]:
        return iter(self._by_number.values())

    def names(self, type_id: int) -> bool:
        """Whether a subscription names the type."""
        return type_id in self._number_of

    def may_have(self, type_id: int) -> bool:
        """Whether access rules, for the contracts as they are now, let the client have messages of a type."""
        self.exchange.keep_up()
        return type_id not in self.forbidden

    @property
    def catalog(self) -> Catalog:
        """What the newest contracts say of each message."""
        return self.exchange.catalog

    @property
    def sendable_bytes(self) -> int:
        """Bytes that only the socket keeps from being sent."""
        return sum(one.outbox.sendable_bytes for one in self._by_number.values())

    def give_up(self, subscription: RemoteSubscription) -> None:
        """The lag policy says that the client has to go."""
        self._session.too_slow(f"the queue of subscription {subscription.number} is full")

    # --- requests ---

    def problem_with(self, wish: Any) -> Refusal | None:
        """Why a Subscribe cannot be carried out; None if it can."""
        for check in (self._problem_with_types, self._problem_with_options, self._problem_with_number):
            problem = check(wish)
            if problem is not None:
                return problem
        return None

    def put(self, wish: Any) -> tuple[RemoteSubscription, int]:
        """Carry out a Subscribe: a new subscription, or other types and options for an old one.

        Returns:
            The subscription, and how many last values were waiting for it before.
        """
        limit = wish.queue or self._limits.queue
        type_ids = frozenset(wish.type_ids)
        replaced = self._remove(wish.subscription)
        before = 0 if replaced is None else replaced.outbox.remembered
        outbox = self._outbox(wish.subscription, limit, wish.window) if replaced is None else replaced.outbox
        made = RemoteSubscription(
            self,
            wish.subscription,
            type_ids,
            outbox,
            on_lag=None if wish.on_lag is None else Lag(wish.on_lag),
            no_echo=bool(wish.no_echo) or not self._echo,
            group=wish.group,
        )
        had = (lambda _: False) if replaced is None else self._wanted(replaced)
        self._by_number[made.number] = made
        self._number_of.update(dict.fromkeys(type_ids, made.number))
        if replaced is not None:
            outbox.replace(limit, wish.window, lambda type_id: not type_ids or type_id in type_ids)
        self._router.add(made)
        new = self.exchange.last_values(lambda one: made.wants(one) and not had(one) and one not in self.blocked)
        outbox.remember(new)
        self.changed(made)
        return made, before

    def drop(self, number: int) -> None:
        """Carry out an Unsubscribe; nothing of the number is sent any more."""
        self._end(number, DropReason.DISCONNECTED, handled=True)

    def forbid(self, type_ids: frozenset[int], who: str) -> str:
        """Send no messages of these types, queued ones included; the names of those that the client loses by it.

        Args:
            type_ids: What the client may not have.
            who: As what it may not.
        """
        lost = [one for one in sorted(type_ids - self.forbidden) if any(each.wants(one) for each in self)]
        if type_ids != self.forbidden:
            self.forbidden, self._who = type_ids, who
            for one in self:
                one.outbox.revoke(type_ids)
                self.changed(one)
            self._router.changed()
        return listed(map(self.catalog.name, lost))

    def add_credit(self, number: int, messages: int) -> None:
        """Carry out a Credit; a number that is not known may have crossed its Unsubscribe."""
        subscription = self._by_number.get(number)
        if subscription is not None:
            subscription.outbox.add_credit(messages)
            self.changed(subscription)

    def fail(self, number: int, type_id: int, reason: DropReason) -> None:
        """A message that was taken to be sent could not be."""
        subscription = self._by_number.get(number)
        if subscription is not None:
            subscription.outbox.fail(type_id, reason)

    def clear(self, reason: DropReason, *, handled: bool) -> None:
        """End all.

        Args:
            reason: Why what waits is dropped.
            handled: Whether the client handles what it has been sent, though it does not say so any more.
        """
        for number in list(self._by_number):
            self._end(number, reason, handled=handled)

    # --- sending ---

    def pass_on(self, subscription: RemoteSubscription, run: Batch) -> bool:
        """Send a message that came alone, past the queue, if nobody and nothing is before it; whether it was sent."""
        outbox = subscription.outbox
        if not (outbox.is_clear and self._session.pass_on(run.data, 1)):
            return False
        outbox.passed(run)
        return True

    def changed(self, subscription: RemoteSubscription) -> None:
        """Something was queued, or may be sent that could not before."""
        outbox = subscription.outbox
        if outbox.ready:
            self.turns[subscription] = None
            self._session.ready()
        if outbox.losses.pending:
            self._session.lags()

    def take(self, most_bytes: int) -> tuple[RemoteSubscription, Batch] | None:
        """The next messages to send, and whose they are: each subscription in its turn."""
        turns = self.turns
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
        """Messages that wait, sendable or not, last values included."""
        return sum(one.outbox.queued + one.outbox.remembered for one in self._by_number.values())

    # --- inside ---

    def _outbox(self, number: int, limit: int, window: int | None) -> Outbox:
        on_slow = partial(self._on_slow, number)
        made = Outbox(limit, window, self._limits.queue_bytes, self.exchange.ledger, on_slow)
        if self._session.tally is not None:
            made.count_by_type(self._session.tally)
        return made

    def _on_slow(self, number: int) -> None:
        """A queue is full for the first time, or has been empty again."""
        one = self._by_number.get(number)
        if one is None:
            return
        subscriber, outbox = f"{self._session.client}#{number}", one.outbox
        types = tuple(map(self.catalog.name, sorted(one.type_ids)))
        if outbox.is_slow:
            lag = outbox.acting.word
            text = f"subscription {number} is full, and {lag} acts"
            waiting = {"queue_messages": outbox.queued, "queue_capacity": outbox.limit}
            if self._session.warn(Line.CONSUMER_SLOW, ErrorCode.SLOW_CONSUMER.reason, text, **waiting):
                self._told_slow.add(number)
            self.exchange.tell(SlowConsumer(subscriber, types, lag, outbox.queued))
        else:
            if number in self._told_slow:
                self._told_slow.remove(number)
                facts = {"subscriber": subscriber, "dropped": outbox.losses.episode}
                self._session.log.tell(Line.CONSUMER_RECOVERED, self._session.now, **facts)
            self.exchange.tell(Recovered(subscriber, types, outbox.losses.episode))

    @staticmethod
    def _wanted(subscription: RemoteSubscription) -> Callable[[int], bool]:
        """What it wants now, whatever becomes of its connection's other subscriptions."""
        names = subscription.owner.named()
        return lambda type_id: type_id in subscription.type_ids if subscription.type_ids else type_id not in names

    def named(self) -> frozenset[int]:
        """Types that subscriptions name."""
        return frozenset(self._number_of)

    def _end(self, number: int, reason: DropReason, *, handled: bool) -> None:
        subscription = self._remove(number)
        if subscription is not None:
            subscription.has_ended = True
            self._told_slow.discard(number)
            subscription.outbox.clear(reason, handled=handled)
            self.exchange.totals.add(subscription.outbox.stats())

    def _remove(self, number: int) -> RemoteSubscription | None:
        subscription = self._by_number.pop(number, None)
        if subscription is not None:
            for type_id in subscription.type_ids:
                self._number_of.pop(type_id, None)
            self.turns.pop(subscription, None)
            self._router.remove(subscription)
        return subscription

    def _problem_with_types(self, wish: Any) -> Refusal | None:
        number = wish.subscription
        name_of = self.catalog.name
        denied = sorted(self.forbidden.intersection(wish.type_ids))
        if denied:
            return ErrorCode.DENIED, f"{self._who} may not receive {listed(map(name_of, denied))}"
        taken = sorted({one for one in wish.type_ids if self._number_of.get(one, number) != number})
        if taken:
            return ErrorCode.PROTOCOL, f"type ids {taken[:10]} belong to another subscription of this connection"
        if not wish.type_ids and any(not one.type_ids for key, one in self._by_number.items() if key != number):
            return ErrorCode.PROTOCOL, "another subscription of this connection has all types already"
        return None

    def _problem_with_options(self, wish: Any) -> Refusal | None:
        if wish.on_lag is not None and wish.on_lag not in _POLICIES:
            return ErrorCode.PROTOCOL, f"no lag policy has the number {wish.on_lag}; there are 0 to {max(_POLICIES)}"
        if wish.group is not None and not is_group(wish.group):
            return ErrorCode.PROTOCOL, GROUP_PROBLEM
        if (wish.queue or 0) > self._limits.queue:
            return ErrorCode.LIMIT, f"a queue of {wish.queue} messages; this bridge allows {self._limits.queue}"
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
