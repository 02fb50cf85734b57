"""`MyceliumClient`: a connection to a bridge with the same calls as a MessageBus."""

import asyncio
import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Self, final

from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher
from mycelium.bus.errors import BufferFull, ClosedError, ConnectError, ConnectionLost, Refused, UsageError, refusal
from mycelium.bus.handlers import HandlerFunction, describe
from mycelium.bus.heartbeat import DEFAULT_HEARTBEAT_MS, Heartbeat
from mycelium.bus.interest import Credit, Interest, Wish
from mycelium.bus.link import Link, open_link
from mycelium.bus.monotonic import MonotonicGuard
from mycelium.bus.session import PROTOCOL_VERSION
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.topics import chosen_types
from mycelium.bus.urls import default_url, parse_url
from mycelium.contracts import Contracts, Source, core_protocol, find, load, load_document
from mycelium.schema.classes import Message
from mycelium.schema.errors import ContractNotFound
from mycelium.schema.registry import Entry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.connection import Event
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata

__all__ = ["DEFAULT_WINDOW", "MyceliumClient", "connect"]

_log = logging.getLogger("mycelium.client")
DEFAULT_WINDOW: Final = 1024
"""Messages that the bridge sends ahead of the handlers."""
_SEND_BUFFER: Final = 8 * 1024 * 1024
"""Unsent bytes over which `publish_nowait` raises BufferFull."""
_YIELD_BYTES: Final = 64 * 1024
"""Unsent bytes over which `publish` lets the loop turn."""
_CLOSE_SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.5


@final
class MyceliumClient:
    """Publishes to a bridge and subscribes at it, over TCP or a Unix socket.

    A program that ends without closing its client loses nothing that it published: when the event loop shuts down the
    client sends what it holds and says Goodbye.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file, or where there is none the bridge's.
        name: What the bridge shows of this client; by default the program's name and process id.
        heartbeat: Seconds without traffic after which a Ping is sent.
        timeout: Seconds that connecting, a request and `flush` may take.
        stamp: Send session, sequence number and time of publication along with each message.
        from_bridge: Take the bridge's contracts even where there is a contracts file.
        on_error: Called with what the bridge refused where no call can raise it.

    Raises:
        ContractError: The contracts file has faults.
    """

    def __init__(
        self,
        contracts: Source | None = None,
        *,
        name: str | None = None,
        heartbeat: float = DEFAULT_HEARTBEAT_MS / 1000,
        timeout: float = 5.0,
        stamp: bool = False,
        from_bridge: bool = False,
        on_error: Callable[[Refused], None] | None = None,
    ) -> None:
        self.name = name or f"{PurePath(sys.argv[0]).name or 'python'}-{os.getpid()}"
        self.session: int | None = None
        self._contracts = None if from_bridge else _default_contracts() if contracts is None else load(contracts)
        self._heartbeat_ms = round(heartbeat * 1000)
        self._timeout = timeout
        self._stamp = stamp
        self._on_error = on_error
        self._core = core_protocol()
        self._dispatcher = Dispatcher()
        self._interest = Interest()
        self._credits: dict[int, Credit] = {}
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._guard: MonotonicGuard | None = None
        self._link: Link | None = None
        self._lost: asyncio.Future[str] | None = None
        self._welcome: asyncio.Future[Any] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self._max_payload = 0
        self._numbers = itertools.count(1)
        self._published = itertools.count(1)
        self._requests: dict[int, asyncio.Future[None]] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self._link is not None else "not connected"
        return f"<MyceliumClient {self.name!r} {state}, {len(self._dispatcher.subscriptions)} subscriptions>"

    async def __aenter__(self) -> Self:
        if self._link is None:
            await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def types(self) -> Contracts:
        """The contracts of this client: its file's, or the bridge's.

        Raises:
            ClosedError: There is no file, and it was not connected yet.
        """
        if self._contracts is None:
            raise ClosedError("not connected, and there is no contracts file; call `await client.connect(url)` first")
        return self._contracts

    async def connect(self, url: str | None = None) -> None:
        """Connect to a bridge.

        Args:
            url: `tcp://host:port`, `host:port` or `unix:///path`; None for $MYCELIUM_URL, else tcp://localhost:7777.

        Raises:
            UsageError: The URL is none, or the client is connected already.
            ConnectError: Nobody is there, or no answer came in time.
            SchemaMismatch: The bridge's contracts and these cannot talk to each other.
            Refused: The bridge does not let this client in.
        """
        if self._closed:
            raise ClosedError("the client is closed; make a new one")
        if self._link is not None:
            raise UsageError("the client is connected already")
        address = parse_url(url or default_url())
        loop = asyncio.get_running_loop()
        self._lost, self._welcome = loop.create_future(), loop.create_future()
        link = await open_link(address, self._core, self._receive, self._lose, self._timeout)
        self._link = link
        try:
            link.send(self._hello())
            async with asyncio.timeout(self._timeout):
                self._open(await self._welcome, link)
        except TimeoutError:
            await self._abandon(link)
            raise ConnectError(str(address), f"no Welcome within {self._timeout:g} s") from None
        except ConnectionLost as error:
            await self._abandon(link)
            raise ConnectError(str(address), error.reason) from error
        except BaseException:
            await self._abandon(link)
            raise
        self._keeper = loop.create_task(self._keep(link, self._lost), name=f"mycelium client {self.name}")

    async def subscribe(
        self, handler: HandlerFunction, *types: type[Message], topic: str | None = None, window: int = DEFAULT_WINDOW
    ) -> LocalSubscription:
        """Have a function called with each message of some types; returns once the bridge has confirmed.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery; one message at a time.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            window: Messages that the bridge sends ahead of the handler; the others wait at the bridge, where the oldest
                is dropped if they are too many. Types that are subscribed already keep the window that they have.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message.
            Refused: The bridge refuses the subscription.
            ConnectionLost: The connection ended meanwhile.
        """
        return await self._subscribe(handler, types, topic, window)

    def messages(
        self, *types: type[Message], topic: str | None = None, window: int = DEFAULT_WINDOW
    ) -> Stream[Message]:
        """Messages of some types as an async iterator; see `subscribe` for the arguments."""
        return Stream(lambda: self._subscribe(None, types, topic, window))

    async def publish(self, message: Message) -> None:
        """Publish; returns when the frame is in the send buffer, which is waited for where it is full.

        Raises:
            EncodeError: A value does not fit its type, or the payload is larger than the bridge takes.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this client's contracts.
            ClosedError: Not connected.
        """
        link = self._connected()
        link.write(self._encode(message))
        if link.unsent >= _YIELD_BYTES:
            link.flush()
            await asyncio.sleep(0)
            await link.writable()

    def publish_nowait(self, message: Message) -> None:
        """The same without waiting.

        Raises:
            BufferFull: Over 8 MiB are unsent.
        """
        link = self._connected()
        if link.unsent >= _SEND_BUFFER:
            raise BufferFull(f"{link.unsent} bytes are unsent; await publish() instead, which waits for room")
        link.write(self._encode(message))

    async def flush(self) -> None:
        """Wait until the bridge has handed everything published before to every subscriber's queue.

        Raises:
            TimeoutError: It took longer than the client's timeout.
            ConnectionLost: The connection ended meanwhile.
        """
        async with asyncio.timeout(self._timeout):
            await self._barrier(self._connected())

    async def closed(self) -> str:
        """Wait until the connection is gone; the reason why."""
        if self._lost is None:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        return await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Let handlers finish what they have, send what is held, say Goodbye; at most 5 s. Never raises; may be repeated."""
        if self._closed:
            return
        self._closed = True
        link, lost = self._link, self._lost
        if link is not None and lost is not None and not lost.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._settle(link)
            await self._part(link, lost)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        for subscription in list(self._dispatcher.subscriptions):
            await subscription.unsubscribe()

    # --- connecting ---

    def _hello(self) -> Message:
        core = self._core
        common = {"protocol": PROTOCOL_VERSION, "client": self.name, "heartbeat_ms": self._heartbeat_ms}
        if self._contracts is None:
            return core.Hello(**common, want_contracts=True)  # type: ignore[no-any-return]
        schema = self._contracts.schema
        return core.Hello(  # type: ignore[no-any-return]
            **common,
            schema_id=schema.id,
            schema_version=schema.version,
            schema_digest=bytes.fromhex(schema.digest),
        )

    def _open(self, welcome: Any, link: Link) -> None:
        if self._contracts is None:
            if welcome.contracts is None:
                raise Refused(1, "the bridge sent no contracts; give the client a contracts file")
            self._contracts = load_document(welcome.contracts, f"<contracts of {welcome.server}>")
        guard = MonotonicGuard(self._contracts.schema)
        self._guard = guard if guard.fields else None
        self.session = welcome.session
        self._max_payload = welcome.max_payload
        link.heartbeat = Heartbeat(welcome.heartbeat_ms / 1000, asyncio.get_running_loop().time())

    async def _abandon(self, link: Link) -> None:
        self._link = None
        link.abort()
        if self._lost is not None:
            await self._lost

    async def _keep(self, link: Link, lost: asyncio.Future[str]) -> None:
        """Watch the clock while connected. A loop that shuts down cancels this task first: then the client parts properly."""
        try:
            while not lost.done():
                await asyncio.wait([lost], timeout=_TICK_SECONDS)
                if not lost.done():
                    link.tick()
        finally:
            if not lost.done():
                self._closed = True
                for subscription in list(self._dispatcher.subscriptions):
                    subscription.close()
                await self._part(link, lost)

    async def _settle(self, link: Link) -> None:
        """Wait until handlers are done with what is here, and the bridge has everything that was published."""
        for subscription in list(self._dispatcher.subscriptions):
            await subscription.drained()
        with contextlib.suppress(ConnectionLost):
            await self._barrier(link)

    async def _barrier(self, link: Link) -> None:
        nonce = next(self._numbers)
        pong = self._pings[nonce] = asyncio.get_running_loop().create_future()
        link.send(self._core.Ping(nonce=nonce))
        try:
            await pong
        finally:
            self._pings.pop(nonce, None)

    async def _part(self, link: Link, lost: asyncio.Future[str]) -> None:
        """Say Goodbye and wait for the bridge to close: a socket closed on unread bytes would take back what was sent."""
        with contextlib.suppress(Exception):
            link.send(self._core.Goodbye(reason="client"))
        link.flush()
        await asyncio.wait([lost], timeout=_CLOSE_SECONDS)
        if not lost.done():
            link.abort()
            await asyncio.wait([lost])

    # --- publishing ---

    def _connected(self) -> Link:
        if self._closed:
            raise ClosedError("the client is closed")
        link, lost = self._link, self._lost
        if link is None or lost is None:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        if lost.done():
            raise ConnectionLost(lost.result())
        return link

    def _encode(self, message: Message) -> bytes:
        entry = self._entry(message)
        codec = entry.codec
        if codec.check_rules is not None:
            codec.check_rules(message)
        payload = codec.encode(message)
        if self._guard is not None:
            self._guard.check(message)
        if self._stamp:
            origin = (self.session or 0, next(self._published))
            payload += Metadata(published_at=time.time_ns(), origin=origin).encode()
        if len(payload) > self._max_payload:
            raise UsageError(
                f"a {type(message).__name__} of {len(payload)} bytes; the bridge takes {self._max_payload}"
            )
        return encode_frame(message.TYPE_ID, payload)

    def _entry(self, message: Message) -> Entry[Codec]:
        entry = self.types.registry.entries.get(type(message).__name__)
        if entry is None or entry.cls is not type(message):
            raise UsageError(f"{message!r} is not of {self.types!r}; take the type from the contracts of the client")
        return entry

    # --- subscribing ---

    async def _subscribe(
        self, handler: HandlerFunction | None, types: tuple[type[Message], ...], topic: str | None, window: int
    ) -> LocalSubscription:
        self._connected()
        if window < 1:
            raise UsageError(f"a window of {window} messages lets none through; give at least 1")
        chosen = chosen_types(self.types, handler, types, topic)
        described = None if handler is None else describe(handler)
        # The queue is bounded by the windows of its types: the bridge sends no more than that ahead.
        subscription = LocalSubscription(chosen, described, sys.maxsize, self._leave)
        self._dispatcher.add(subscription)
        wish = self._interest.add(chosen)
        if wish is not None:
            self._acknowledged[wish.number] = asyncio.ensure_future(self._ask(wish, window))
        try:
            for number in {self._interest.number_of(type_id) for type_id in chosen}:
                if number is not None:
                    await asyncio.shield(self._acknowledged[number])
        except BaseException:
            await subscription.unsubscribe()
            raise
        return subscription

    async def _ask(self, wish: Wish, window: int) -> None:
        def give(messages: int) -> None:
            if self._link is not None and self._lost is not None and not self._lost.done():
                self._link.send(self._core.Credit(subscription=wish.number, messages=messages))

        self._credits[wish.number] = Credit(window, give)
        await self._request(self._subscription(wish, window))

    def _subscription(self, wish: Wish, window: int) -> Callable[[int], Message]:
        def make(request: int) -> Message:
            return self._core.Subscribe(  # type: ignore[no-any-return]
                request=request, subscription=wish.number, type_ids=list(wish.type_ids), window=window
            )

        return make

    def _leave(self, subscription: LocalSubscription) -> Awaitable[object] | None:
        """A local subscription ended: the bridge is told of types that nobody here wants any more."""
        self._dispatcher.remove(subscription)
        unwanted = [one for one in subscription.type_ids if not self._dispatcher.interested(one)]
        wishes = self._interest.remove(unwanted)
        if self._link is None or self._lost is None or self._lost.done() or self._closed:
            return None
        left = asyncio.gather(*map(self._tell, wishes), return_exceptions=True)
        return left if wishes else None

    async def _tell(self, wish: Wish) -> None:
        if wish.type_ids:
            await self._request(self._subscription(wish, self._credits[wish.number].window))
            return
        await self._request(lambda request: self._core.Unsubscribe(request=request, subscription=wish.number))  # type: ignore[no-any-return]
        self._credits.pop(wish.number, None)
        self._acknowledged.pop(wish.number, None)

    async def _request(self, make: Callable[[int], Message]) -> None:
        """Send a request and wait for its Ack.

        Raises:
            Refused: The bridge said no.
        """
        number = next(self._numbers)
        answer = self._requests[number] = asyncio.get_running_loop().create_future()
        try:
            self._connected().send(make(number))
            async with asyncio.timeout(self._timeout):
                await answer
        finally:
            self._requests.pop(number, None)

    # --- receiving ---

    def _receive(self, event: Event) -> None:
        if isinstance(event, Batch):
            self._receive_batch(event)
        else:
            handle = _HANDLERS.get(type(event).__name__)
            if handle is not None:
                handle(self, event)

    def _receive_batch(self, batch: Batch) -> None:
        for index, type_id in enumerate(batch.type_ids):
            number = self._interest.number_of(type_id)
            credit = self._credits.get(number) if number is not None else None
            if credit is not None:  # else it crossed the end of its subscription
                self._deliver(type_id, batch.payload(index), credit)

    def _deliver(self, type_id: int, payload: bytes, credit: Credit) -> None:
        tags: dict[int, bytes] = {}
        try:
            message = self.types.registry.by_id[type_id].codec.decode(payload, tags)
            delivery = Delivery.of(tags) if tags else LOCAL
        except DecodeError as error:
            _log.warning("a message from the bridge was skipped: %s", error)
            credit.one()
            return
        self._dispatcher.deliver(type_id, message, delivery, credit.one)

    def _on_welcome(self, welcome: Any) -> None:
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_result(welcome)

    def _on_error(self, error: Any) -> None:
        refused = refusal(error.code, error.message)
        waiting = self._requests.get(error.request) if error.request is not None else None
        if waiting is None and self._welcome is not None and not self._welcome.done():
            waiting = self._welcome
        if waiting is not None:
            if not waiting.done():
                waiting.set_exception(refused)
            return
        _log.warning("%s", refused)
        if self._on_error is not None:
            self._on_error(refused)
        if error.fatal and self._link is not None:
            self._link.lose(str(refused))

    def _on_ack(self, ack: Any) -> None:
        self._answer(self._requests.get(ack.request))

    def _on_ping(self, ping: Any) -> None:
        if self._link is not None:
            self._link.send(self._core.Pong(nonce=ping.nonce))

    def _on_pong(self, pong: Any) -> None:
        self._answer(self._pings.get(pong.nonce))

    def _on_goodbye(self, goodbye: Any) -> None:
        """The bridge is going; everything that it had for this client came before."""
        if self._link is not None:
            self._link.send(self._core.Goodbye(reason=goodbye.reason))

    def _on_lagged(self, lagged: Any) -> None:
        _log.warning("%d messages of type id %d were dropped: this client is too slow", lagged.dropped, lagged.type_id)

    def _answer(self, waiting: "asyncio.Future[None] | None") -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _lose(self, reason: str) -> None:
        if self._lost is None or self._lost.done():
            return
        self._lost.set_result(reason)
        waiting = [*self._requests.values(), *self._pings.values()]
        waiting += [] if self._welcome is None else [self._welcome]
        for each in waiting:
            if not each.done():
                each.set_exception(ConnectionLost(reason))
        for subscription in list(self._dispatcher.subscriptions):
            if subscription.handler is None:
                subscription.close()


_HANDLERS: Final[dict[str, Callable[[MyceliumClient, Any], None]]] = {
    "Welcome": MyceliumClient._on_welcome,
    "Error": MyceliumClient._on_error,
    "Ack": MyceliumClient._on_ack,
    "Ping": MyceliumClient._on_ping,
    "Pong": MyceliumClient._on_pong,
    "Goodbye": MyceliumClient._on_goodbye,
    "Lagged": MyceliumClient._on_lagged,
}


@contextlib.asynccontextmanager
async def connect(
    url: str | None = None, contracts: Source | None = None, **options: Any
) -> AsyncIterator[MyceliumClient]:
    """A client that is connected inside the block; see `MyceliumClient` and its `connect` for arguments and errors."""
    client = MyceliumClient(contracts, **options)
    await client.connect(url)
    async with client:
        yield client


def _default_contracts() -> Contracts | None:
    try:
        path = find()
    except ContractNotFound:
        return None
    return load(path)
