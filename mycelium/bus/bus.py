"""The bus inside a process: objects to handlers here, bytes to everybody who came through a listener."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import final

from mycelium.bus.bridge import Bridge
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher, Turnstile
from mycelium.bus.errors import ClosedError, UsageError
from mycelium.bus.handlers import HandlerFunction, describe
from mycelium.bus.monotonic import MonotonicGuard
from mycelium.bus.router import Router
from mycelium.bus.session import Limits, Session
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import DEFAULT_QUEUE, LocalSubscription
from mycelium.bus.topics import chosen_types
from mycelium.contracts import Contracts, Source, load
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.frames import encode_frame

__all__ = ["MessageBus"]

_DRAIN_SECONDS = 5.0


@final
class MessageBus:
    """Publishes messages to subscribers in this process and, while it serves, to socket clients.

    In the process every subscriber sees messages in the order of their publication, over all types, also when a handler
    publishes from inside a delivery. No bytes are made for a local subscriber: it gets the very object.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
    """

    def __init__(self, contracts: Source | None = None) -> None:
        self.contracts: Contracts = load(contracts)
        self.router = Router()
        self._dispatcher = Dispatcher()
        self._turnstile = Turnstile()
        self._guard = MonotonicGuard(self.contracts.schema)
        self._closed = False

    def __repr__(self) -> str:
        return f"<MessageBus on {self.contracts.schema.source}, {len(self._dispatcher.subscriptions)} subscriptions>"

    @property
    def registry(self) -> Registry[Codec]:
        """Classes and codecs of the newest generation."""
        return self.contracts.registry

    async def subscribe(
        self, handler: HandlerFunction, *types: type[Message], topic: str | None = None, queue: int = DEFAULT_QUEUE
    ) -> LocalSubscription:
        """Have a function called with each message of some types.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery. An async handler gets one message at
                a time; a sync one runs inside the publish.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            queue: Messages that wait for an async handler; over it the oldest is dropped.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message.
            ClosedError: The bus is closed.
        """
        return self._subscribe(handler, types, topic, queue)

    def messages(self, *types: type[Message], topic: str | None = None, queue: int = DEFAULT_QUEUE) -> Stream[Message]:
        """Messages of some types as an async iterator; see `subscribe` for the arguments."""

        async def begin() -> LocalSubscription:
            return self._subscribe(None, types, topic, queue)

        return Stream(begin)

    async def publish(self, message: Message) -> None:
        """Publish to every subscriber.

        Raises:
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this bus's contracts.
            ClosedError: The bus is closed.
        """
        self.publish_nowait(message)

    def publish_nowait(self, message: Message) -> None:
        """The same, without waiting: sync handlers have run when it returns, unless it is called from inside a delivery."""
        entry = self._entry(message)
        entry.codec.check(message)
        if message.TYPE_ID in self._guard.fields:
            self._guard.check(message)
        self._turnstile.run(partial(self._deliver, message, entry))

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
        """Take nothing new and let handlers finish what they have, for at most 5 s. Never raises; may be called twice."""
        self._closed = True
        waiting = [asyncio.ensure_future(one.drained()) for one in self._dispatcher.subscriptions]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_DRAIN_SECONDS)
            for each in late:
                each.cancel()
        for subscription in list(self._dispatcher.subscriptions):
            await subscription.unsubscribe()

    def publish_batch(self, batch: Batch, session: Session) -> None:
        """Hand frames from a client, which its session has checked, to everybody who wants them."""
        self._turnstile.run(partial(self._deliver_batch, batch, session))

    def _subscribe(
        self, handler: HandlerFunction | None, types: Sequence[type[Message]], topic: str | None, queue: int
    ) -> LocalSubscription:
        if self._closed:
            raise ClosedError("the bus is closed")
        if queue < 1:
            raise UsageError(f"a queue of {queue} messages holds none; give at least 1")
        chosen = chosen_types(self.contracts, handler, tuple(types), topic)
        described = None if handler is None else describe(handler)
        subscription = LocalSubscription(chosen, described, queue, self._dispatcher.remove)
        self._dispatcher.add(subscription)
        return subscription

    def _entry(self, message: Message) -> Entry[Codec]:
        if self._closed:
            raise ClosedError("the bus is closed")
        entry = self.registry.entries.get(type(message).__name__)
        if entry is None or entry.cls is not type(message):
            raise UsageError(f"{message!r} is not of {self.contracts!r}; take the type from the contracts of the bus")
        return entry

    def _deliver(self, message: Message, entry: Entry[Codec]) -> None:
        type_id = message.TYPE_ID
        takers = self.router.takers(type_id)
        if takers:
            frame = encode_frame(type_id, entry.codec.encode(message))
            batch = Batch(frame, [type_id], [0, len(frame)])
            for taker in takers:
                taker.offer(batch)
        self._dispatcher.deliver(type_id, message, LOCAL)

    def _deliver_batch(self, batch: Batch, origin: Session) -> None:
        for part, takers in self.router.runs(batch):
            for taker in takers:
                if not (taker.no_echo and taker.session is origin):
                    taker.offer(part)
        if self._dispatcher.subscriptions:
            for index, type_id in enumerate(batch.type_ids):
                if self._dispatcher.interested(type_id):
                    self._deliver_frame(type_id, batch.payload(index))

    def _deliver_frame(self, type_id: int, payload: bytes) -> None:
        tags: dict[int, bytes] = {}
        message = self.registry.by_id[type_id].codec.decode(payload, tags)
        self._dispatcher.deliver(type_id, message, Delivery.of(tags) if tags else LOCAL)
