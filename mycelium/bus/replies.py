"""Both ends of a request inside a process: who waits for a reply, and handlers that return one."""

import asyncio
import inspect
import itertools
import os
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, final

from mycelium.bus.deadlines import Deadlines
from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import UsageError
from mycelium.bus.handlers import Handler, HandlerFunction, describe
from mycelium.schema.classes import M, Message

__all__ = ["Awaited", "answering", "checked", "late"]

_COUNTER: Final = Struct("<Q")
_RANDOM_BYTES: Final = 8


@final
class Awaited:
    """Correlation id -> who waits for the reply.

    Attributes:
        late: Replies that nobody waited for any more.
    """

    def __init__(self) -> None:
        self.late = 0
        self._prefix = os.urandom(_RANDOM_BYTES)
        self._numbers = itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[Message]] = {}
        self._deadlines: Deadlines[tuple[type[Message], float]] | None = None
        """Of the loop in which somebody asked last."""

    def __repr__(self) -> str:
        return f"<Awaited, {len(self._waiting)} requests>"

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, send: Callable[[bytes], None], reply: type[M], timeout: float) -> M:
        """Send a request, and wait for the first reply.

        Args:
            send: Sends it with its correlation id, 16 bytes.
            reply: The type that is expected.
            timeout: Seconds, from now on.

        Raises:
            TimeoutError: No reply came in time.
            UsageError: The reply is of another type.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        correlation, answer = self.open(reply, timeout)
        try:
            send(correlation)
            self.limit(correlation, reply, timeout, deadline)
            return checked(await answer, reply)
        finally:
            self.close(correlation)

    def open(self, reply: type[Message], timeout: float) -> "tuple[bytes, asyncio.Future[Message]]":
        """Wait for a reply until `close`; the correlation id of its request, and the future of the reply.

        Args:
            reply: The type that is expected.
            timeout: Seconds that are given for it, by `limit`.

        Raises:
            UsageError: It is no message type, or the timeout is not above 0.
        """
        _check_reply(reply, timeout)
        correlation = self._prefix + _COUNTER.pack(next(self._numbers))
        future = self._waiting[correlation] = asyncio.get_running_loop().create_future()
        return correlation, future

    def limit(self, correlation: bytes, reply: type[Message], timeout: float, deadline: float) -> None:
        """Wait no longer than until a time of the loop's clock; this need not hold up the request.

        Args:
            correlation: What `open` gave.
            reply: As for `open`.
            timeout: As for `open`.
            deadline: When it is over.
        """
        loop = asyncio.get_running_loop()
        if self._deadlines is None or self._deadlines.loop is not loop:
            self._deadlines = Deadlines(loop, self._waiting, self._too_late)
        self._deadlines.add(correlation, deadline, (reply, timeout))

    def close(self, correlation: bytes) -> None:
        """Nobody waits any more."""
        del self._waiting[correlation]

    def answer(self, correlation: bytes, message: Message) -> bool:
        """A reply came; whether somebody has waited for it."""
        future = self._waiting.get(correlation)
        if future is None or future.done():
            self.late += 1
            return False
        future.set_result(message)
        return True

    def refuse(self, correlation: bytes, error: Exception) -> None:
        """No reply will come."""
        future = self._waiting.get(correlation)
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # whoever waited may have gone

    def refuse_all(self, error: Exception) -> None:
        """No reply will come to anybody."""
        for correlation in list(self._waiting):
            self.refuse(correlation, error)
        if self._deadlines is not None:
            self._deadlines.clear()

    def _too_late(self, correlation: bytes, asked: tuple[type[Message], float]) -> None:
        self.refuse(correlation, late(*asked))


def checked(message: Message, reply: type[M]) -> M:
    """A reply, if it is of the type that is expected.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(message, reply):
        raise UsageError(f"{type(message).__name__} came as the reply, not {reply.__name__}")
    return message


def late(reply: type[Message], timeout: float) -> TimeoutError:
    """What is raised where no reply came in time."""
    return TimeoutError(f"no {reply.__name__} came within {timeout:g} s")


def _check_reply(reply: object, timeout: float) -> None:
    if not (isinstance(reply, type) and issubclass(reply, Message)):
        raise UsageError(f"{reply!r} is no message type; give the class of the reply, such as Pong")
    if not timeout > 0:
        raise UsageError(f"a timeout of {timeout:g} s gives nobody time to reply; give more than 0")


def answering(function: HandlerFunction) -> Handler:
    """A handler that replies with what a function returns; to a message that is no request nothing is sent.

    Raises:
        UsageError: The function takes no message.
    """
    inner = describe(function)
    call, takes_delivery = inner.function, inner.takes_delivery

    def send(result: object, delivery: Delivery) -> None:
        if delivery.send_reply is not None:
            if not isinstance(result, Message):
                raise UsageError(f"{inner.name} answers requests, so it has to return a message, not {result!r}")
            delivery.send_reply(result)

    async def answer_later(message: Message, delivery: Delivery) -> None:
        result: Any = call(message, delivery) if takes_delivery else call(message)
        send(await result if inspect.isawaitable(result) else result, delivery)

    def answer(message: Message, delivery: Delivery) -> object:
        result = call(message, delivery) if takes_delivery else call(message)
        if not isinstance(result, Message) and inspect.iscoroutine(result):
            return result  # which is refused
        send(result, delivery)
        return None

    function = answer_later if inner.is_async else answer
    return Handler(function, takes_delivery=True, is_async=inner.is_async, name=inner.name)
