"""How messages of a class are published where only this process wants them: worked out once, until somebody changes it.

A plan knows the check of its class and who is offered its messages. Nothing is looked up: plans are forgotten when
somebody comes or goes, and when other contracts come into force. What a plan does not know goes the general way: the
class is none of the contracts', a socket client, a group or a last value wants the frame, values must not decrease, a
handler takes a Delivery, the bus is closing, the caller is in another thread or inside a delivery.
"""

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, final

from mycelium.bus.delivery import LOCAL
from mycelium.bus.exchange import Exchange, Published
from mycelium.bus.fate import Trouble
from mycelium.bus.held import MOST_SECONDS
from mycelium.bus.localqueue import Offer
from mycelium.bus.thread import thread_test
from mycelium.bus.worker import Worker
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry
from mycelium.wire.codec import Codec

if TYPE_CHECKING:
    from mycelium.bus.observe.bridge import BusTraces

__all__ = ["TAKEN", "Plan", "Plans"]

Plan: TypeAlias = Callable[[Message, float | None], Published | None]
"""Publishes a message for somebody who waits so many seconds for room under `block`; None: not at all.

Gives None in place of `TAKEN`: who has nothing to look for in it need not take it apart.
"""
TAKEN: Final[Published] = (1, ())
"""The one subscription that a message fits has taken it."""


class General(Protocol):
    """How a message is published where there is no plan."""

    def __call__(self, message: Message, seconds: float | None, trace: bytes | None = None, /) -> Published:
        """Publish it, perhaps with a trace context; see `Plan`."""


@final
class Plans:
    """The plan of each class of messages, made when it is first asked for; they are forgotten at each change.

    Args:
        exchange: Where messages are routed.
        otherwise: The general way.
        traces: Makes plans that trace; None where nobody does.

    Attributes:
        in_force: The plans that are made; who misses one asks for it with `make`.
    """

    def __init__(self, exchange: Exchange, otherwise: "General", traces: "BusTraces | None" = None) -> None:
        self.in_force: dict[type, Plan] = {}
        self._exchange = exchange
        self._otherwise = otherwise
        self._traces = traces
        self._general: Plan = otherwise if traces is None else traces.plan(otherwise, otherwise)
        self._is_own_thread: Callable[[], bool] | None = None
        """Whether the caller is in the thread that may publish; None where nothing is planned, yet or any more."""
        self._is_closed = False
        self._lineage = exchange.registry.lineage
        self._lineage.watch_over(self)
        exchange.on_change = self.clear

    def __repr__(self) -> str:
        return f"<Plans of {', '.join(cls.__name__ for cls in self.in_force) or 'nothing'}>"

    def __getitem__(self, cls: type) -> Plan:
        """The plan of a class."""
        try:
            return self.in_force[cls]
        except KeyError:
            return self.make(cls)

    def make(self, cls: type) -> Plan:
        """Make the plan of a class, for the next messages too if that is possible."""
        registry = self._exchange.registry
        plan = self._made(cls)
        if plan is None:
            return self._general
        if self._traces is not None:
            plan = self._traces.plan(plan, self._otherwise)
        self.in_force[cls] = plan
        if self._lineage.current is not registry:  # another thread has just brought other contracts into force
            self.clear()
            return self._general
        return plan

    def clear(self) -> None:
        """Forget all plans; any thread may do that."""
        self.in_force.clear()

    def begin(self) -> None:
        """The thread that calls this may publish, and nobody else."""
        if self._is_own_thread is None and not self._is_closed:
            self._is_own_thread = thread_test()

    def close(self) -> None:
        """Everything goes the general way from now on."""
        self._is_closed, self._is_own_thread = True, None
        self.clear()

    def _made(self, cls: type) -> Plan | None:
        """The plan of a class; None where there is more to do than to offer its messages to this process."""
        exchange = self._exchange
        entry: Entry[Codec] | None = getattr(cls, "__mycelium__", None)
        if self._is_own_thread is None or entry is None or entry.cls is not cls:
            return None
        type_id = entry.message.type_id
        if exchange.registry.by_id.get(type_id) is not entry or exchange.asks_more(type_id):
            return None
        takers = exchange.dispatcher.offered(type_id)
        if len(takers) == 1 and takers[0].hand is not None:
            return _calling(exchange, entry, takers[0].hand, self._is_own_thread, self._otherwise)
        return _offering(exchange, entry, [one.offer for one in takers], self._is_own_thread, self._otherwise)


_CALLING: Final = """def calling(turnstile, is_own_thread, otherwise, hand, function, calls):
    def publish(message, seconds):
        if turnstile.is_busy or not is_own_thread():
            return otherwise(message, seconds)
        check(message)
        turnstile.is_busy = True
        calls.begun = number = calls.begun + 1
        began = monotonic()
        try:
            if (result := function(message)) is not None:
                hand.refuse(result)
            hand.in_a_row = 0
        except (Exception, CancelledError) as error:
            hand.fail(message, error)
        finally:
            if (held := monotonic() - began) > MOST_SECONDS:
                hand.held_loop(held)
            calls.done = number
            if turnstile.waiting:
                turnstile.leave()
            else:
                turnstile.is_busy = False
        return None
    return publish
"""
"""A plan as text, for `Codec.checked`; what it does with a handler is what `Worker.offer_run` does."""
_NAMES: Final = {"CancelledError": CancelledError, "MOST_SECONDS": MOST_SECONDS, "monotonic": monotonic}


def _calling(
    exchange: Exchange, entry: Entry[Codec], hand: Worker, is_own_thread: Callable[[], bool], otherwise: General
) -> Plan:
    """Where the only taker is a sync handler: it is called from here, since every call on the way would be felt."""
    calls = exchange.planned.called(entry.message.type_id, hand.counts)
    make = entry.codec.checked(_CALLING, _NAMES)
    plan: Plan = make(exchange.turnstile, is_own_thread, otherwise, hand, hand.function, calls)
    return plan


def _offering(
    exchange: Exchange, entry: Entry[Codec], offers: Sequence[Offer], is_own_thread: Callable[[], bool], otherwise: Plan
) -> Plan:
    """Where somebody has a queue."""
    turnstile, check = exchange.turnstile, entry.codec.check
    offered = exchange.planned.offered(entry.message.type_id)

    def publish(message: Message, seconds: float | None) -> Published | None:
        if turnstile.is_busy or not is_own_thread():
            return otherwise(message, seconds)
        check(message)
        troubles: list[Trouble] = []
        turnstile.is_busy = True
        try:
            offered.number += 1
            deadline = None if seconds is None else inf  # who waits gives up by himself, as `settled` does
            for offer in offers:
                outcome = offer(message, LOCAL, None, deadline)
                if outcome is not None:
                    troubles.append(outcome)
            return len(offers), troubles
        finally:
            turnstile.leave()

    return publish
