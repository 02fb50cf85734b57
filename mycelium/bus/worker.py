"""A handler at work: one message at a time, or as many as its concurrency allows; whatever it raises, it goes on."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Final, TypeAlias, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import UsageError
from mycelium.bus.handlers import Handler
from mycelium.bus.held import MOST_SECONDS, watched
from mycelium.bus.localqueue import Done, Entry, lane_of
from mycelium.bus.options import Options
from mycelium.events import Event, HandlerFailing
from mycelium.schema.classes import Message

__all__ = ["Worker", "guarded"]

_log = logging.getLogger("mycelium.bus")
_YIELD_AFTER: Final = 64
"""Messages that a handler takes before other tasks get a turn, should it never wait itself."""
_CANCEL_SECONDS: Final = 1.0
"""How long it may take to notice that it is cancelled."""
_FAILING: Final = 100
"""Failures in a row that are worth an event."""
Take: TypeAlias = Callable[[Mapping[Hashable, int]], Entry | None]
"""The next message that nobody is busy with the key of."""


@final
class Worker:
    """Runs a handler in tasks that live as long as there are messages; a sync handler runs in `run_sync`.

    Args:
        handler: What is called.
        options: Of its subscription.
        take: Gives the next message.
        finish: Called when the handler is done with one.
        tell: Where events go.
        context: What the handler finds in context variables: what was there at `subscribe`, whoever publishes.

    Attributes:
        in_flight: Messages inside the handler.
        failures: How often it has raised.
        excused: Whether the end goes on without this handler, since it is itself waiting for it.
        takes_more: Whether the subscription has not ended.
    """

    def __init__(
        self,
        handler: Handler,
        options: Options,
        *,
        take: Take,
        finish: Callable[[Done | None], None],
        tell: Callable[[Event], None],
        context: Context,
    ) -> None:
        self.in_flight = self.failures = 0
        self.excused = False
        self.takes_more = True
        self._handler = handler
        self._options = options
        self._take = take
        self._finish = finish
        self._tell = tell
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[Hashable, int] = {}
        """What handlers that run side by side are busy with."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_a_row = 0
        self._lines: LogLimit | None = None

    def __repr__(self) -> str:
        return f"<Worker of {self._handler.name}, {self.in_flight} in flight>"

    # --- messages ---

    def run_sync(self, message: Message, delivery: Delivery, done: Done | None) -> None:
        """Handle a message here and now."""
        handler = self._handler
        self.in_flight += 1
        began = monotonic()
        try:
            result = handler.function(message, delivery) if handler.takes_delivery else handler.function(message)
            if result is not None:
                _refuse_coroutine(handler.name, result)
            self._in_a_row = 0
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever it raises, its subscription lives
            self._fail(message, error)
        finally:
            if (seconds := monotonic() - began) > MOST_SECONDS:
                self._held_loop(seconds)
            self.in_flight -= 1
            self._finish(done)

    def run_all(self, messages: Sequence[Message], delivery: Delivery, finish: Callable[[int], None]) -> None:
        """Handle messages that came together here and now, one after the other, until the subscription ends.

        Args:
            messages: The messages.
            delivery: The context of each.
            finish: Called once in the end with how many were handled.
        """
        handler = self._handler
        function = partial(_with, handler.function, delivery) if handler.takes_delivery else handler.function
        count = 0
        self.in_flight += len(messages)
        began = monotonic()
        try:
            for message in messages:
                if not self.takes_more:
                    break
                count += 1
                try:
                    result = function(message)
                    if result is not None:
                        _refuse_coroutine(handler.name, result)
                    self._in_a_row = 0
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  as above
                    self._fail(message, error)
        finally:
            if (seconds := monotonic() - began) > MOST_SECONDS:
                self._held_loop(seconds)
            self.in_flight -= len(messages)
            finish(count)

    def advance(self) -> None:
        """A message waits: have it handled as soon as there is a hand free."""
        if len(self._tasks) < self._options.concurrency:
            name = f"mycelium {self._handler.name}"
            work = watched(self._work, self._held_loop)
            task = asyncio.get_running_loop().create_task(work, name=name, context=self._context)
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            if not self.excused:
                self._idle.clear()

    # --- the end ---

    @property
    def is_current(self) -> bool:
        """Whether the running task is one of its own."""
        return asyncio.current_task() in self._tasks

    @property
    def busy(self) -> bool:
        """Whether the handler is running, and the end has to wait for it."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until it is done with everything that is queued."""
        await self._idle.wait()

    def excuse(self) -> None:
        """Wait for this handler no more."""
        self.excused = True
        self._idle.set()

    async def stop(self) -> None:
        """Cancel what is still running."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    # --- inside ---

    async def _work(self) -> None:
        run = self._run if self._options.concurrency == 1 else self._run_beside
        count = 0
        while (entry := self._take(self._busy)) is not None:
            await run(entry)
            count += 1
            if count % _YIELD_AFTER == 0:
                await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  this is one
        self._ended(task)  # before anything else can run: the next message starts another one

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A task is over, perhaps cancelled before it began."""
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def _run_beside(self, entry: Entry) -> None:
        """Handle a message while others, of other keys, are handled."""
        lane = lane_of(entry.message)
        self._busy[lane] = self._busy.get(lane, 0) + 1
        self.advance()  # there may be more to take
        try:
            await self._run(entry)
        finally:
            self._busy[lane] -= 1
            if not self._busy[lane]:
                del self._busy[lane]

    async def _run(self, entry: Entry) -> None:
        self.in_flight += 1
        try:
            await self._handler.call(entry.message, entry.delivery)
            self._in_a_row = 0
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self._fail(entry.message, error)
        except Exception as error:  # noqa: BLE001  whatever it raises, its subscription lives
            self._fail(entry.message, error)
        finally:
            self.in_flight -= 1
            self._finish(entry.done)

    def _limit(self) -> LogLimit:
        """One line of log a second for each matter."""
        if self._lines is None:
            self._lines = LogLimit()
        return self._lines

    def _held_loop(self, seconds: float) -> None:
        if self._limit().admit("held", monotonic()) is not None:
            text = "handler %s held the event loop for %.2f s, in which nothing else went on; give its work to a thread"
            _log.warning(text, self._handler.name, seconds)

    def _fail(self, message: Message, error: BaseException) -> None:
        name = self._handler.name
        held = self._limit().admit("failed", monotonic())
        if held is not None:
            more = f" (and {held} times before)" if held else ""
            _log.error("handler %s failed on %s%s", name, type(message).__name__, more, exc_info=error)
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row == _FAILING:
            self._tell(HandlerFailing(name, self._in_a_row, type(error).__name__))
        if self._options.on_error is not None and isinstance(error, Exception):
            guarded(f"on_error of {name}", self._options.on_error, error, message)


def guarded(what: str, function: Callable[..., object], *args: object) -> None:
    """Call a plain function of the user's; whatever it raises is logged and goes no further."""
    try:
        result = function(*args)
        if result is not None:
            _refuse_coroutine(what, result)
    except Exception:  # noqa: BLE001  it is the user's, and this is called where nothing may break
        _log.exception("%s failed", what)


def _with(function: Callable[..., object], delivery: Delivery, message: Message) -> object:
    return function(message, delivery)


def _is_cancelled() -> bool:
    """Whether the running task is meant, and not something that its handler was waiting for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refuse_coroutine(name: str, result: object) -> None:
    if inspect.iscoroutine(result):
        result.close()
        raise UsageError(f"{name} is no async function but gave a coroutine; write `async def`, or await it there")
