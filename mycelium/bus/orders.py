"""What the users of a client subscribe to, before and after there is a connection."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, final

from attrs import evolve, frozen

from mycelium.bus.eventstream import Events
from mycelium.bus.handlers import Handler, HandlerFunction
from mycelium.bus.inbox import Inbox
from mycelium.bus.lag import Lag
from mycelium.bus.observing import ConsumerTraces
from mycelium.bus.options import Options, SubscribeOptions, options_of
from mycelium.bus.outcome import heard
from mycelium.bus.requests import Answer
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.tasks import Tasks
from mycelium.bus.topics import chosen_types
from mycelium.handle import Contracts
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message

__all__ = ["Order", "Orders"]

_log = Log("mycelium.client")
_OF_THE_WIRE: Final = ("on_lag", "queue", "window", "group", "no_echo")
"""Options that act at the bridge."""
_MEANT: Final = {"group", "no_echo"}
"""Those of them that mean something when they are left out, too: whoever leaves out the others takes what there is."""


@frozen
class Order:
    """What somebody wants to subscribe to; see `MyceliumClient.subscribe`.

    Attributes:
        function: What the user wrote; None for an iterator.
        handler: How it is called.
        types: Message classes.
        topic: In their place.
        options: As they were given.
        replies: Whether what the function returns answers a request.
    """

    function: HandlerFunction | None
    handler: Handler | None
    types: tuple[type[Message], ...]
    topic: str | None
    options: SubscribeOptions
    replies: bool = False


@final
class Orders:
    """Makes subscriptions.

    Args:
        inbox: Where they are entered.
        contracts: Gives the client's contracts.
        events: Where theirs are told.
        tasks: Where those are made that nobody waits for.
        timeout: Seconds that the bridge may take to confirm one.
        check: Raises where nothing may be subscribed to.
        require: Raises where the bridge cannot do something.
        echo: Whether own messages come back where nobody can tell whose they are.

    Attributes:
        consumer: Makes what traces a subscription, of its options and topic; None where nobody traces.
    """

    def __init__(
        self,
        inbox: Inbox,
        contracts: Callable[[], Contracts],
        *,
        events: Events,
        tasks: Tasks,
        timeout: float,
        check: Callable[[], None],
        require: Callable[[str], None],
        echo: bool,
    ) -> None:
        self.consumer: Callable[[Options, str | None], ConsumerTraces] | None = None
        self._inbox = inbox
        self._contracts = contracts
        self._events = events
        self._tasks = tasks
        self._timeout = timeout
        self._check = check
        self._require = require
        self._echo = echo
        self._declared: list[Order] | None = []
        """Those that the first connection makes; None after that."""

    def __repr__(self) -> str:
        return f"<Orders, {len(self._declared or ())} declared>"

    def declare(self, order: Order) -> None:
        """Subscribe when there is a connection, or now if there was one."""
        if self._declared is not None:
            self._declared.append(order)
        else:
            self._tasks.start(self._carry_out(order))

    def take_up_declared(self) -> None:
        """The contracts are known: begin what was declared.

        Raises:
            UsageError: One makes no sense.
        """
        while self._declared:
            self._take_up(self._declared.pop(0))
        self._declared = None

    async def subscribe(self, order: Order) -> LocalSubscription:
        """Begin a subscription, and wait until the bridge has confirmed it."""
        self._check()
        subscription, answers = self._take_up(order)
        try:
            async with asyncio.timeout(self._timeout):
                for answer in answers:
                    await heard(answer)
        except BaseException:
            subscription.close()
            raise
        return subscription

    async def _carry_out(self, order: Order) -> None:
        try:
            await self.subscribe(order)
        except Exception as error:  # noqa: BLE001  nobody waits for it
            subscriber = "an iterator" if order.handler is None else order.handler.name
            _log(Line.SUB_FAILED, caused_by=error, subscriber=subscriber)

    def _take_up(self, order: Order) -> tuple[LocalSubscription, list[Answer]]:
        """Begin a subscription; what the bridge has to confirm."""
        options, handler, meter = options_of(**order.options), order.handler, self._inbox.meter
        if handler is not None and meter is not None:
            handler = meter.watched(handler)
        for ability, is_asked in (
            ("reply", order.replies),
            ("group", options.group is not None),
            ("no_echo", options.no_echo and self._echo),
        ):
            if is_asked:
                self._require(ability)
        said = {name for name in _OF_THE_WIRE if order.options.get(name) is not None}
        asked = {name: getattr(options, name) for name in said | _MEANT}
        subscription = LocalSubscription(
            chosen_types(self._contracts(), order.function, order.types, order.topic),
            handler,
            # Lag policies act at the bridge; the queue here is bounded by the windows of its types.
            evolve(options, queue=sys.maxsize, on_lag=Lag.DROP_OLDEST),
            on_close=self._inbox.leave,
            tell=self._events.tell,
            name_of=self._name_of,
            traces=None if self.consumer is None else self.consumer(options, order.topic),
        )
        subscription.topic = order.topic
        try:
            return subscription, self._inbox.add(subscription, asked)
        except BaseException:
            subscription.close()
            raise

    def _name_of(self, type_id: int) -> str:
        message = self._contracts().schema.by_id.get(type_id)
        return str(type_id) if message is None else message.name
