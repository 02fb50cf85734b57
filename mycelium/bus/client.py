"""`MyceliumClient`: a connection to a bridge with the same calls as a MessageBus."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Self, final

from attrs import evolve

from mycelium.bus.accord import Accord, own_contracts
from mycelium.bus.conversation import Conversation
from mycelium.bus.errors import BufferFull, ClosedError, ConnectError, ConnectionLost, Refused, UsageError, refusal
from mycelium.bus.eventstream import Events, EventStream
from mycelium.bus.handlers import HandlerFunction, describe
from mycelium.bus.heartbeat import DEFAULT_HEARTBEAT_MS
from mycelium.bus.inbox import Inbox
from mycelium.bus.link import TURN_BYTES, Link
from mycelium.bus.options import options_of
from mycelium.bus.publisher import Publisher
from mycelium.bus.requests import Answer
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.tasks import Tasks
from mycelium.bus.thread import check_thread
from mycelium.bus.topics import chosen_types
from mycelium.bus.urls import default_url, parse_url
from mycelium.handle import Contracts, Source, core_protocol
from mycelium.schema.classes import M, Message
from mycelium.wire.buffer import Batch

__all__ = ["MyceliumClient"]

_log = logging.getLogger("mycelium.client")
_SEND_BUFFER: Final = 8 * 1024 * 1024
"""Unsent bytes over which `publish_nowait` raises BufferFull."""
_SETTLE_SECONDS: Final = 4.0
"""How long `close` waits for handlers."""
_CLOSE_SECONDS: Final = 5.0
"""How long it takes at most."""


@final
class MyceliumClient:
    """Publishes to a bridge and subscribes at it, over TCP or a Unix socket.

    A program that ends without closing its client loses nothing that it published: when the event loop shuts down the
    client sends what it holds and says Goodbye. A client belongs to the thread of its event loop.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file, or where there is none the bridge's.
        name: What the bridge shows of this client; by default the program's name and process id.
        heartbeat: Seconds without traffic after which a Ping is sent.
        timeout: Seconds that connecting, a request and `flush` may take.
        stamp: Send session, sequence number and time of publication along with each message.
        from_bridge: Take the bridge's contracts even where there is a contracts file.
        follow: Go along when the bridge's contracts change: types are brought up to date in place. None: with the
            bridge's own contracts or a file that says the same, but not with a file of another version.
        on_error: Called with what the bridge refused where no call can raise it.

    Attributes:
        name: See above.
        session: The number that the bridge gave this connection; None before.

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
        follow: bool | None = None,
        on_error: Callable[[Refused], None] | None = None,
    ) -> None:
        self.name = name or f"{PurePath(sys.argv[0]).name or 'python'}-{os.getpid()}"
        self.session: int | None = None
        self._heartbeat_ms = round(heartbeat * 1000)
        self._timeout = timeout
        self._stamp = stamp
        self._tell_error = on_error
        self._events = Events()
        self._tasks = Tasks()
        self._core = core_protocol()
        self._inbox = Inbox(self._core)
        own = own_contracts(contracts, from_bridge=from_bridge)
        self._accord = Accord(own, follow=follow, inbox=self._inbox, events=self._events)
        self._publisher: Publisher | None = None
        self._conversation: Conversation | None = None
        self._thread: int | None = None
        self._deadline: asyncio.Timeout | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<MyceliumClient {self.name!r} {self._state}, {self._inbox!r}>"

    async def __aenter__(self) -> Self:
        if self._conversation is None:
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
        if self._accord.contracts is None:
            raise ClosedError("not connected, and there is no contracts file; call `await client.connect(url)` first")
        return self._accord.contracts

    # --- connecting ---

    async def connect(self, url: str | None = None) -> None:
        """Connect to a bridge.

        Args:
            url: `tcp://host:port`, `host:port` or `unix:///path`; None for $MYCELIUM_URL, else tcp://localhost:7777.

        Raises:
            UsageError: The URL is none, or the client is connected already.
            ConnectError: Nobody is there, or no answer came in time, or what answers is no bridge.
            SchemaMismatch: The bridge's contracts and these cannot talk to each other.
            Refused: The bridge does not let this client in.
            ContractError: The bridge's contracts, where they are taken, have faults.
            ClosedError: The client is closed, or was closed meanwhile.
        """
        self._refuse_if_closed()
        if self._conversation is not None:
            raise UsageError("the client is connected already; close it, and make a new one for another bridge")
        address = parse_url(url or default_url())
        conversation = self._conversation = Conversation(self._core, self)
        hello = self._accord.hello(self._core, self.name, self._heartbeat_ms)
        try:
            async with asyncio.timeout(self._timeout) as self._deadline:
                self._open(await conversation.open(address, hello))
        except BaseException as error:
            self._conversation = None
            await conversation.abandon()
            self._refuse_if_closed()
            if isinstance(error, TimeoutError):
                raise ConnectError(str(address), f"no answer within {self._timeout:g} s") from None
            raise
        finally:
            self._deadline = None
        self._inbox.join(conversation)

    def events(self) -> EventStream:
        """What happens from now on, as an async iterator of typed events; it ends when the client is closed."""
        return self._events.stream()

    async def closed(self) -> str:
        """Wait until the connection is gone; the reason why.

        Raises:
            UsageError: This is not the client's thread.
            ClosedError: It was never connected.
        """
        check_thread(self._thread, "client")
        if self._conversation is None:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        return await asyncio.shield(self._conversation.lost)

    async def close(self) -> None:
        """Let handlers finish what they have, send what they publish meanwhile, say Goodbye; at most 5 s in all.

        May be called twice and from inside a handler.

        Raises:
            UsageError: This is not the client's thread.
        """
        check_thread(self._thread, "client")
        self._inbox.dispatcher.excuse_caller()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"mycelium client {self.name} closing")
        await asyncio.shield(self._closing)

    # --- subscribing ---

    async def subscribe(
        self,
        handler: HandlerFunction,
        *types: type[Message],
        topic: str | None = None,
        queue: int | None = None,
        window: int | None = None,
    ) -> LocalSubscription:
        """Have a function called with each message of some types; returns once the bridge has confirmed.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery; one message at a time.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            queue: Messages that wait at the bridge, by default 8,192; over it the oldest is dropped.
            window: Messages that the bridge sends ahead of the handler, by default 1,024.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message, or one of the types is
                subscribed already with another queue or window.
            Refused: The bridge refuses the subscription.
            TimeoutError: The bridge did not answer in time.
            ConnectionLost: The connection is gone.
            ClosedError: Not connected.
        """
        return await self._subscribe(handler, types, topic, queue, window)

    def messages(
        self,
        *types: type[M],
        topic: str | None = None,
        queue: int | None = None,
        window: int | None = None,
    ) -> Stream[M]:
        """Messages of some types as an async iterator; see `subscribe` for arguments and errors.

        It raises ConnectionLost when the connection is gone and everything that came has been given out.
        """
        return Stream(lambda: self._subscribe(None, types, topic, queue, window))

    # --- publishing ---

    async def publish(self, message: Message) -> None:
        """Publish; returns when the frame is in the send buffer, for which it waits where the bridge does not read.

        Raises:
            EncodeError: A value does not fit its type, or the payload is larger than the bridge takes.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this client's contracts, or this is not the client's thread.
            ConnectionLost: The connection is gone.
            ClosedError: Not connected.
        """
        link, publisher = self._way_out()
        while link.paused:
            publisher.entry(message).codec.check(message)
            await link.writable()
            link, publisher = self._way_out()
        link.write(publisher.frame(message))
        if link.turn_bytes >= TURN_BYTES:
            await asyncio.sleep(0)  # a loop of publishes must not starve whoever reads

    def publish_nowait(self, message: Message) -> None:
        """Publish without waiting; see `publish` for further errors.

        Raises:
            BufferFull: Over 8 MiB are unsent.
        """
        link, publisher = self._way_out()
        if link.unsent >= _SEND_BUFFER:
            raise BufferFull(f"{link.unsent} bytes are unsent; await publish() instead, which waits for room")
        link.write(publisher.frame(message))

    async def flush(self) -> None:
        """Wait until the bridge has handed everything published before to every subscriber's queue.

        Raises:
            TimeoutError: It took longer than the client's timeout.
            ConnectionLost: The connection ended meanwhile.
            ClosedError: Not connected.
        """
        await self._answered([self._connected().ping()])

    async def query(self, what: str, **options: Any) -> list[dict[str, Any]]:
        """Ask the bridge about itself: `info`, `sessions`, or `reload(force=…)`; what it answers, as JSON objects.

        Raises:
            Refused: There is no such question, or it is not for this client.
            TimeoutError: The bridge did not answer in time.
            ConnectionLost: The connection is gone.
            ClosedError: Not connected.
        """
        answer, bodies = self._connected().query(what, json.dumps(options).encode() if options else None)
        await self._answered([answer])
        return [json.loads(body) for body in bodies]

    # --- what the conversation calls ---

    def on_batch(self, batch: Batch) -> None:
        """Messages came."""
        self._inbox.receive(batch, self.types.registry)

    def on_notice(self, notice: Any) -> None:
        """The bridge refused something that was published, or dropped something that was subscribed to."""
        name = type(notice).__name__  # others are of newer bridges, for clients that know more
        if name == "Error":
            self._complain(notice)
        elif name == "Lagged":
            self._inbox.lagged(notice, self.types.registry)
        elif name == "SchemaChanged" and notice.contracts is not None:
            self._tasks.start(self._accord.go_along(notice.contracts))

    def second_hello(self) -> Message:
        """The bridge does not know these contracts, and asks for them."""
        return self._accord.hello(self._core, self.name, self._heartbeat_ms, second=True)

    def on_tick(self) -> None:
        """Half a second has gone by."""
        self._inbox.settle()

    def on_loop_end(self) -> None:
        """The event loop shuts down: what was published is sent, and nothing else is done."""
        self._closed = True
        self._inbox.close()

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""
        if self._closing is None and not self._closed and self.session is not None:
            _log.warning("the connection of %s to the bridge ended: %s", self.name, reason)
        self._inbox.cut(reason)

    # --- inside ---

    @property
    def _state(self) -> str:
        if self._closing is not None or self._closed:
            return "closed"
        if self._conversation is None or self._conversation.welcome is None:
            return "not connected"
        return "connected" if self._conversation.is_open else "disconnected"

    def _open(self, welcome: Any) -> None:
        self._refuse_if_closed()
        stamp = welcome.session if self._stamp else None
        self._publisher = Publisher(self._accord.welcome(welcome), welcome.max_payload, stamp=stamp)
        self._thread = threading.get_ident()
        self.session = welcome.session

    def _refuse_if_closed(self) -> None:
        if self._closing is not None or self._closed:
            raise ClosedError("the client is closed; make a new one")

    def _connected(self) -> Conversation:
        """The connection, for calls that are made while it is there."""
        if self._closing is not None and (self._closed or not self._inbox.dispatcher.is_calling):
            self._refuse_if_closed()
        if self._conversation is None or self._conversation.welcome is None:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        if threading.get_ident() != self._thread:
            check_thread(self._thread, "client")
        return self._conversation

    def _way_out(self) -> tuple[Link, Publisher]:
        link = self._connected().link
        assert self._publisher is not None  # noqa: S101  made when the bridge said Welcome
        return link, self._publisher

    async def _subscribe(
        self,
        handler: HandlerFunction | None,
        types: tuple[type[Message], ...],
        topic: str | None,
        queue: int | None,
        window: int | None,
    ) -> LocalSubscription:
        self._refuse_if_closed()
        self._way_out()
        options = options_of(queue=queue, window=window)
        chosen = chosen_types(self.types, handler, types, topic)
        described = None if handler is None else describe(handler)
        # The queue here is bounded by the windows of its types: the bridge sends no more than that ahead.
        subscription = LocalSubscription(
            chosen, described, evolve(options, queue=sys.maxsize), on_close=self._inbox.leave
        )
        subscription.topic = topic
        try:
            await self._answered(self._inbox.add(subscription, window, queue))
        except BaseException:
            subscription.close()
            raise
        return subscription

    async def _answered(self, answers: list[Answer]) -> None:
        """Wait for the bridge, which is asked no matter what becomes of this call.

        Raises:
            TimeoutError: It did not answer in time.
        """
        async with asyncio.timeout(self._timeout):
            for answer in answers:
                await asyncio.shield(answer)

    def _complain(self, notice: Any) -> None:
        refused = refusal(notice.code, notice.message)
        # What is wrong with a message may show its values, which logs do not.
        about = refused if notice.type_id is None else f"the bridge refused ({refused.name}) type id {notice.type_id}"
        _log.warning("%s", about)
        if self._tell_error is not None:
            try:
                self._tell_error(refused)
            except Exception:  # noqa: BLE001  it must not end the connection
                _log.exception("on_error of %s failed", self.name)

    async def _close(self) -> None:
        start = asyncio.get_running_loop().time()
        conversation = self._conversation
        if self._deadline is not None:
            with contextlib.suppress(RuntimeError):  # it has expired just now
                self._deadline.reschedule(start)  # whoever is connecting is told
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                with contextlib.suppress(ConnectionLost, Refused):
                    await self._answered(self._inbox.stop())
                await self._inbox.dispatcher.idle()
        self._closed = True
        await self._tasks.end()
        self._events.close()
        await self._inbox.dispatcher.end()
        if conversation is not None:
            await conversation.part(start + _CLOSE_SECONDS - asyncio.get_running_loop().time())
