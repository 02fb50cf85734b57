"""Messages on their way from any thread to the event loop, which publishes them in batches."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Final, TypeAlias, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.errors import BufferFull, BusError, ClosedError, ConnectionLost, QueueFull
from mycelium.bus.loopthread import LoopThread
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message

__all__ = ["Handover"]

_log = Log("mycelium.client")
_MOST: Final = 65_536
"""Messages that may wait for the loop."""
_MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of their frames."""
_YIELD_AFTER: Final = 256
"""Messages after which the loop gets a turn."""

_Marker: TypeAlias = asyncio.Future[None]
_Waiting: TypeAlias = tuple[Message, int, Context | None]
"""A message, the bytes of its frame, and the context in which it is published."""


@final
class Handover:
    """What threads publish without waiting; the loop is woken once for all that has gathered.

    What cannot be published, the thread being gone on, is logged without the message; a connection that is gone is
    raised by the next `put` too.

    Args:
        thread: The loop's.
        publish_nowait: Called in the loop's thread with each message, in their order.
        publish: Called instead where that one has no room; it waits.
        in_context: Whether both are called in the context of whoever handed the message over, as traces need it.
    """

    def __init__(
        self,
        thread: LoopThread,
        publish_nowait: Callable[[Message], object],
        publish: Callable[[Message], Awaitable[object]],
        *,
        in_context: bool = False,
    ) -> None:
        self._thread = thread
        self._publish_nowait = publish_nowait
        self._publish = publish
        self._in_context = in_context
        self._lock = threading.RLock()  # a signal handler may publish while its thread does
        self._waiting: deque[_Waiting | _Marker] = deque()
        self._put_bytes = self._taken_bytes = 0
        self._awake = self._closed = False
        self._pump: asyncio.Task[None] | None = None
        self._trouble: BusError | None = None
        self._lines = LogLimit()

    def __repr__(self) -> str:
        return f"<Handover, {len(self._waiting)} waiting>"

    def put(self, message: Message, size: int) -> bool:
        """Hand over a message, from any thread; False when no more is taken.

        Args:
            message: The message.
            size: Bytes of its frame.

        Raises:
            BufferFull: Too much is waiting.
            ConnectionLost: The connection is gone, and messages from before were not published.
            ClosedError: The loop has ended.
            UsageError: The process was forked.
        """
        self._thread.refuse_forks()
        context = copy_context() if self._in_context else None
        with self._lock:
            if self._closed:
                return False
            if self._trouble is not None:
                trouble, self._trouble = self._trouble, None
                raise trouble
            if len(self._waiting) >= _MOST or self._put_bytes - self._taken_bytes + size > _MOST_BYTES:
                raise BufferFull(f"{len(self._waiting)} messages wait to be sent; publish() instead, which waits")
            if not self._awake:  # in this order, since a KeyboardInterrupt may come at any point
                self._thread.soon(self._start)
                self._awake = True
            self._put_bytes += size
            self._waiting.append((message, size, context))
        return True

    async def passed(self) -> None:
        """Wait, in the loop's thread, until everything handed over before has been published."""
        with self._lock:
            if not self._awake:
                return
            marker = asyncio.get_running_loop().create_future()
            self._waiting.append(marker)
        await marker

    async def end(self, seconds: float) -> None:
        """Take nothing more, and publish what waits, for so many seconds at most; in the loop's thread."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.passed()
        left = 0
        if self._pump is not None:
            left += 1  # the one that waits for room
            self._pump.cancel()
            await asyncio.wait([self._pump])
        while (one := self._next()) is not None:
            if isinstance(one, tuple):
                left += 1
            else:
                _let_pass(one)
        if left:
            _log(Line.CLIENT_UNPUBLISHED, dropped=left)

    # --- in the loop's thread ---

    def _start(self) -> None:
        if self._pump is None:
            # Not in the context of whoever publishes first: there are messages of others too.
            loop = asyncio.get_running_loop()
            self._pump = loop.create_task(self._run(), name="mycelium publishing", context=Context())

    async def _run(self) -> None:
        count = 0
        while (one := self._next()) is not None:
            if not isinstance(one, tuple):
                _let_pass(one)
                continue
            message, size, context = one
            await self._send(message, context)
            self._taken_bytes += size
            count += 1
            if count % _YIELD_AFTER == 0:
                await asyncio.sleep(0)

    def _next(self) -> _Waiting | _Marker | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._awake = False
            self._pump = None
            return None

    async def _send(self, message: Message, context: Context | None) -> None:
        try:
            try:
                if context is None:
                    self._publish_nowait(message)
                else:
                    context.run(self._publish_nowait, message)
            except QueueFull:
                await asyncio.get_running_loop().create_task(self._wait(message), context=context)
        except Exception as error:  # noqa: BLE001  its publisher has gone on, and the next message is another one's
            self._fail(message, error)

    async def _wait(self, message: Message) -> None:
        await self._publish(message)

    def _fail(self, message: Message, error: Exception) -> None:
        if isinstance(error, ConnectionLost | ClosedError):
            self._trouble = error
        name = type(message).__name__
        held = self._lines.admit(name, asyncio.get_running_loop().time())
        if held is not None:
            # Not the error's own words, which may show values of the message.
            _log(Line.PUBLISH_LOST, message_type=name, error_type=type(error).__name__, suppressed=held)


def _let_pass(marker: _Marker) -> None:
    if not marker.done():
        marker.set_result(None)
