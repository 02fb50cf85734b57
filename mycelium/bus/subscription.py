"""One subscription inside this process: a handler or an iterator, and what waits for it."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.handlers import Handler
from mycelium.bus.stats import SubscriptionStats
from mycelium.schema.classes import Message

__all__ = ["DEFAULT_QUEUE", "Done", "LocalSubscription", "OnClose"]

_log = logging.getLogger("mycelium.bus")
DEFAULT_QUEUE: Final = 8192
"""Messages that wait for a subscriber before the lag policy acts."""
_YIELD_AFTER: Final = 64
"""Messages that a handler takes before other tasks get a turn, should it never wait itself."""

Done: TypeAlias = Callable[[], None]
"""Called once when the subscription is done with a message; what credit is counted by."""
OnClose: TypeAlias = Callable[["LocalSubscription"], Awaitable[object] | None]
"""Called once when a subscription ends; what it gives back, if anything, is awaited by `unsubscribe`."""
_Item: TypeAlias = tuple[Message, Delivery, Done | None]


@final
class LocalSubscription:
    """A handler or an iterator, its queue and its counters.

    A sync handler runs inside `offer`. An async handler runs in a task of its own, one message at a time. Without a handler
    messages wait for `next`. The queue holds `limit` messages; when it is full the oldest is dropped.
    """

    def __init__(
        self, type_ids: frozenset[int], handler: Handler | None, limit: int, on_close: OnClose | None = None
    ) -> None:
        self.type_ids = type_ids
        self.handler = handler
        self.limit = limit
        self.closed = False
        self._on_close = on_close
        self._leaving: Awaitable[object] | None = None
        self._queue: deque[_Item] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._matched = self._delivered = self._in_flight = 0
        self._dropped: Counter[str] = Counter()

    def __repr__(self) -> str:
        what = self.handler.name if self.handler else "iterator"
        return f"<Subscription of {what} to {sorted(self.type_ids)}, {len(self._queue)} queued>"

    def offer(self, message: Message, delivery: Delivery, done: Done | None = None) -> None:
        """Take a message: run the sync handler now, or put it into the queue."""
        self._matched += 1
        handler = self.handler
        if handler is not None and not handler.is_async:
            self._run_sync(handler, message, delivery, done)
            return
        queue = self._queue
        if len(queue) >= self.limit:
            self._drop_oldest()
        queue.append((message, delivery, done))
        if handler is not None:
            self._idle.clear()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(
                    self._work(handler), name=f"mycelium {handler.name}"
                )
        if self._waiters:
            self._wake()

    async def next(self, timeout: float | None = None) -> Message:
        """Take one message from the queue; a timeout or a cancelled call takes none.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            StopAsyncIteration: The subscription ended and its queue is empty.
        """
        while not self._queue:
            if self.closed:
                raise StopAsyncIteration
            await self._wait(timeout)
        message, _, done = self._queue.popleft()
        self._finish(done)
        return message

    def stats(self) -> SubscriptionStats:
        """The counters as they stand."""
        return SubscriptionStats(self._matched, self._delivered, dict(self._dropped), len(self._queue), self._in_flight)

    async def unsubscribe(self) -> None:
        """End the subscription: nothing new is taken, what waits for a handler is dropped. May be called twice."""
        self.close()
        if self._leaving is not None:
            await self._leaving
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    def close(self) -> None:
        """Take nothing new; an iterator still gives out what is queued."""
        if self.closed:
            return
        self.closed = True
        if self._on_close is not None:
            self._leaving = self._on_close(self)
        if self.handler is not None:
            while self._queue:
                self._drop_oldest("disconnected")
        for _ in range(len(self._waiters)):
            self._wake()

    async def drained(self) -> None:
        """Wait until the handler is done with everything that is queued."""
        await self._idle.wait()

    def _run_sync(self, handler: Handler, message: Message, delivery: Delivery, done: Done | None) -> None:
        self._in_flight += 1
        try:
            handler.call(message, delivery)
        except Exception:  # whatever a handler raises, its subscription lives
            _log.exception("handler %s failed on a %s", handler.name, type(message).__name__)
        finally:
            self._in_flight -= 1
            self._finish(done)

    async def _work(self, handler: Handler) -> None:
        while not self.closed:
            since_yield = 0
            while self._queue:
                await self._run_async(handler, *self._queue.popleft())
                since_yield += 1
                if since_yield == _YIELD_AFTER:
                    since_yield = 0
                    await asyncio.sleep(0)
            self._idle.set()
            if not self.closed:
                await self._wait(None)

    async def _run_async(self, handler: Handler, message: Message, delivery: Delivery, done: Done | None) -> None:
        self._in_flight += 1
        try:
            await handler.call(message, delivery)  # type: ignore[misc]  # is_async says that it is awaitable
        except Exception:
            _log.exception("handler %s failed on a %s", handler.name, type(message).__name__)
        finally:
            self._in_flight -= 1
            self._finish(done)

    async def _wait(self, timeout: float | None) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and self._queue:
                self._wake()  # it was for a message that this call does not take any more
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _finish(self, done: Done | None) -> None:
        self._delivered += 1
        if done is not None:
            done()

    def _drop_oldest(self, reason: str = "dropped_oldest") -> None:
        _, _, done = self._queue.popleft()
        self._dropped[reason] += 1
        if done is not None:
            done()
