"""`SyncClient`: a MyceliumClient for threads without an event loop."""

import atexit
import contextlib
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, Unpack, final, overload

from mycelium.bus.calling import calling_subscription
from mycelium.bus.client import MyceliumClient
from mycelium.bus.clientstate import ClientState
from mycelium.bus.clientstats import ClientStats
from mycelium.bus.errors import BufferFull, ClosedError, DrainTimeout
from mycelium.bus.handlers import HandlerFunction, describe, types_of
from mycelium.bus.handover import Handover
from mycelium.bus.hands import Hands
from mycelium.bus.loopthread import LoopThread
from mycelium.bus.many import iterator_of, note
from mycelium.bus.options import SubscribeOptions
from mycelium.bus.plain import plain_handler
from mycelium.bus.publisher import Publisher
from mycelium.bus.receipt import Receipt
from mycelium.bus.replies import answering
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.syncstream import SyncEvents, SyncStream, Taker
from mycelium.bus.syncsubscription import SyncSubscription
from mycelium.bus.urls import default_url, parse_url
from mycelium.handle import Contracts, Source
from mycelium.schema.classes import M, Message

__all__ = ["SyncClient", "connect"]

F = TypeVar("F", bound=HandlerFunction)

_HANDOVER_SECONDS: Final = 0.5
"""How long `close` waits for room for what `publish_nowait` has taken."""
_open: Final[set["SyncClient"]] = set()
"""Clients that nobody has closed yet; they go on until somebody does, or the process ends."""


def connect(url: str | None = None, contracts: Source | None = None, **options: Any) -> "SyncClient":
    """Connect to a bridge.

    Args:
        url: `tcp://host:port`, `host:port`, `tls://host:port` or `unix:///path`; None for $MYCELIUM_URL, else
            tcp://localhost:7777.
        contracts: What `mycelium.load` takes; None for the default contracts file, or where there is none the bridge's.
        options: The other arguments of `MyceliumClient`; `on_error` is called in a thread of its own.

    Raises:
        UsageError: The URL is none, or this thread runs an event loop.
        ContractError: The contracts file, or what the bridge sent, has faults.
        ConnectError: Nobody is there, or no answer came in time, or what answers is no bridge.
        SchemaMismatch: The bridge's contracts and these cannot talk to each other.
        Refused: The bridge does not let this client in.
    """
    thread = LoopThread("mycelium client")
    callbacks = Hands("mycelium callbacks")
    callbacks.adopt(options)

    async def begin() -> MyceliumClient:
        client = MyceliumClient(contracts, **options)
        await client.connect(url)
        return client

    try:
        as_structs = parse_url(url or default_url()).is_rust
        return SyncClient(thread.run(begin), thread, callbacks, as_structs=as_structs)
    except BaseException:
        thread.end()
        raise


@final
class SyncClient:
    """A connected client whose calls block, for any number of threads at once; `connect` makes it.

    What one thread publishes stays in its order. Handlers are plain functions; each subscription calls its own in a
    worker thread, so that a slow one delays neither other handlers nor the connection; any call may be made there.
    Callbacks such as `on_gap` and `on_error` run in worker threads as well. Calls from a thread that runs an event loop
    are refused with UsageError, but for `publish_nowait`.

    A KeyboardInterrupt ends a call at once, and the client can still be used and closed. A client that nobody closes
    goes on until the process ends, and then sends what was published. After a fork it is the parent's: the child has to
    connect anew.
    """

    def __init__(
        self, client: MyceliumClient, thread: LoopThread, callbacks: Hands, *, as_structs: bool = False
    ) -> None:
        self._client = client
        self._thread = thread
        self._callbacks = callbacks
        self._lock = threading.Lock()
        self._hands: weakref.WeakSet[Hands] = weakref.WeakSet((callbacks,))
        """Those whose threads still run; a thread keeps its own."""
        self._takers: weakref.WeakSet[Taker[Any]] = weakref.WeakSet()
        self._checker = Publisher(client.types, as_structs=as_structs)
        """Refuses in the calling thread what cannot be published; the client's own may be used by the loop only."""
        traced = client.traces is not None
        self._handover = Handover(thread, client.publish_nowait, client.publish, in_context=traced)
        _open.add(self)

    def __repr__(self) -> str:
        return f"<SyncClient of {self._client!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What the bridge shows of this client."""
        return self._client.name

    @property
    def session(self) -> int | None:
        """The number that the bridge gave this connection."""
        return self._client.session

    @property
    def state(self) -> ClientState:
        """Where this client stands."""
        return self._client.state

    @property
    def types(self) -> Contracts:
        """The contracts of this client: its file's, or the bridge's; `client.types.Ping` is a message type."""
        return self._client.types

    # --- publishing ---

    @overload
    def publish(self, message: Message, *, confirm: Literal[True], mandatory: bool = False) -> Receipt: ...

    @overload
    def publish(self, message: Message, *, confirm: bool = False, mandatory: Literal[True]) -> Receipt: ...

    @overload
    def publish(self, message: Message, *, confirm: bool = False, mandatory: bool = False) -> Receipt | None: ...

    def publish(self, message: Message, *, confirm: bool = False, mandatory: bool = False) -> Receipt | None:
        """Publish; returns when the frame is in the send buffer, for which it waits where the bridge does not read.

        Args:
            message: The message.
            confirm: Wait until the bridge has routed it; only then there is a Receipt.
            mandatory: Raise where nobody has subscribed; implies `confirm`.

        Raises:
            EncodeError: A value does not fit its type, or the payload is larger than the bridge takes.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this client's contracts, or this thread runs an event loop.
            BackpressureTimeout: A subscriber with the lag policy `block` had no room in time.
            BufferFull: There is no connection, and the send buffer is full.
            QueueFull: Confirmed: a subscriber under `reject` had no room.
            NoSubscribers: Nobody has subscribed, and the message is mandatory.
            ConfirmTimeout: No receipt came in time.
            Refused: Confirmed: the bridge refused the message.
            ConnectionLost: The connection is gone.
            DrainingError: The client is being drained.
            ClosedError: The client is closed.
        """

        async def work() -> Receipt | None:
            await self._handover.passed()
            publish: Callable[..., Awaitable[Receipt | None]] = self._client.publish
            return await publish(message, confirm=confirm, mandatory=mandatory)

        return self._thread.run(work)

    def publish_nowait(self, message: Message) -> None:
        """Publish without waiting: the message is checked here, and sent in the loop's thread with all that gathered.

        What goes wrong only there (a field that must not decrease, a payload larger than the bridge takes) is logged.
        `publish` and `flush` come after everything that their thread has handed over before.

        Raises:
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this client's contracts.
            BufferFull: 65,536 messages or 8 MiB wait for the loop.
            ConnectionLost: The connection is gone.
            ClosedError: The client is closed.
        """
        frame = self._checker.encode(message, self._checker.entry(message))
        if not self._handover.put(message, len(frame)):
            if calling_subscription() is None:
                raise ClosedError("the client is closed; make a new one")
            self.publish(message)  # of a handler that the client's end waits for; its thread may wait too

    def publish_many(self, messages: Iterable[Message]) -> int:
        """Publish messages one after the other, as `publish_nowait` does each, but wait while too much waits.

        It returns when all are in the send buffer. What is raised carries a note that says how many were published
        before; those behind have not been asked for.

        Returns:
            How many there were.

        Raises:
            UsageError: `messages` cannot be iterated over, or this thread runs an event loop.
            MyceliumError: As `publish_nowait` raises, but for BufferFull.
        """
        source, done = iterator_of(messages), 0
        try:
            self._thread.run(self._handover.passed)
            for message in source:
                try:
                    self.publish_nowait(message)
                except BufferFull:
                    self.publish(message)
                done += 1
            self._thread.run(self._handover.passed)
        except BaseException as error:
            error.add_note(note(done))
            raise
        return done

    def request(self, message: Message, reply: type[M], timeout: float = 2) -> M:
        """Publish a message, and wait for the first reply.

        Args:
            message: The request.
            reply: The type that is expected.
            timeout: Seconds.

        Raises:
            NoResponders: Nobody has subscribed to it.
            TimeoutError: No reply came in time.
            UsageError: The reply is of another type; see `publish` for this and further errors.
        """

        async def work() -> M:
            await self._handover.passed()
            return await self._client.request(message, reply, timeout)

        return self._thread.run(work)

    def flush(self) -> None:
        """Wait until the bridge has handed everything published before to every subscriber's queue.

        Raises:
            TimeoutError: It took longer than the client's timeout.
            ConnectionLost: The connection ended meanwhile.
            ClosedError: The client is closed.
            UsageError: This thread runs an event loop.
        """

        async def work() -> None:
            await self._handover.passed()
            await self._client.flush()

        self._thread.run(work)

    # --- subscribing ---

    def subscribe(
        self,
        handler: HandlerFunction,
        *types: type[Message],
        topic: str | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> SyncSubscription:
        """Have a function called with each message of some types; returns once the bridge has confirmed.

        Args:
            handler: A plain function; takes the message and, if it wants to, a SyncDelivery. It is called in a worker
                thread of the subscription, with one message at a time, or with `concurrency=n` in n threads.
            types: Message classes; none: what the handler's annotation says.
            topic: In place of types: every message of the topic.
            options: See SubscribeOptions.

        Raises:
            UsageError: The handler is async or takes no message, it is not clear which types are meant, one of the
                types is subscribed already with other options, or this thread runs an event loop.
            Refused: The bridge refuses the subscription.
            TimeoutError: The bridge did not answer in time.
            ConnectionLost: The connection is gone.
            ClosedError: The client is closed.
        """
        return self._subscribe(lambda one: one, handler, types, topic, options)

    def on(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """A decorator that subscribes a function; see `subscribe` for arguments and errors."""

        def decorate(handler: F) -> F:
            self.subscribe(handler, *types, topic=topic, **options)
            return handler

        return decorate

    def reply(
        self, *types: type[Message], topic: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """A decorator that has requests answered with the message that a function returns; see `subscribe`."""

        def decorate(handler: F) -> F:
            chosen = types if types or topic is not None else types_of(handler, self.types)
            self._subscribe(lambda one: answering(one).function, handler, chosen, topic, options)
            return handler

        return decorate

    def messages(self, *types: type[M], topic: str | None = None, **options: Unpack[SubscribeOptions]) -> SyncStream[M]:
        """Messages of some types as an iterator; see `subscribe` for arguments and errors."""
        self._callbacks.adopt(options)
        stream: SyncStream[M] = SyncStream(self._thread, self._client.messages(*types, topic=topic, **options))
        self._keep(stream.taker)
        return stream

    # --- what it is doing ---

    def events(self) -> SyncEvents:
        """What happens from now on, as an iterator of typed events; it ends when the client is closed."""
        events = SyncEvents(self._thread, self._thread.ask(self._client.events))
        self._keep(events.taker)
        return events

    def stats(self) -> ClientStats:
        """The counters as they stand."""
        return self._thread.ask(self._client.stats)

    def query(self, what: str, **options: Any) -> list[dict[str, Any]]:
        """Ask the bridge about itself: `info`, `stats`, `sessions`, or `reload(force=…)`; its answers, as JSON objects.

        Raises:
            Refused: There is no such question, or it is not for this client.
            TimeoutError: The bridge did not answer in time.
            ConnectionLost: The connection is gone.
            ClosedError: The client is closed.
            UsageError: This thread runs an event loop.
        """
        return self._thread.run(lambda: self._client.query(what, **options))

    def closed(self) -> str:
        """Wait until the connection is gone; the reason why.

        Raises:
            ClosedError: The client was closed before.
            UsageError: This thread runs an event loop.
        """
        return self._thread.run(self._client.closed)

    # --- the end ---

    def drain(self, timeout: float = 30) -> None:
        """Take no more messages, let handlers finish all that they have, wait for every receipt, and close.

        Args:
            timeout: Seconds.

        Raises:
            DrainTimeout: It took longer; the client is closed nevertheless.
            ClosedError: The client is closed.
            UsageError: This thread runs an event loop.
        """

        async def work() -> None:
            await self._handover.end(timeout)
            await self._client.drain(timeout)

        try:
            self._thread.run(work)
        except DrainTimeout:
            self.close()
            raise
        self.close()

    def close(self) -> None:
        """Let handlers finish what they have, send what they publish meanwhile, say Goodbye; some 5 s at most.

        May be called twice, from inside a handler and by several threads. Afterwards no thread is left but those of
        handlers that do not return. What a stream got before can still be taken from it.

        Raises:
            UsageError: This thread runs an event loop.
        """
        if self._thread.is_foreign:
            return  # it is the parent's to close
        with contextlib.suppress(ClosedError):
            self._thread.run(self._close)
        self._thread.end()
        with self._lock:
            hands = tuple(self._hands)
        for each in hands:
            each.end()
        _open.discard(self)

    # --- inside ---

    def _subscribe(
        self,
        shape: Callable[[HandlerFunction], HandlerFunction],
        handler: HandlerFunction,
        types: tuple[type[Message], ...],
        topic: str | None,
        options: SubscribeOptions,
    ) -> SyncSubscription:
        """Subscribe a plain function, turned into an async one and then into whatever it is to be."""
        hands = Hands(f"mycelium {describe(handler).name}", options.get("concurrency", 1))
        inner = shape(plain_handler(handler, hands, self._thread))
        hands.adopt(options)
        hands.start()
        with self._lock:
            self._hands.add(hands)

        async def begin() -> LocalSubscription:
            return await self._client.subscribe(inner, *types, topic=topic, **options)

        try:
            return SyncSubscription(self._thread, self._thread.run(begin, LocalSubscription.close), hands)
        except BaseException:
            hands.end()
            raise

    def _keep(self, taker: Taker[Any]) -> None:
        with self._lock:
            self._takers.add(taker)

    async def _close(self) -> None:
        await self._handover.end(_HANDOVER_SECONDS)
        await self._client.close()
        with self._lock:
            takers = tuple(self._takers)
        for taker in takers:
            await taker.keep_rest()


def _close_all() -> None:
    """The process ends: what was published is sent."""
    for client in tuple(_open):
        client.close()


atexit.register(_close_all)
