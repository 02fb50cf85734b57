"""One subscription inside this process: a handler or an iterator, and what waits for it."""

import asyncio
import contextlib
import inspect
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeAlias, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import BusError, ClosedError, UsageError
from mycelium.bus.handlers import Handler
from mycelium.bus.held import MOST_SECONDS, watched
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.thread import check_thread
from mycelium.schema.classes import Message

__all__ = ["DEFAULT_QUEUE", "Done", "LocalSubscription", "OnClose", "calling_subscription"]

_log = logging.getLogger("mycelium.bus")
DEFAULT_QUEUE: Final = 8192
"""Messages that wait for a subscriber before the lag policy acts."""
_YIELD_AFTER: Final = 64
"""Messages that a subscriber takes before other tasks get a turn, should it never wait itself."""
_FINISH_SECONDS: Final = 5.0
"""How long a handler may go on with its message once its subscription has ended."""
_CANCEL_SECONDS: Final = 1.0
"""How long it may take to notice that it is cancelled."""

Done: TypeAlias = Callable[[], None]
"""Called once when the subscription is done with a message; what credit is counted by."""
OnClose: TypeAlias = Callable[["LocalSubscription"], Sequence["asyncio.Future[Any]"] | None]
"""Called once when a subscription ends; `unsubscribe` waits for what it gives back."""
_Item: TypeAlias = tuple[Message, Delivery, Done | None]

_calling: "ContextVar[LocalSubscription | None]" = ContextVar("mycelium_subscription", default=None)


def calling_subscription() -> "LocalSubscription | None":
    """The subscription whose async handler is running here; None outside of handlers."""
    return _calling.get()


@final
class LocalSubscription:
    """A handler or an iterator, its queue and its counters.

    A sync handler runs inside `offer`. An async handler runs in a task, one message at a time; the task lives as long
    as there are messages. Without a handler messages wait for `next`. The queue holds `limit` messages; when it is full
    the oldest is dropped.

    Attributes:
        type_ids: What it is subscribed to.
        closed: Whether it has ended.
    """

    def __init__(
        self, type_ids: frozenset[int], handler: Handler | None, limit: int, on_close: OnClose | None = None
    ) -> None:
        self.type_ids = type_ids
        self.handler = handler
        self.limit = limit
        self.closed = False
        self.topic: str | None = None
        self._on_close = on_close
        self._thread = get_ident()
        self._leaving: Sequence[asyncio.Future[Any]] = ()
        self._ended_by: BusError | None = None
        self._queue: deque[_Item] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._given = 0
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._excused = False
        self._slow = False
        self._lines: LogLimit | None = None
        # What a handler finds in context variables is what was there at `subscribe`, whoever publishes.
        self._context = copy_context()
        self._context.run(_calling.set, self)
        self._matched = self._delivered = self._in_flight = 0
        self._dropped: Counter[str] = Counter()

    def __repr__(self) -> str:
        what = self.handler.name if self.handler else "iterator"
        state = "closed" if self.closed else f"{len(self._queue)} queued"
        return f"<Subscription of {what} to {sorted(self.type_ids)}, {state}>"

    # --- messages ---

    def offer(self, message: Message, delivery: Delivery, done: Done | None = None) -> None:
        """Take a message: run the sync handler now, or put it into the queue. After the end nothing is taken."""
        if self.closed:
            if done is not None:
                done()
            return
        self._matched += 1
        handler = self.handler
        if handler is not None and not handler.is_async:
            self._run_sync(handler, message, delivery, done)
            return
        queue = self._queue
        if not queue:
            self._slow = False
        elif len(queue) >= self.limit:
            self._overflow()
        queue.append((message, delivery, done))
        if handler is None:
            if self._waiters:
                self._wake()
        elif self._task is None:
            self._start(handler)

    def missed(self, reason: str, count: int) -> None:
        """Count messages that were dropped before they came here."""
        self._matched += count
        self._dropped[reason] += count

    async def next(self, timeout: float | None = None) -> Message:
        """Take one message from the queue; a timeout or a cancelled call takes none.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            ClosedError: The subscription has ended, and everything that it got has been given out.
            ConnectionLost: The same, because the connection to the bridge is gone.
            UsageError: This is not the subscription's thread.
        """
        check_thread(self._thread, "subscription")
        self._given += 1
        if self._given % _YIELD_AFTER == 0:
            await asyncio.sleep(0)
        if not self._queue:
            async with asyncio.timeout(timeout):
                while not self._queue:
                    if self.closed:
                        raise self._ended_by or ClosedError("the subscription has ended; nothing more comes")
                    await self._arrival()
        message, _, done = self._queue.popleft()
        self._finish(done)
        return message

    def stats(self) -> SubscriptionStats:
        """The counters as they stand."""
        return SubscriptionStats(self._matched, self._delivered, dict(self._dropped), len(self._queue), self._in_flight)

    # --- the end ---

    async def unsubscribe(self) -> None:
        """End the subscription: nothing new is taken, and what waits for a handler is dropped. May be called twice.

        The handler may finish the message that it has, for at most 5 s, unless this is called from inside it.

        Raises:
            UsageError: This is not the subscription's thread.
        """
        check_thread(self._thread, "subscription")
        self.close()
        if leaving := [one for one in self._leaving if not one.done()]:
            await asyncio.wait(leaving, timeout=_FINISH_SECONDS)
        if self._task is not None and calling_subscription() is not self:
            try:
                async with asyncio.timeout(_FINISH_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                await self.stop()

    def close(self, reason: BusError | None = None) -> None:
        """Take nothing new; an iterator still gives out what is queued.

        Args:
            reason: What `next` raises after that in place of ClosedError.
        """
        if self.closed:
            return
        self.closed = True
        self._ended_by = reason
        if self.handler is not None:
            while self._queue:
                self._drop_oldest("disconnected")
        if self._on_close is not None:
            self._leaving = self._on_close(self) or ()
        for _ in range(len(self._waiters)):
            self._wake()

    async def stop(self) -> None:
        """Cancel a handler that is still running."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)

    @property
    def busy(self) -> bool:
        """Whether a handler is running that the end has to wait for."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until the handler is done with everything that is queued."""
        await self._idle.wait()

    def excuse(self) -> None:
        """Wait for this handler no more: it is itself waiting for the end of the bus or client."""
        self._excused = True
        self._idle.set()

    @property
    def excused(self) -> bool:
        """Whether the end goes on without this handler."""
        return self._excused

    # --- inside ---

    def _run_sync(self, handler: Handler, message: Message, delivery: Delivery, done: Done | None) -> None:
        self._in_flight += 1
        began = monotonic()
        try:
            result = handler.function(message, delivery) if handler.takes_delivery else handler.function(message)
            if result is not None:
                _refuse_coroutine(handler, result)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001  whatever it raises, its subscription lives
            _log.exception("handler %s failed on a %s", handler.name, type(message).__name__)
        finally:
            if (seconds := monotonic() - began) > MOST_SECONDS:
                self._held_loop(seconds)
            self._in_flight -= 1
            self._finish(done)

    def _held_loop(self, seconds: float) -> None:
        if self._lines is None:
            self._lines = LogLimit()
        if self.handler is not None and self._lines.admit("held", monotonic()) is not None:
            text = "handler %s held the event loop for %.2f s, in which nothing else went on; give its work to a thread"
            _log.warning(text, self.handler.name, seconds)

    def _start(self, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        work = watched(lambda: self._work(handler), self._held_loop)
        self._task = loop.create_task(work, name=f"mycelium {handler.name}", context=self._context)
        self._task.add_done_callback(self._worked)
        if not self._excused:
            self._idle.clear()

    async def _work(self, handler: Handler) -> None:
        count = 0
        while self._queue:
            await self._run_async(handler, *self._queue.popleft())
            count += 1
            if count % _YIELD_AFTER == 0:
                await asyncio.sleep(0)
        self._task = None  # before anything else can run: the next message starts another one
        self._idle.set()

    def _worked(self, task: "asyncio.Task[None]") -> None:
        if self._task is task:  # it was cancelled, perhaps before it began
            self._task = None
            self._idle.set()

    async def _run_async(self, handler: Handler, message: Message, delivery: Delivery, done: Done | None) -> None:
        self._in_flight += 1
        try:
            await handler.call(message, delivery)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            _log.exception("handler %s failed on a %s", handler.name, type(message).__name__)
        except Exception:  # noqa: BLE001  whatever it raises, its subscription lives
            _log.exception("handler %s failed on a %s", handler.name, type(message).__name__)
        finally:
            self._in_flight -= 1
            self._finish(done)

    async def _arrival(self) -> None:
        """Wait for a message or the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
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

    def _overflow(self) -> None:
        """Make room by the lag policy; said once, until the queue has been empty again."""
        self._drop_oldest()
        if not self._slow:
            self._slow = True
            what = self.handler.name if self.handler else "an iterator"
            _log.warning("%s is too slow: over %d messages wait, so the oldest are dropped", what, self.limit)

    def _drop_oldest(self, reason: str = "dropped_oldest") -> None:
        _, _, done = self._queue.popleft()
        self._dropped[reason] += 1
        if done is not None:
            done()


def _is_cancelled() -> bool:
    """Whether the running task is meant, and not something that its handler was waiting for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refuse_coroutine(handler: Handler, result: object) -> None:
    if inspect.iscoroutine(result):
        result.close()
        raise UsageError(
            f"{handler.name} is no async function but gave a coroutine; write `async def`, or await it there"
        )
