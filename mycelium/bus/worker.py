"""A handler at work: one message at a time, or as many as its concurrency allows; whatever it raises, it goes on."""

import asyncio
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any, Final, TypeAlias, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.discretion import may_be_told, where_of
from mycelium.bus.errors import UsageError
from mycelium.bus.handlers import Handler
from mycelium.bus.held import MOST_SECONDS, watched
from mycelium.bus.localqueue import Done, Entry, lane_of
from mycelium.bus.observing import ConsumerTraces
from mycelium.bus.options import Options
from mycelium.bus.stats import Counts
from mycelium.events import Event, HandlerFailing
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message

__all__ = ["Worker", "guarded"]

_log = Log("mycelium.bus")
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
    """Runs a handler in tasks that live as long as there are messages; a sync handler runs inside `offer`.

    Args:
        handler: What is called.
        options: Of its subscription.
        counts: Of its subscription.
        take: Gives the next message.
        tell: Where events go.
        context: What the handler finds in context variables: what was there at `subscribe`, whoever publishes.
        traces: Makes a span of each call; None where nobody traces.

    Attributes:
        function: What is called.
        counts: See above.
        failures: How often it has raised.
        in_a_row: How often since it last did not.
        excused: Whether the end goes on without this handler, since it is itself waiting for it.
        takes_more: Whether the subscription has not ended.
    """

    def __init__(
        self,
        handler: Handler,
        options: Options,
        counts: Counts,
        *,
        take: Take,
        tell: Callable[[Event], None],
        context: Context,
        traces: "ConsumerTraces | None" = None,
    ) -> None:
        self.function = handler.function
        self.counts = counts
        self.failures = self.in_a_row = 0
        self.excused = False
        self.takes_more = True
        self._handler = handler if traces is None or not handler.is_async else traces.wrapped(handler)
        self._bind: Callable[[Delivery], Callable[[Message], Any]] | None = None
        """What a sync handler that is to know more than the message is called by, of a delivery."""
        if traces is not None:
            self._bind = traces.bound(handler)
        elif handler.takes_delivery:
            self._bind = partial(partial, _with, handler.function)
        self._options = options
        self._take = take
        self._tell = tell
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[Hashable, int] = {}
        """What handlers that run side by side are busy with."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._lines: LogLimit | None = None

    def __repr__(self) -> str:
        return f"<Worker of {self._handler.name}, {self.counts.inside} in flight>"

    # --- messages ---

    def offer(
        self, message: Message, delivery: Delivery, done: Done | None = None, _deadline: float | None = None
    ) -> None:
        """Handle a message here and now; what `LocalSubscription.offer` is of a sync handler, which never lags."""
        self.offer_run((message,), delivery, done)

    def offer_run(self, messages: Sequence[Message], delivery: Delivery, done: Done | None) -> None:
        """Handle messages that came together here and now, one after the other, until the subscription ends."""
        counts = self.counts
        function = self.function if self._bind is None else self._bind(delivery)
        count = 0
        counts.matched += len(messages)
        counts.in_flight += len(messages)
        began = monotonic()
        try:
            for message in messages:
                if not self.takes_more:
                    break
                count += 1
                try:
                    if (result := function(message)) is not None:
                        self.refuse(result)
                    self.in_a_row = 0
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever it raises, its subscription lives
                    self.fail(message, error, delivery)
        finally:
            if (seconds := monotonic() - began) > MOST_SECONDS:
                self.held_loop(seconds)
            counts.in_flight -= len(messages)
            counts.matched -= len(messages) - count  # the end came: nothing more is taken
            counts.delivered += count
            if counts.by_type is not None:
                counts.by_type.update(message.TYPE_ID for message in messages[:count])
            if done is not None:
                done(len(messages))

    def advance(self, _messages: int = 1) -> None:
        """Messages wait: have them handled as soon as there is a hand free."""
        if len(self._tasks) < self._options.concurrency:
            name = f"mycelium {self._handler.name}"
            work = watched(self._work, self.held_loop)
            # Calls side by side must not see what each other sets; calls one after the other may.
            context = self._context if self._options.concurrency == 1 else self._context.copy()
            task = asyncio.get_running_loop().create_task(work, name=name, context=context)
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            if not self.excused:
                self._idle.clear()

    # --- what happens to a handler ---

    def refuse(self, result: object) -> None:
        """A sync handler has returned something.

        Raises:
            UsageError: It is a coroutine, which nobody is going to run.
        """
        _refuse_coroutine(self._handler.name, result)

    def held_loop(self, seconds: float) -> None:
        """The handler has held the loop for so long, which is too long."""
        held = self._limit().admit("held", monotonic())
        if held is not None:
            _log(Line.HANDLER_SLOW, handler=self._handler.name, duration_s=round(seconds, 6), suppressed=held)

    def fail(self, message: Message, error: BaseException, delivery: Delivery = LOCAL) -> None:
        """The handler has raised: it is counted, logged and told, and goes no further."""
        name = self._handler.name
        held = self._limit().admit("failed", monotonic())
        if held is not None:
            told = may_be_told(message)
            _log(
                Line.HANDLER_FAILED,
                caused_by=error if told else None,
                trace=delivery.trace,
                suppressed=held,
                handler=name,
                message_type=type(message).__name__,
                type_id=message.TYPE_ID,
                where="" if told else f": {where_of(error)}",
            )
        self.failures += 1
        self.in_a_row += 1
        if self.in_a_row == _FAILING:
            self._tell(HandlerFailing(name, self.in_a_row, type(error).__name__))
        if self._options.on_error is not None and isinstance(error, Exception):
            guarded(f"on_error of {name}", self._options.on_error, error, message, told=may_be_told(message))

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
            await run(*entry)
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

    async def _run_beside(self, message: Message, delivery: Delivery, done: Done | None, _: Hashable) -> None:
        """Handle a message while others, of other keys, are handled."""
        lane = lane_of(message)
        self._busy[lane] = self._busy.get(lane, 0) + 1
        self.advance()  # there may be more to take
        try:
            await self._run(message, delivery, done)
        finally:
            self._busy[lane] -= 1
            if not self._busy[lane]:
                del self._busy[lane]

    async def _run(self, message: Message, delivery: Delivery, done: Done | None, _: Hashable = None) -> None:
        handler, counts = self._handler, self.counts
        counts.in_flight += 1
        try:
            await (handler.function(message, delivery) if handler.takes_delivery else handler.function(message))
            self.in_a_row = 0
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self.fail(message, error, delivery)
        except Exception as error:  # noqa: BLE001  whatever it raises, its subscription lives
            self.fail(message, error, delivery)
        finally:
            counts.in_flight -= 1
            counts.delivered += 1
            if counts.by_type is not None:
                counts.by_type[message.TYPE_ID] += 1
            if done is not None:
                done(1)

    def _limit(self) -> LogLimit:
        """One line of log a second for each matter."""
        if self._lines is None:
            self._lines = LogLimit()
        return self._lines


def guarded(what: str, function: Callable[..., object], *args: object, told: bool = True) -> None:
    """Call a plain function of the user's; whatever it raises is logged and goes no further.

    Args:
        what: What it is, for people.
        function: It.
        args: Its arguments.
        told: Whether the log may have what it raises, and not only where.
    """
    try:
        result = function(*args)
        if result is not None:
            _refuse_coroutine(what, result)
    except Exception as error:  # noqa: BLE001  it is the user's, and this is called where nothing may break
        where = "" if told else f": {where_of(error)}"
        _log(Line.CALLBACK_FAILED, caused_by=error if told else None, handler=what, where=where)


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
