"""Requests of a client and their replies, and replies that its handlers send."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, final

from attrs import frozen

from mycelium.bus.clientmeter import within
from mycelium.bus.errors import ConnectionLost, NoResponders
from mycelium.bus.outlet import Outlet
from mycelium.bus.parcel import LETTER_BYTES, Parcel
from mycelium.bus.replies import Awaited, checked, late
from mycelium.schema.classes import M, Message

__all__ = ["Correspondence", "LetterSpan"]


@frozen
class LetterSpan:
    """What a request tells of itself where somebody traces.

    Attributes:
        trace: The trace context that it carries.
        on_sent: Called with its correlation id.
        on_reply: Called with the trace context of its reply, if that has one.
    """

    trace: bytes | None
    on_sent: Callable[[bytes], object]
    on_reply: Callable[[bytes], object]


@final
class Correspondence:
    """Who waits for which reply.

    Args:
        outlet: Through which requests and replies go.

    Attributes:
        current_trace: Gives the trace context of what is going on here; None where nobody traces.
    """

    def __init__(self, outlet: Outlet) -> None:
        self.current_trace: Callable[[], bytes | None] | None = None
        self._outlet = outlet
        self._awaited = Awaited()
        self._spans: dict[bytes, LetterSpan] = {}
        """Of requests that are traced."""
        self._out: dict[bytes, str] = {}
        """Requests that were handed to the socket, and the names of their messages."""

    def __repr__(self) -> str:
        return f"<Correspondence, {self._awaited!r}>"

    @property
    def late(self) -> int:
        """Replies that nobody waited for any more."""
        return self._awaited.late

    def request(
        self, message: Message, reply: type[M], timeout: float, span: LetterSpan | None = None
    ) -> Coroutine[Any, Any, M]:
        """Publish a request and wait for the first reply; see `MyceliumClient.request` for errors.

        It is no coroutine function, since awaiting one coroutine inside another would be felt.
        """
        answer = self._request(message, reply, timeout, span)
        meter = self._outlet.meter
        return answer if meter is None else within(meter.requesting(message), answer)

    async def _request(self, message: Message, reply: type[M], timeout: float, span: LetterSpan | None) -> M:
        deadline = asyncio.get_running_loop().time() + timeout
        outlet, trace = self._outlet, None if span is None else span.trace
        frame = outlet.admit_at_once(message, LETTER_BYTES, trace)
        if frame is None:
            frame = await self._admitted(message, reply, timeout, trace)
        correlation, answer = self._awaited.open(reply, timeout)
        parcel = Parcel(
            frame,
            outlet.new_stamp(correlation, asks=True),
            on_handed=partial(self._handed, correlation, message),
            on_dropped=partial(self._dropped, correlation),
        )
        try:
            if span is not None:
                self._spans[correlation] = span
                span.on_sent(correlation)
            outlet.post_letter(parcel)
            self._awaited.limit(correlation, reply, timeout, deadline)
            return checked(await answer, reply)
        finally:
            self._awaited.close(correlation)
            self._out.pop(correlation, None)
            if span is not None:
                del self._spans[correlation]
            if not parcel.is_handed:
                outlet.withdraw(parcel)

    async def _admitted(self, message: Message, reply: type[Message], timeout: float, trace: bytes | None) -> bytes:
        expired = asyncio.timeout(timeout)
        try:
            async with expired:
                return await self._outlet.admit(message, LETTER_BYTES, trace)
        except TimeoutError:
            if expired.expired():
                raise late(reply, timeout) from None
            raise

    def _handed(self, correlation: bytes, message: Message, _: int) -> None:
        self._out[correlation] = message.__mycelium__.message.name

    def _dropped(self, correlation: bytes, why: str) -> None:
        self._awaited.refuse(correlation, ConnectionLost(why))

    # --- what comes ---

    def answer(self, correlation: bytes, message: Message, trace: bytes | None = None) -> None:
        """A reply came, perhaps with a trace context."""
        if trace is not None and correlation in self._spans:
            self._spans[correlation].on_reply(trace)
        self._awaited.answer(correlation, message)

    def refuse(self, correlation: bytes, why: Exception | None = None) -> None:
        """Nobody answers a request; None: since nobody has subscribed to it."""
        self._awaited.refuse(correlation, why or NoResponders(self._out.get(correlation, "the request")))

    def lose(self, error: ConnectionLost) -> None:
        """The connection is gone: what was sent through it gets no reply; what was not sent goes through the next."""
        for correlation in list(self._out):
            self._awaited.refuse(correlation, error)

    def close(self, error: Exception) -> None:
        """No reply will come to anybody."""
        self._awaited.refuse_all(error)

    # --- what goes ---

    def send_reply(self, correlation: bytes, asker: int, message: Message) -> None:
        """Send a reply to the session that has asked; see `Outlet.admit_nowait` for errors."""
        trace = None if self.current_trace is None else self.current_trace()
        outlet = self._outlet
        outlet.check()
        frame = outlet.admit_at_once(message, LETTER_BYTES, trace)
        if frame is None:
            frame = outlet.admit_nowait(message, LETTER_BYTES, trace, is_reply=True)
        outlet.post_letter(Parcel(frame, outlet.new_stamp(correlation, deliver_to=asker)))
