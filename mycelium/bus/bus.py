"""The bus inside a process: objects to handlers here, bytes to everybody who came through a listener."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import Final, Literal, TypeVar, Unpack, final, overload
from weakref import WeakSet

from attrs import asdict

from mycelium.bus.bridge import Bridge
from mycelium.bus.errors import ClosedError, DrainingError, DrainTimeout, UsageError
from mycelium.bus.eventstream import Events, EventStream
from mycelium.bus.exchange import Exchange, Published
from mycelium.bus.handlers import Handler, HandlerFunction, describe
from mycelium.bus.limits import Limits
from mycelium.bus.many import Many
from mycelium.bus.observing import TracingChoice, bus_traces
from mycelium.bus.options import DEFAULT_BLOCK_SECONDS, Options, SubscribeOptions, options_of
from mycelium.bus.plan import TAKEN, Plans
from mycelium.bus.receipt import Receipt
from mycelium.bus.reload import Change
from mycelium.bus.replies import answering
from mycelium.bus.router import Router
from mycelium.bus.routing import asked, raise_for, receipt_of, refuse_deadlock, settled
from mycelium.bus.security.settings import Security
from mycelium.bus.stats import BusStats
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.thread import check_thread
from mycelium.bus.topics import chosen_types, new_of_topic
from mycelium.events import Closed, Draining
from mycelium.handle import Contracts, Source, load
from mycelium.schema.classes import M, Message

__all__ = ["MessageBus"]

_CLOSE_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 30.0
_YIELD_AFTER: Final = 64
"""Messages that `publish` takes before other tasks get a turn."""
_OVER: Final = "the bus is closed; make a new one"
F = TypeVar("F", bound=HandlerFunction)


@final
class MessageBus:
    """Publishes messages to subscribers in this process and, while it serves, to socket clients.

    In the process every subscriber sees messages in the order of their publication, over all types, also when a handler
    publishes from inside a delivery. No bytes are made for a local subscriber: it gets the very object. A bus belongs
    to the thread of its event loop.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file.
        block_timeout: Seconds that `publish` waits for room where a subscriber has the lag policy `block`.
        max_memory: Bytes that queues of socket clients and last values may hold; None for half of what there is.
        tracing: Whether OpenTelemetry spans are made, of what is routed for socket clients too: True, or a
            `mycelium.tracing.Tracing`.

    Attributes:
        contracts: Where its message types are from.
        exchange: Where messages are routed.
        traces: Makes the spans; None where nobody traces.
        bridges: What serves it, or did.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
    """

    def __init__(
        self,
        contracts: Source | None = None,
        *,
        block_timeout: float = DEFAULT_BLOCK_SECONDS,
        max_memory: int | None = None,
        tracing: TracingChoice = None,
    ) -> None:
        self.contracts: Contracts = load(contracts)
        self._events = Events()
        self.exchange = Exchange(self.contracts, self._events.tell, max_memory)
        self._block_timeout = block_timeout
        self._forget_changes: Callable[[], None] | None = None
        self._dispatcher = self.exchange.dispatcher
        self.traces = bus_traces(tracing, self.exchange)
        self._plans = Plans(self.exchange, self._publish, self.traces)
        self._session_numbers = itertools.count(1)
        self._thread: int | None = None
        """Of the event loop, known from the first subscription or listener on."""
        self._yield_countdown = _YIELD_AFTER
        self._closing: asyncio.Task[DrainTimeout | None] | None = None
        self._closed = False
        self.bridges: WeakSet[Bridge] = WeakSet()
        self._confirmed = 0

    def __repr__(self) -> str:
        return f"<MessageBus on {self.contracts.schema.source}, {len(self._dispatcher.subscriptions)} subscriptions>"

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""
        return self.exchange.publisher.monotonic

    @property
    def router(self) -> Router:
        """Which socket clients want what."""
        return self.exchange.router

    # --- subscribing ---

    async def subscribe(
        self,
        handler: HandlerFunction,
        *types: type[Message],
        topic: str | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> LocalSubscription:
        """Have a function called with each message of some types.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery. An async handler gets one message
                at a time; a sync one runs inside the publish.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            options: See `SubscribeOptions`: `on_lag`, `queue`, `window`, `group`, `concurrency`, `no_echo`, `on_gap`,
                `on_error`. Lag policies act where messages wait, so not on a sync handler, which never lags.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message, or an option makes no
                sense.
            DrainingError: The bus is being drained.
            ClosedError: The bus is closed.
        """
        return self._subscribe(describe(handler), handler, types, topic, options_of(**options))

    def on(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """A decorator that subscribes a function; see `subscribe` for arguments and errors."""

        def subscribing(function: F) -> F:
            self._subscribe(describe(function), function, types, topic, options_of(**options))
            return function

        return subscribing

    def reply(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """A decorator for a function that answers requests with the message that it returns; see `subscribe`."""

        def subscribing(function: F) -> F:
            self._subscribe(answering(function), function, types, topic, options_of(**options))
            return function

        return subscribing

    def messages(self, *types: type[M], topic: str | None = None, **options: Unpack[SubscribeOptions]) -> Stream[M]:
        """Messages of some types as an async iterator; see `subscribe` for arguments and errors.

        With `gaps=True` it gives out each Gap in its place.
        """
        chosen = options_of(**options)

        async def begin() -> LocalSubscription:
            return self._subscribe(None, None, types, topic, chosen)

        return Stream(begin)

    # --- publishing ---

    @overload
    async def publish(self, message: Message, *, confirm: Literal[True], mandatory: bool = False) -> Receipt: ...

    @overload
    async def publish(self, message: Message, *, confirm: bool = False, mandatory: Literal[True]) -> Receipt: ...

    @overload
    async def publish(self, message: Message, *, confirm: bool = False, mandatory: bool = False) -> Receipt | None: ...

    async def publish(self, message: Message, *, confirm: bool = False, mandatory: bool = False) -> Receipt | None:
        """Publish to every subscriber; waits for room where one has the lag policy `block`.

        Cancelled while it waits, the message stays with those who have taken it, and is given up at those who had no
        room: the CancelledError carries a note that says so.

        Args:
            message: The message.
            confirm: Return what became of it.
            mandatory: Raise where nobody has subscribed; implies `confirm`.

        Returns:
            With `confirm` the receipt, else None.

        Raises:
            EncodeError: A value does not fit its type, or there are socket clients and the payload is larger than they
                take.
            RuleError: A value breaks a rule.
            QueueFull: A subscriber with the lag policy `reject` has no room. Others have the message.
            BackpressureTimeout: One with `block` had no room in time. Others have the message.
            WouldDeadlock: This is a handler, and the full queue is its own.
            NoSubscribers: It is mandatory, and nobody has subscribed.
            UsageError: The message is not of this bus's contracts, or this is not the bus's thread.
            ClosedError: The bus is closed.
        """
        refuse_deadlock(self._dispatcher, message)
        matched, troubles = self._plans[type(message)](message, self._block_timeout) or TAKEN
        if troubles:
            await settled(self.exchange, troubles, self._block_timeout)
            raise_for(matched, troubles, self._block_timeout)
        self._yield_countdown -= 1
        if self._yield_countdown == 0:  # a loop of publishes must not starve those who are to take them
            self._yield_countdown = _YIELD_AFTER
            await asyncio.sleep(0)
        if not (confirm or mandatory):
            return None
        self._confirmed += 1
        return receipt_of(self._confirmed, message, matched, troubles, mandatory=mandatory)

    def publish_nowait(self, message: Message) -> None:
        """Publish without waiting; see `publish` for further errors.

        Sync handlers have run when it returns, unless it is called from inside a delivery: then the message is queued
        behind that, and a queue that is full is counted, but not raised.

        Raises:
            QueueFull: A subscriber with the lag policy `reject` or `block` has no room. Others have the message.
        """
        try:
            plan = self._plans.in_force[type(message)]
        except KeyError:
            plan = self._plans.make(type(message))
        published = plan(message, None)
        if published is not None and published[1]:
            raise_for(*published, 0.0)

    async def publish_many(self, messages: Iterable[Message]) -> int:
        """Publish messages one after the other, as `publish` does each; see there for errors.

        What is raised carries a note that says how many were published before. Returns how many there were.
        """
        self._admit()
        return await Many(self._put, self._rest).run(messages)

    async def request(self, message: Message, reply: type[M], timeout: float = 2.0) -> M:
        """Publish a request, and wait for the first reply.

        Args:
            message: The request.
            reply: The type of the reply.
            timeout: Seconds.

        Raises:
            NoResponders: Nobody has subscribed to the request.
            TimeoutError: No reply came in time.
            QueueFull: Nobody who has subscribed to it has room.
            UsageError: The reply is of another type; and as for `publish`.
            EncodeError: As for `publish`.
            RuleError: As for `publish`.
            ClosedError: The bus is closed.
        """
        self._admit()
        if self.traces is not None:
            return await self.traces.request(message, reply, timeout)
        return await asked(self.exchange, message, reply, timeout)

    # --- the rest of what users call ---

    def serve(
        self,
        *urls: str,
        name: str = "mycelium",
        limits: Limits | None = None,
        join: Sequence[str] = (),
        security: Security | None = None,
    ) -> Bridge:
        """An async context manager that serves this bus to socket clients inside its block.

        Args:
            urls: `tcp://host:port`, `tls://host:port` and `unix:///path`; port 0 means any free one, see `Bridge.urls`.
                With `rust+` before it, for peers that speak Mycelium's own dialect.
            name: What clients are told.
            limits: What is taken from a client.
            join: `rust+tcp://host:port` and `rust+unix:///path` of buses in that dialect to become a member of.
            security: Who may connect, and what for; None: this machine, and on Unix sockets this user.

        Raises:
            UsageError: A URL is none.
        """
        if not urls and not join:
            raise UsageError('serve() needs an address; write serve("tcp://127.0.0.1:7777")')
        return Bridge(self, urls, name, limits, join=join, security=security)

    def stats(self) -> BusStats:
        """The counters of everything as they stand; at every quiet moment they satisfy the law of conservation."""
        exchange = self.exchange
        return BusStats(
            **asdict(exchange.stats(), recurse=False),
            published=exchange.published,
            subscriptions=exchange.subscriptions,
            sessions=len(exchange.sessions),
            replies=exchange.answers.taken,
            replies_dropped=dict(exchange.answers.dropped),
            retained=len(exchange.retained),
            memory_used=exchange.ledger.total,
            memory_limit=exchange.ledger.limit,
            blocked_seconds=exchange.blocked_seconds,
        )

    def events(self) -> EventStream:
        """What happens from now on, as an async iterator of typed events; it ends when the bus is closed."""
        self._follow_changes()
        return self._events.stream()

    async def drain(self, timeout: float = _DRAIN_SECONDS) -> None:
        """Take nothing new, let handlers finish what they have, and close; what they publish meanwhile is delivered.

        Those who call it at the same time share one end. May be called from inside a handler, which is not waited for.

        Args:
            timeout: Seconds.

        Raises:
            DrainTimeout: Handlers did not finish in time; the bus is closed all the same.
            UsageError: This is not the bus's thread.
        """
        trouble = await self._end(timeout)
        if trouble is not None:
            raise trouble

    async def close(self) -> None:
        """Take nothing new and let handlers finish what they have, for at most 5 s; what they publish is delivered.

        May be called twice and from inside a handler.

        Raises:
            UsageError: This is not the bus's thread.
        """
        await self._end(_CLOSE_SECONDS)

    @property
    def is_closing(self) -> bool:
        """Whether it takes nothing new any more."""
        return self._closing is not None

    # --- what bridges call ---

    def next_session(self) -> int:
        """A number that no session of the bus has had."""
        return next(self._session_numbers)

    def limit_payload(self, max_payload: int) -> None:
        """Publish nothing to socket clients that is larger, in bytes."""
        self._claim_thread()
        publisher = self.exchange.publisher
        publisher.max_payload = min(publisher.max_payload, max_payload)

    # --- inside ---

    def _subscribe(
        self,
        handler: Handler | None,
        function: HandlerFunction | None,
        types: tuple[type[Message], ...],
        topic: str | None,
        options: Options,
    ) -> LocalSubscription:
        if self._closing is not None:
            raise ClosedError(_OVER) if self._closed else DrainingError("the bus is being drained")
        self._claim_thread()
        chosen = chosen_types(self.contracts, function, types, topic)
        subscription = LocalSubscription(
            chosen,
            handler,
            options,
            on_close=self._dispatcher.remove,
            tell=self._events.tell,
            name_of=self.exchange.name_of,
            traces=None if self.traces is None else self.traces.consumer(options, topic),
        )
        subscription.topic = topic
        if topic is not None:
            self._follow_changes()
        self.exchange.remember(subscription, chosen)
        self._dispatcher.add(subscription)
        return subscription

    async def _put(self, message: Message) -> None:
        """What `publish` does, but for the turn that it may give to others."""
        refuse_deadlock(self._dispatcher, message)
        matched, troubles = self._plans[type(message)](message, self._block_timeout) or TAKEN
        if troubles:
            await settled(self.exchange, troubles, self._block_timeout)
            raise_for(matched, troubles, self._block_timeout)

    async def _rest(self) -> None:
        """A loop of publishes must not starve those who are to take them."""
        self._yield_countdown -= 1
        if self._yield_countdown == 0:
            self._yield_countdown = _YIELD_AFTER
            await asyncio.sleep(0)

    def _follow_changes(self) -> None:
        if self._forget_changes is None and not self._closed:
            self._forget_changes = self.contracts.on_change(self._on_change)

    def _on_change(self, change: Change) -> None:
        """The contracts have changed, or an edit was refused."""
        for subscription in self._dispatcher.subscriptions:
            self._dispatcher.extend(subscription, new_of_topic(self.contracts, subscription))
        if change.event is not None:
            self._events.tell(change.event)

    def _publish(self, message: Message, seconds: float | None, trace: bytes | None = None) -> Published:
        """The general way of a message, where no plan holds."""
        self._admit()
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        return self.exchange.publish(message, deadline, None, trace)

    def _admit(self) -> None:
        """Whether somebody may publish now. While the bus closes its own handlers still may."""
        if self._closing is not None and (self._closed or not self._dispatcher.is_calling):
            raise ClosedError(_OVER)
        if get_ident() != self._thread and self._thread is not None:
            self._claim_thread()

    def _claim_thread(self) -> None:
        if self._thread not in (None, get_ident()):
            raise UsageError("a bus belongs to one thread; use loop.call_soon_threadsafe(bus.publish_nowait, message)")
        self._thread = get_ident()
        self._plans.begin()

    async def _end(self, timeout: float) -> DrainTimeout | None:
        check_thread(self._thread, "bus")
        self._dispatcher.excuse_caller()
        if self._closing is None:
            self._plans.close()
            self._events.tell(Draining())
            self._closing = asyncio.create_task(self._drain(timeout), name="mycelium bus closing")
        return await asyncio.shield(self._closing)

    async def _drain(self, timeout: float) -> DrainTimeout | None:
        trouble = None
        try:
            async with asyncio.timeout(timeout):
                await self._dispatcher.idle()
        except TimeoutError:
            trouble = DrainTimeout(self._dispatcher.unhandled, 0)
        self._closed = True
        self.exchange.answers.awaited.refuse_all(ClosedError(_OVER))
        with contextlib.suppress(asyncio.CancelledError):
            await self._dispatcher.end()
        self._events.tell(Closed("closed"))
        self._events.close()
        if self._forget_changes is not None:
            self._forget_changes()
        return trouble
