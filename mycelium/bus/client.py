"""`MyceliumClient`: a connection to a bridge with the same calls as a MessageBus."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import PurePath
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, Unpack, final, overload

from attrs import asdict

from mycelium.bus.accord import Accord, own_contracts
from mycelium.bus.clientmeter import Observer
from mycelium.bus.clientparts import Parts, Settings
from mycelium.bus.clientstate import ClientState
from mycelium.bus.clientstats import ClientStats
from mycelium.bus.confirming import confirmed
from mycelium.bus.conversation import Conversation
from mycelium.bus.correspondence import Correspondence
from mycelium.bus.ending import Ending
from mycelium.bus.errors import ClosedError, ConnectionLost, DrainingError, Refused, UsageError
from mycelium.bus.eventstream import Events, EventStream
from mycelium.bus.handlers import HandlerFunction, describe
from mycelium.bus.heartbeat import DEFAULT_HEARTBEAT_MS
from mycelium.bus.inbox import Inbox
from mycelium.bus.lifeline import Lifeline
from mycelium.bus.many import Many
from mycelium.bus.observing import TracingChoice, client_traces
from mycelium.bus.options import DEFAULT_BLOCK_SECONDS, SubscribeOptions
from mycelium.bus.orders import Order, Orders
from mycelium.bus.outcome import heard
from mycelium.bus.outlet import TURN_BYTES, Outlet
from mycelium.bus.receipt import Receipt
from mycelium.bus.reception import Reception
from mycelium.bus.replies import answering
from mycelium.bus.security.credentials import Credentials, PathLike
from mycelium.bus.sendbuffer import BUFFER_BYTES
from mycelium.bus.stats import Totals
from mycelium.bus.stream import Stream
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.tasks import Tasks
from mycelium.bus.thread import check_thread
from mycelium.bus.urls import default_url, parse_url
from mycelium.events import PublishExpired
from mycelium.handle import Contracts, Source, core_protocol
from mycelium.schema.classes import M, Message

__all__ = ["MyceliumClient"]

F = TypeVar("F", bound=HandlerFunction)
_CONFIRM_SECONDS: Final = 10.0


@final
class MyceliumClient:
    """Publishes to a bridge and subscribes at it, over TCP, TLS or a Unix socket.

    A lost connection is made again, with every subscription and with what was published meanwhile. A program that ends
    without closing its client loses nothing that it published: when the event loop shuts down the client sends what it
    holds and says Goodbye. A client belongs to the thread of its event loop.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file, or where there is none the bridge's.
        name: What the bridge shows of this client; by default the program's name and process id.
        heartbeat: Seconds without traffic after which a Ping is sent.
        timeout: Seconds that connecting, a request to the bridge and `flush` may take.
        stamp: Send session, sequence number and time of publication along with each message.
        from_bridge: Take the bridge's contracts even where there is a contracts file.
        follow: Go along when the bridge's contracts change: types are brought up to date in place. None: with the
            bridge's own contracts or a file that says the same, but not with a file of another version.
        on_error: Called with what the bridge refused where no call can raise it.
        reconnect: Make a lost connection again; if not, calls raise ConnectionLost from then on.
        max_reconnect_seconds: How long that is tried; None for ever.
        buffer: Bytes of messages that wait for a connection, at most 65,536 of them and for 30 s; 0: none wait.
        block_timeout: Seconds that a publish waits where the bridge takes no more of a type.
        confirm_timeout: Seconds that a confirmed publish waits for its Receipt.
        echo: On a bus in Mycelium's own dialect, which sends every message to its publisher too: keep these.
        tracing: Whether OpenTelemetry spans are made: True, or a `mycelium.tracing.Tracing`.
        observer: Who counts what this client does, such as `mycelium.observe.MetricsObserver`.
        token: What it says who it is by, where the bridge asks; a Path names a file with it, which is read for each
            connection; None for $MYCELIUM_TOKEN. It is sent by TLS, on Unix sockets and within this machine only.
        tls_ca: Who signs certificates of bridges, a PEM file; None for $MYCELIUM_TLS_CA, else whom the system believes.
        tls_cert: The client's own certificate chain; None for $MYCELIUM_TLS_CERT, else it has none.
        tls_key: Its key; None for $MYCELIUM_TLS_KEY, else it is in the same file.
        insecure: Send the token wherever the client connects to, also where others could read it.

    Attributes:
        name: See above.
        traces: Makes the spans; None where nobody traces.

    Raises:
        ContractError: The contracts file has faults.
        UsageError: The token can be none.
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
        reconnect: bool = True,
        max_reconnect_seconds: float | None = None,
        buffer: int = BUFFER_BYTES,
        block_timeout: float = DEFAULT_BLOCK_SECONDS,
        confirm_timeout: float = _CONFIRM_SECONDS,
        echo: bool = False,
        tracing: TracingChoice = None,
        observer: Observer | None = None,
        token: str | os.PathLike[str] | None = None,
        tls_ca: PathLike | None = None,
        tls_cert: PathLike | None = None,
        tls_key: PathLike | None = None,
        insecure: bool = False,
    ) -> None:
        self.name = name or f"{PurePath(sys.argv[0]).name or 'python'}-{os.getpid()}"
        self._timeout = timeout
        self._confirm_seconds = confirm_timeout
        self._events = Events()
        self._tasks = Tasks()
        self._thread: int | None = None
        core = core_protocol()
        self._outlet = Outlet(
            core,
            limit=buffer,
            block_seconds=block_timeout,
            stamp=stamp,
            check=self._refuse_publishing,
            blocks_itself=lambda model: self._inbox.blocks_itself(model),  # noqa: PLW0108  there is no inbox yet
            on_expired=lambda count: self._events.tell(PublishExpired(count)),
        )
        letters = self._correspondence = Correspondence(self._outlet)
        self._inbox = Inbox(core, on_reply=letters.answer, send_reply=letters.send_reply)
        own = own_contracts(contracts, from_bridge=from_bridge)
        self._accord = Accord(own, follow=follow, inbox=self._inbox, events=self._events)
        self._reception = Reception(
            self._inbox,
            self._outlet,
            letters,
            self._accord,
            events=self._events,
            tasks=self._tasks,
            on_error=on_error,
        )
        self._orders = Orders(
            self._inbox,
            lambda: self.types,
            events=self._events,
            tasks=self._tasks,
            timeout=timeout,
            check=self._refuse_subscribing,
            require=lambda ability: self._life.require(ability),  # noqa: PLW0108  there is no lifeline yet
            echo=echo,
        )
        proof = Credentials(token, tls_ca, tls_cert, tls_key, insecure=insecure)
        settings = Settings(self.name, round(heartbeat * 1000), timeout, reconnect, max_reconnect_seconds, echo, proof)
        parts = Parts(self._inbox, self._outlet, letters, self._reception, self._accord, self._events)
        if observer is not None:
            observer.observe(self).enter(parts)
        self._life = Lifeline(core, settings, parts, self._orders.take_up_declared)
        self.traces = client_traces(tracing, self._life, parts, confirm_timeout, self._refuse_publishing)
        if self.traces is not None:
            self._orders.consumer = self.traces.consumer
            vars(self).update(self.traces.calls())  # in their place, so that those who do not trace pay nothing
        self._ending = Ending(self._life, self._inbox, self._outlet, tasks=self._tasks, events=self._events)

    def __repr__(self) -> str:
        return f"<MyceliumClient {self.name!r} {self.state.value}, {self._inbox!r}>"

    async def __aenter__(self) -> Self:
        if not self._life.is_begun:
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

    @property
    def session(self) -> int | None:
        """The number that the bridge gave the newest connection; None before the first."""
        return self._life.session

    @property
    def state(self) -> ClientState:
        """Where this client stands; every change is an event, too."""
        if self._ending.is_begun and not self._life.is_over:
            return ClientState.DRAINING
        return self._life.phase

    # --- connecting ---

    async def connect(self, url: str | None = None, *, retry_first: bool = False) -> None:
        """Connect to a bridge, and make every subscription that was declared with `on` or `reply`.

        Args:
            url: `tcp://host:port`, `host:port`, `tls://host:port` or `unix:///path`, or `rust+tcp://host:port` or
                `rust+unix:///path` of a bus in Mycelium's own dialect; None for $MYCELIUM_URL, else
                tcp://localhost:7777.
            retry_first: Whether to go on trying where there is no bridge yet.

        Raises:
            UsageError: The URL is none, or the client is connected already, or a declared subscription makes no sense.
            ConnectError: Nobody is there, or no answer came in time, or what answers is no bridge.
            TlsError: The two could not agree on TLS, or one end does not believe the other.
            SecurityError: A file with the token or certificates cannot be used.
            AuthError: The bridge wants to know who this is, or does not let it in.
            SchemaMismatch: The bridge's contracts and these cannot talk to each other.
            Refused: The bridge does not let this client in, or refuses a declared subscription.
            ContractError: The bridge's contracts, where they are taken, have faults.
            ClosedError: The client is closed, or was closed meanwhile.
        """
        self._refuse_if_ending()
        if self._life.is_begun:
            raise UsageError("the client is connected already; close it, and make a new one for another bridge")
        self._thread = self._life.thread = get_ident()
        try:
            await self._life.begin(parse_url(url or default_url()), retry=retry_first)
        except Exception:
            self._refuse_if_ending()
            raise

    def events(self) -> EventStream:
        """What happens from now on, as an async iterator of typed events; it ends when the client is closed."""
        return self._events.stream()

    async def closed(self) -> str:
        """Wait until the client is closed, or will not be connected again; the reason why.

        Raises:
            UsageError: This is not the client's thread.
            ClosedError: It was never connected.
        """
        check_thread(self._thread, "client")
        return await self._life.over()

    async def drain(self, timeout: float = 30.0) -> None:
        """Finish everything, then close: subscriptions end, handlers finish what they have and may publish meanwhile,
        what was published is sent, and receipts are waited for.

        May be called several times and from inside a handler; all callers share one end.

        Args:
            timeout: Seconds that it may take; where the connection is being made again, it is waited for.

        Raises:
            DrainTimeout: It took longer. The client is closed all the same.
            UsageError: This is not the client's thread.
        """  # noqa: D205
        check_thread(self._thread, "client")
        await self._ending.drain(timeout)

    async def close(self) -> None:
        """Drain for at most 5 s in all, in which only handlers may publish.

        May be called twice and from inside a handler.

        Raises:
            UsageError: This is not the client's thread.
        """
        check_thread(self._thread, "client")
        await self._ending.close()

    # --- subscribing ---

    async def subscribe(
        self,
        handler: HandlerFunction,
        *types: type[Message],
        topic: str | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> LocalSubscription:
        """Have a function called with each message of some types; returns once the bridge has confirmed.

        While a lost connection is made again that is waited for. Handlers of the same type share its subscription at
        the bridge, and with it `on_lag`, `queue`, `window`, `group` and `no_echo`; left out they are what they are.

        Args:
            handler: Sync or async; takes the message and, if it wants to, a Delivery.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            options: See `SubscribeOptions`.

        Raises:
            UsageError: It is not clear which types are meant, or the handler takes no message, or an option makes no
                sense, or one of the types is subscribed already with other options.
            Refused: The bridge refuses the subscription.
            TimeoutError: The bridge did not answer in time, or there was no connection.
            ConnectionLost: The connection is gone for good.
            DrainingError: The client is being drained.
            ClosedError: The client is closed, or not connected.
        """
        return await self._orders.subscribe(Order(handler, describe(handler), types, topic, options))

    def messages(self, *types: type[M], topic: str | None = None, **options: Unpack[SubscribeOptions]) -> Stream[M]:
        """Messages of some types as an async iterator; see `subscribe` for arguments and errors.

        It raises ConnectionLost when the connection is gone for good and everything that came has been given out. With
        `gaps=True` it gives out each Gap in its place, the one after a reconnect included.
        """
        return Stream(lambda: self._orders.subscribe(Order(None, None, types, topic, options)))

    def on(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """Decorates a handler; see `subscribe` for arguments and errors.

        Before `connect` it is declared, and `connect` subscribes. After that a task does, whose errors are logged.
        """

        def declare(function: F) -> F:
            self._orders.declare(Order(function, describe(function), types, topic, options))
            return function

        return declare

    def reply(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """Decorates a function, sync or async, that returns the reply to a request; see `on`."""

        def declare(function: F) -> F:
            self._orders.declare(Order(function, answering(function), types, topic, options, replies=True))
            return function

        return declare

    # --- publishing ---

    @overload
    async def publish(
        self, message: Message, *, confirm: Literal[False] = False, mandatory: Literal[False] = False
    ) -> None: ...

    @overload
    async def publish(self, message: Message, *, confirm: Literal[True], mandatory: bool = False) -> Receipt: ...

    @overload
    async def publish(self, message: Message, *, confirm: bool = False, mandatory: Literal[True]) -> Receipt: ...

    # Keyword-only, as the overloads have it, would cost every call a twentieth of its time.
    async def publish(self, message: Message, confirm: bool = False, mandatory: bool = False) -> Receipt | None:
        """Publish; returns when the message is in the send buffer, for whose room it waits while connected.

        A message that is still there when the connection is lost goes through the next one. A cancelled call has
        either published the whole message or nothing.

        Args:
            message: The message.
            confirm: Wait until the bridge has routed it, for the Receipt.
            mandatory: The same, and somebody must have subscribed to it.

        Raises:
            EncodeError: A value does not fit its type, or the payload is larger than the bridge takes.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this client's contracts, or this is not the client's thread.
            BackpressureTimeout: A subscriber under `block` had no room within `block_timeout`.
            WouldDeadlock: This is the handler whose own full queue is waited for.
            BufferFull: There is no connection, and the send buffer is full.
            QueueFull: Confirmed: a subscriber under `reject` had no room.
            NoSubscribers: Mandatory: nobody has subscribed.
            ConfirmTimeout: Confirmed: no Receipt came in time.
            Refused: Confirmed: the bridge refused the message.
            ConnectionLost: Confirmed: the connection was lost, and whether the message was routed is unknown. Else: it
                is gone for good, or there is none and the client has no buffer.
            DrainingError: The client is being drained.
            ClosedError: The client is closed, or not connected.
        """
        outlet = self._outlet
        if not self._life.is_steady or get_ident() != self._thread:
            self._refuse_publishing()
        if confirm or mandatory:
            self._life.require("confirm")
            return await confirmed(outlet, message, self._confirm_seconds, mandatory=mandatory)
        if outlet.is_free:
            post = outlet.post  # as a method it would be looked for in the class first
            post(message)
            if outlet.turn_bytes >= TURN_BYTES:
                await outlet.rest()
        else:
            await outlet.publish(message)
        return None

    def publish_nowait(self, message: Message) -> None:
        """Publish without waiting; see `publish` for further errors.

        Raises:
            BufferFull: The send buffer is full.
            QueueFull: The bridge takes no messages of the type for now; `enqueued` is 0.
        """
        outlet = self._outlet
        if not self._life.is_steady or get_ident() != self._thread:
            self._refuse_publishing()
        if outlet.is_free:
            outlet.post(message)
        else:
            outlet.publish_nowait(message)

    async def publish_many(self, messages: Iterable[Message]) -> int:
        """Publish messages one after the other, as `publish` does each, with less to do for each than in a loop of it.

        A stream of messages is published quickest by this. What is raised carries a note that says how many were
        published before; those behind have not been asked for.

        Args:
            messages: The messages. They are taken as they are published, in the event loop's thread: whoever makes them
                must not block it.

        Returns:
            How many there were.

        Raises:
            UsageError: `messages` cannot be iterated over.
            MyceliumError: As `publish` raises.
        """
        self._refuse_publishing()
        outlet = self._outlet
        is_watched = self.traces is not None or outlet.meter is not None
        return await Many(self._put, outlet.rest, None if is_watched else outlet).run(messages)

    async def request(self, message: Message, reply: type[M], timeout: float = 2.0) -> M:
        """Publish a request and wait for the first reply to it.

        Args:
            message: The request.
            reply: The type of the reply.
            timeout: Seconds; they include the wait for a connection that is being made again.

        Raises:
            NoResponders: Nobody has subscribed to the request.
            TimeoutError: No reply came in time.
            UsageError: The reply is of another type.
            ConnectionLost: The connection was lost after the request was sent.
            MyceliumError: As `publish` raises.
        """
        if not self._life.is_steady or get_ident() != self._thread:
            self._refuse_publishing()
        self._life.require("request")
        return await self._correspondence.request(message, reply, timeout)

    async def flush(self) -> None:
        """Wait until the bridge has handed everything published before to every subscriber's queue.

        A message that waits for room under the lag policy `block` counts as handed over; a receipt says more.

        Raises:
            TimeoutError: It took longer than the client's timeout, that for a connection included.
            ConnectionLost: The connection ended meanwhile.
            DrainingError: The client is being drained, and its handlers are done.
            ClosedError: The client is closed, or not connected.
            UsageError: This is not the client's thread.
        """
        async with asyncio.timeout(self._timeout):
            await heard((await self._connected()).ping())

    async def query(self, what: str, **options: Any) -> list[dict[str, Any]]:
        """Ask the bridge about itself: `info`, `stats`, `sessions`, or `reload(force=…)`; its answers, as JSON objects.

        Raises:
            Refused: There is no such question, it is not for this client, or too many of its questions wait already.
            TimeoutError: The bridge did not answer in time.
            ConnectionLost: The connection ended meanwhile.
            DrainingError: The client is being drained, and its handlers are done.
            ClosedError: The client is closed, or not connected.
            UsageError: This is not the client's thread.
        """
        self._life.require("query")
        async with asyncio.timeout(self._timeout):
            conversation = await self._connected()
            answer, bodies = conversation.query(what, json.dumps(options).encode() if options else None)
            await heard(answer)
        return [json.loads(body) for body in bodies]

    def stats(self) -> ClientStats:
        """The counters as they stand."""
        outlet = self._outlet
        received = Totals().with_live(self._inbox.dispatcher.stats())
        return ClientStats(
            **asdict(received, recurse=False),
            published=outlet.buffer.entered,
            buffered=outlet.buffer.messages,
            buffered_bytes=outlet.buffer.size,
            expired=outlet.buffer.expired,
            refused=self._reception.refused,
            unconfirmed=len(outlet.receipts),
            late_replies=self._correspondence.late,
            reconnects=max(self._life.epoch - 1, 0),
            skipped=self._inbox.skipped,
        )

    # --- inside ---

    def _refuse_if_ending(self) -> None:
        """Refuse what begins something new."""
        if self._life.is_over:
            raise self._life.failure()
        if self._ending.is_closing:
            raise ClosedError("the client is closed; make a new one")
        if self._ending.is_begun:
            raise DrainingError("the client is being drained; make a new one")

    def _refuse_subscribing(self) -> None:
        self._refuse_if_ending()
        self._refuse_publishing()

    def _refuse_publishing(self) -> None:
        """Refuse what nobody would send, or what comes from a wrong thread."""
        if self._life.is_steady and get_ident() == self._thread:
            return
        ending = self._ending
        if self._life.is_over or (ending.is_closing and not self._inbox.dispatcher.is_calling):
            self._refuse_if_ending()
        if ending.is_sealed:
            raise DrainingError("the client is being drained, and all handlers are done; publish before that")
        if not self._life.is_begun or self._life.epoch == 0:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        check_thread(self._thread, "client")
        conversation = self._life.conversation
        if not self._life.settings.reconnect and conversation is not None and not conversation.is_open:
            raise ConnectionLost(conversation.why_not)

    async def _put(self, message: Message) -> None:
        """What `publish` does, but for the turn that it may give to others."""
        self._refuse_publishing()
        await self._outlet.put(message)

    async def _connected(self) -> Conversation:
        """The connection, for calls that are made while it is there."""
        self._refuse_publishing()
        return await self._life.joined()
