"""What a client counts by type of message, and times: only for an observer that was given to it."""

import errno
import re
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, final

from attrs import evolve

from mycelium.bus.clientstate import ClientState
from mycelium.bus.handlers import Handler
from mycelium.bus.histogram import Histogram
from mycelium.bus.meter import Meter
from mycelium.bus.stats import Count
from mycelium.bus.traffic import LOCAL
from mycelium.errors import MyceliumError
from mycelium.events import Connected, Disconnected, Event
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode

if TYPE_CHECKING:
    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.clientparts import Parts

__all__ = ["ClientMeter", "Observer", "watched", "within"]

T = TypeVar("T")

_SECONDS: Final = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
_MOST_EXCEPTIONS: Final = 200
"""That are counted by name: an application may make classes of them as it runs."""
_CODES: Final = frozenset(one.reason for one in ErrorCode)
_NAMED: Final = re.compile(r"the bridge (?:refused \(|said goodbye: )(\w+)")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_WORDS: Final = {
    "nothing heard for three heartbeats": "heartbeat",
    "the bridge closed it": "eof",
    "a fault of this client; its log has more": "internal",
}
_OTHER: Final = "other"
_SNAKE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAKEN, _REPLIED = "published", "replied"


class Observer(Protocol):
    """Somebody who wants to know what a client does: `mycelium.observe.MetricsObserver`."""

    def observe(self, client: "MyceliumClient") -> "ClientMeter":
        """A client was made; where it is to count."""


@final
class ClientMeter:
    """Of one client.

    Attributes:
        tally: Messages that handlers and iterators are done with, and those that they did not get, by type id.
        published: Messages by name and outcome: `published` once they are in the send buffer, or confirmed, else the
            name of the exception.
        posted: Those of them that had to wait for nothing, by class.
        publish_seconds: How long the others took, by name.
        received: Messages from the bridge, replies included, by type id.
        handler_seconds: How long handlers took, by name.
        handlers: Calls that are going on now.
        exceptions: What handlers have raised, by name of the message and of the exception.
        request_seconds: How long requests took, by name and outcome.
        reconnects: Connections after the first, by why the one before was lost.
    """

    def __init__(self, client: "MyceliumClient") -> None:
        self._client = weakref.ref(client)
        self.tally = Meter().tally(LOCAL)
        self.published: Counter[tuple[str, str]] = Counter()
        self.posted: defaultdict[type, Count] = defaultdict(Count)
        self.publish_seconds: defaultdict[str, Histogram] = defaultdict(_histogram)
        self.received: Counter[int] = Counter()
        self.handler_seconds: defaultdict[str, Histogram] = defaultdict(_histogram)
        self.handlers = 0
        self.exceptions: Counter[tuple[str, str]] = Counter()
        self.request_seconds: defaultdict[tuple[str, str], Histogram] = defaultdict(_histogram)
        self.reconnects: Counter[str] = Counter()
        self._lost = _OTHER
        self._parts: Parts | None = None

    def __repr__(self) -> str:
        return f"<ClientMeter of {self._client()!r}>"

    @property
    def state(self) -> ClientState:
        """Where the client stands; one that is gone is closed."""
        client = self._client()
        return ClientState.CLOSED if client is None else client.state

    @property
    def contracts(self) -> Contracts | None:
        """What the client goes by; None before it was connected."""
        return None if self._parts is None else self._parts.accord.contracts

    @property
    def unsent(self) -> tuple[int, int]:
        """Messages that wait to be sent, and their bytes."""
        return (0, 0) if self._parts is None else (self._parts.outlet.buffer.messages, self._parts.outlet.buffer.size)

    @property
    def waiting(self) -> Counter[int]:
        """Messages that wait for handlers and iterators, by type id."""
        subscriptions = () if self._parts is None else list(self._parts.inbox.dispatcher.subscriptions)
        return Counter(type_id for one in subscriptions for type_id in one.queue.type_ids)

    @staticmethod
    def empty() -> Histogram:
        """Of times, with none in it."""
        return _histogram()

    def enter(self, parts: "Parts") -> None:
        """Have everything counted from now on."""
        self._parts = parts
        parts.outlet.meter = parts.inbox.meter = self
        parts.inbox.dispatcher.count_by_type(self.tally)
        parts.events.listener = self._on_event

    # --- publishing ---

    def counted(self, post: Callable[[Message], None]) -> Callable[[Message], None]:
        """What publishes messages right away."""
        posted = self.posted

        def count(message: Message) -> None:
            try:
                post(message)
            except MyceliumError as error:
                self.published[name_of(message), _word(error)] += 1
                raise
            posted[message.__class__].number += 1

        return count

    @contextmanager
    def publishing(self, message: Message) -> Iterator[None]:
        """A message is published in the block, for which somebody waits."""
        began, outcome = perf_counter(), _TAKEN
        try:
            yield
        except BaseException as error:
            outcome = _word(error)
            raise
        finally:
            name = name_of(message)
            self.published[name, outcome] += 1
            self.publish_seconds[name].observe(perf_counter() - began)

    @contextmanager
    def requesting(self, message: Message) -> Iterator[None]:
        """A request is made in the block."""
        began, outcome = perf_counter(), _REPLIED
        try:
            yield
        except TimeoutError:
            outcome = "timeout"
            raise
        except BaseException as error:
            outcome = _word(error)
            raise
        finally:
            self.request_seconds[name_of(message), outcome].observe(perf_counter() - began)

    # --- receiving ---

    def came(self, batch: Batch) -> None:
        """Messages came from the bridge."""
        if batch.is_even:
            self.received[batch.type_ids[0]] += len(batch.type_ids)
        else:
            self.received.update(batch.type_ids)

    def watched(self, handler: Handler) -> Handler:
        """The same handler, looked at while it works."""
        function = handler.function

        async def work_beside(message: Message, *more: Any) -> Any:
            with self._handling(message):
                return await function(message, *more)

        def work(message: Message, *more: Any) -> Any:
            with self._handling(message):
                return function(message, *more)

        return evolve(handler, function=work_beside if handler.is_async else work)

    @contextmanager
    def _handling(self, message: Message) -> Iterator[None]:
        began = perf_counter()
        self.handlers += 1
        try:
            yield
        except Exception as error:
            key = name_of(message), type(error).__name__
            known = key in self.exceptions or len(self.exceptions) < _MOST_EXCEPTIONS
            self.exceptions[key if known else ("_other", "_other")] += 1
            raise
        finally:
            self.handlers -= 1
            self.handler_seconds[name_of(message)].observe(perf_counter() - began)

    # --- connections ---

    def _on_event(self, event: Event) -> None:
        match event:
            case Disconnected():
                self._lost = _why(event.reason)
            case Connected() if event.epoch > 1:
                self.reconnects[self._lost] += 1


_NOTHING: Final = nullcontext()


def watched(meter: ClientMeter | None, message: Message) -> AbstractContextManager[None]:
    """A block in which a message is published, looked at if somebody asks for it."""
    return _NOTHING if meter is None else meter.publishing(message)


async def within(block: AbstractContextManager[None], work: Coroutine[Any, Any, T]) -> T:
    """Some work, done inside a block."""
    with block:
        return await work


def name_of(message: Message) -> str:
    """The name of a message in its contract."""
    name: str = message.__mycelium__.message.name
    return name


def _histogram() -> Histogram:
    return Histogram(_SECONDS)


def _word(error: BaseException) -> str:
    """The name of an exception as an outcome: that of one of ours, `cancelled`, or `error`."""
    name = type(error).__name__
    if isinstance(error, MyceliumError):
        return _SNAKE.sub("_", name).lower()
    return "cancelled" if name == "CancelledError" else "error"


def _why(reason: str) -> str:
    """Why a connection was lost, in one word of few: what people are told may hold anything."""
    if (found := _NAMED.match(reason)) is not None:
        return found[1] if found[1] in _CODES else _OTHER
    if (found := _ERRNO.match(reason)) is not None:
        return errno.errorcode.get(int(found[1]), _OTHER).lower()
    return _WORDS.get(reason, _OTHER)
