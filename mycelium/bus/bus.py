"""The bus inside a process: objects to handlers here, bytes to everybody who came through a listener."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from threading import get_ident
from typing import Final, final

from mycelium.bus.bridge import Bridge
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher, Turnstile
from mycelium.bus.errors import ClosedError, UsageError
from mycelium.bus.eventstream import Events, EventStream
from mycelium.bus.handlers import HandlerFunction, describe
from mycelium.bus.limits import Limits
from mycelium.bus.publisher import Publisher
from mycelium.bus.reload import Change
from mycelium.bus.router import Router
from mycelium.bus.session import Session
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import DEFAULT_QUEUE, LocalSubscription
from mycelium.bus.thread import check_thread
from mycelium.bus.topics import check_sizes, chosen_types, new_of_topic
from mycelium.handle import Contracts, Source, load
from mycelium.schema.classes import M, Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec

__all__ = ["MessageBus"]

_DRAIN_SECONDS: Final = 5.0
_YIELD_AFTER: Final = 64
"""Messages that `publish` takes before other tasks get a turn."""


@final
class MessageBus:
    """Publishes messages to subscribers in this process and, while it serves, to socket clients.

    In the process every subscriber sees messages in the order of their publication, over all types, also when a handler
    publishes from inside a delivery. No bytes are made for a local subscriber: it gets the very object. A bus belongs
    to the thread of its event loop.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file.

    Attributes:
        contracts: Where its message types are from.
        router: Which socket clients want what.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
    """

    def __init__(self, contracts: Source | None = None) -> None:
        self.contracts: Contracts = load(contracts)
        self.router = Router()
        self._events = Events()
        self._forget_changes: Callable[[], None] | None = None
        self._dispatcher = Dispatcher()
        self._turnstile = Turnstile()
        self._publisher = Publisher(self.contracts)
        self._session_numbers = itertools.count(1)
        self._thread: int | None = None
        """Of the event loop, known from the first subscription or listener on."""
        self._yield_countdown = _YIELD_AFTER
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<MessageBus on {self.contracts.schema.source}, {len(self._dispatcher.subscriptions)} subscriptions>"

    @property
    def registry(self) -> Registry[Codec]:
        """Classes and codecs of the newest generation."""
        return self.contracts.registry

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""
        return self._publisher.monotonic

    # --- what users call ---

    async def subscribe(
        self,
        handler: HandlerFunction,
        *types: type[Message],
        topic: str | None = None,
        queue: int | None = None,
        window: int | None = None,
    ) -> LocalSubscription:
        """Have a function called with each message of some types.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery. An async handler gets one message
                at a time; a sync one runs inside the publish.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            queue: Messages that wait for an async handler, by default 8,192; over it the oldest is dropped.
            window: Taken for the sake of code that runs on a client too; nothing is sent ahead inside a process.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message.
            ClosedError: The bus is closed.
        """
        return self._subscribe(handler, types, topic, queue, window)

    def messages(
        self,
        *types: type[M],
        topic: str | None = None,
        queue: int | None = None,
        window: int | None = None,
    ) -> Stream[M]:
        """Messages of some types as an async iterator; see `subscribe` for arguments and errors."""

        async def begin() -> LocalSubscription:
            return self._subscribe(None, types, topic, queue, window)

        return Stream(begin)

    async def publish(self, message: Message) -> None:
        """Publish to every subscriber.

        Raises:
            EncodeError: A value does not fit its type, or there are socket clients and the payload is larger than they
                take.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this bus's contracts, or this is not the bus's thread.
            ClosedError: The bus is closed.
        """
        self.publish_nowait(message)
        self._yield_countdown -= 1
        if self._yield_countdown == 0:  # a loop of publishes must not starve those who are to take them
            self._yield_countdown = _YIELD_AFTER
            await asyncio.sleep(0)

    def publish_nowait(self, message: Message) -> None:
        """Publish without waiting; see `publish` for errors.

        Sync handlers have run when it returns, unless it is called from inside a delivery.
        """
        if self._closing is not None:
            self._refuse_if_closed(calling=self._dispatcher.is_calling)
        if get_ident() != self._thread and self._thread is not None:
            self._claim_thread()
        publisher = self._publisher
        entry = publisher.entry(message)
        frame = publisher.encode(message, entry) if self.router.takers(entry.message.type_id) else None
        if frame is None:
            entry.codec.check(message)
        if publisher.guard.fields:
            publisher.guard.check(message)
        self._turnstile.run(self._deliver, message, entry, frame)

    def serve(self, *urls: str, name: str = "mycelium", limits: Limits | None = None) -> Bridge:
        """An async context manager that serves this bus to socket clients inside its block.

        Args:
            urls: `tcp://host:port` and `unix:///path`; port 0 means any free one, see `Bridge.urls`.
            name: What clients are told.
            limits: What is taken from a client.

        Raises:
            UsageError: A URL is none.
        """
        if not urls:
            raise UsageError('serve() needs an address; write serve("tcp://127.0.0.1:7777")')
        return Bridge(self, urls, name, limits)

    async def close(self) -> None:
        """Take nothing new and let handlers finish what they have, for at most 5 s; what they publish is delivered.

        May be called twice and from inside a handler.

        Raises:
            UsageError: This is not the bus's thread.
        """
        check_thread(self._thread, "bus")
        self._dispatcher.excuse_caller()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="mycelium bus closing")
        await asyncio.shield(self._closing)

    def events(self) -> EventStream:
        """What happens from now on, as an async iterator of typed events; it ends when the bus is closed."""
        self._follow_changes()
        return self._events.stream()

    # --- what bridges call ---

    def next_session(self) -> int:
        """A number that no session of the bus has had."""
        return next(self._session_numbers)

    def limit_payload(self, max_payload: int) -> None:
        """Publish nothing to socket clients that is larger, in bytes."""
        self._claim_thread()
        self._publisher.max_payload = min(self._publisher.max_payload, max_payload)

    def publish_batch(self, batch: Batch, session: Session) -> None:
        """Hand frames from a client, which its session has checked, to everybody who wants them."""
        self._turnstile.run(self._deliver_batch, batch, session)

    # --- inside ---

    def _subscribe(
        self,
        handler: HandlerFunction | None,
        types: Sequence[type[Message]],
        topic: str | None,
        queue: int | None,
        window: int | None,
    ) -> LocalSubscription:
        self._refuse_if_closed()
        check_sizes(queue=queue, window=window)
        self._claim_thread()
        chosen = chosen_types(self.contracts, handler, tuple(types), topic)
        described = None if handler is None else describe(handler)
        limit = DEFAULT_QUEUE if queue is None else queue
        subscription = LocalSubscription(chosen, described, limit, self._dispatcher.remove)
        subscription.topic = topic
        if topic is not None:
            self._follow_changes()
        self._dispatcher.add(subscription)
        return subscription

    def _follow_changes(self) -> None:
        if self._forget_changes is None and not self._closed:
            self._forget_changes = self.contracts.on_change(self._on_change)

    def _on_change(self, change: Change) -> None:
        """The contracts have changed, or an edit was refused."""
        for subscription in self._dispatcher.subscriptions:
            self._dispatcher.extend(subscription, new_of_topic(self.contracts, subscription))
        if change.event is not None:
            self._events.tell(change.event)

    def _claim_thread(self) -> None:
        if self._thread not in (None, get_ident()):
            raise UsageError("a bus belongs to one thread; use loop.call_soon_threadsafe(bus.publish_nowait, message)")
        self._thread = get_ident()

    def _refuse_if_closed(self, *, calling: bool = False) -> None:
        """While the bus closes its own handlers may still publish."""
        if self._closing is not None and (self._closed or not calling):
            raise ClosedError("the bus is closed; make a new one")

    def _deliver(self, message: Message, entry: Entry[Codec], frame: bytes | None) -> None:
        """Hand a message to everybody; it has a frame if somebody outside wanted it when it was published."""
        type_id = entry.message.type_id
        takers = self.router.takers(type_id)
        if takers:
            if frame is None:  # they came while it waited
                frame = self._publisher.encode(message, entry)
            batch = Batch(frame, [type_id], [0, len(frame)])
            for taker in takers:
                taker.offer(batch)
        self._dispatcher.deliver(type_id, message, LOCAL)

    def _deliver_batch(self, batch: Batch, origin: Session) -> None:
        for part, takers in self.router.runs(batch):
            for taker in takers:
                if not (taker.no_echo and taker.owner is origin.subscriptions):
                    taker.offer(part)
        if self._dispatcher.subscriptions:
            for index, type_id in enumerate(batch.type_ids):
                if self._dispatcher.interested(type_id):
                    self._deliver_frame(type_id, batch.payload(index))

    def _deliver_frame(self, type_id: int, payload: bytes) -> None:
        tags: dict[int, bytes] = {}
        message = self.registry.by_id[type_id].codec.decode(payload, tags)  # its session has verified it
        self._dispatcher.deliver(type_id, message, Delivery.of(tags) if tags else LOCAL)

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._dispatcher.idle()
        self._closed = True
        await self._dispatcher.end()
        self._events.close()
        if self._forget_changes is not None:
            self._forget_changes()
