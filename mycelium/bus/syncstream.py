"""What comes one by one, for threads that wait for it: messages and events of a synchronous client."""

import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from mycelium.bus.errors import BusError, ClosedError
from mycelium.bus.eventstream import EventStream
from mycelium.bus.loopthread import LoopThread
from mycelium.bus.plain import SyncDelivery
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.stream import Stream
from mycelium.events import Event
from mycelium.schema.classes import M

__all__ = ["SyncEvents", "SyncStream", "Taker"]

T = TypeVar("T")


@final
class Taker(Generic[T]):
    """Takes from an asynchronous source; several threads may, and each item goes to one of them.

    Args:
        thread: Of the source's loop.
        take: The source's `next`, which raises ClosedError when it has ended.
    """

    def __init__(self, thread: LoopThread, take: Callable[[float | None], Coroutine[Any, Any, T]]) -> None:
        self._thread = thread
        self._take = take
        self._kept: deque[T] = deque()
        """What was taken for a call that was interrupted, or at the client's end."""
        self._end: BusError | None = None

    def __repr__(self) -> str:
        return f"<Taker, {len(self._kept)} kept>"

    def next(self, timeout: float | None = None) -> T:
        """Take one; a timeout or an interrupted call takes none."""
        with contextlib.suppress(IndexError):
            return self._kept.popleft()
        if self._end is not None:
            raise self._end
        try:
            return self._thread.run(partial(self._take, timeout), self._kept.appendleft)
        except ClosedError:
            with contextlib.suppress(IndexError):  # the client was closed under this call, and has kept the rest
                return self._kept.popleft()
            raise

    async def keep_rest(self) -> None:
        """Take everything that is left of a source that has ended, since its loop is about to end too."""
        try:
            while True:
                self._kept.append(await self._take(0))
        except TimeoutError:
            pass
        except BusError as end:
            self._end = end


@final
class SyncStream(Iterator[M], Generic[M]):
    """Messages of a subscription that begins with the `with` block, or with the first message asked for.

    The end of the block unsubscribes; without one, the subscription ends when the stream is thrown away. Several
    threads may take messages from one stream; each message goes to one of them.
    """

    def __init__(self, thread: LoopThread, stream: Stream[M]) -> None:
        self._thread = thread
        self._stream = stream
        self.taker: Taker[M] = Taker(thread, stream.next)

    def __repr__(self) -> str:
        return f"<SyncStream of {self._stream!r}>"

    def __enter__(self) -> Self:
        self._thread.run(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> M:
        try:
            return self.next()
        except ClosedError:
            raise StopIteration from None

    def next(self, timeout: float | None = None) -> M:
        """Take one message; a timeout or an interrupted call takes none.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            ClosedError: The stream has ended, and everything that it got has been given out.
            ConnectionLost: The same, because the connection to the bridge is gone.
            UsageError: This thread runs an event loop.
        """
        return self.taker.next(timeout)

    def deliveries(self) -> Iterator[tuple[M, SyncDelivery]]:
        """Messages, each with what can be known about it: `for message, delivery in stream.deliveries()`.

        Its body may say that it processes the message, `with delivery.process():`, which is a span where somebody
        traces.
        """
        with contextlib.suppress(ClosedError):
            while True:
                message, delivery = self._thread.run(self._stream.next_delivery)
                yield message, SyncDelivery.of(delivery, self._thread)

    def stats(self) -> SubscriptionStats:
        """The counters of the subscription.

        Raises:
            ClosedError: It has not begun yet.
        """
        return self._thread.ask(self._stream.stats)

    def close(self) -> None:
        """End the subscription. May be called twice.

        Raises:
            UsageError: This thread runs an event loop.
        """
        with contextlib.suppress(ClosedError):  # then the client has ended it
            self._thread.run(self._stream.aclose)


@final
class SyncEvents(Iterator[Event]):
    """Events as an iterator; it ends when the client is closed."""

    def __init__(self, thread: LoopThread, events: EventStream) -> None:
        self._events = events
        self.taker: Taker[Event] = Taker(thread, self._take)

    def __repr__(self) -> str:
        return f"<SyncEvents, {self.taker!r}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return self.next()
        except ClosedError:
            raise StopIteration from None

    def next(self, timeout: float | None = None) -> Event:
        """Take one event.

        Raises:
            TimeoutError: None came within `timeout` seconds.
            ClosedError: There will be no more.
            UsageError: This thread runs an event loop.
        """
        return self.taker.next(timeout)

    async def _take(self, timeout: float | None) -> Event:
        try:
            return await self._events.next(timeout)
        except StopAsyncIteration:
            raise ClosedError("the client is closed; no more events come") from None
