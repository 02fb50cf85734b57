"""Requests of a client and their replies, and replies that its handlers send."""

import asyncio
from functools import partial
from typing import final

from mycelium.bus.errors import ConnectionLost, NoResponders
from mycelium.bus.outlet import Outlet
from mycelium.bus.parcel import LETTER_BYTES, Parcel
from mycelium.bus.replies import Awaited, late
from mycelium.schema.classes import M, Message

__all__ = ["Correspondence"]


@final
class Correspondence:
    """Who waits for which reply.

    Args:
        outlet: Through which requests and replies go.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._awaited = Awaited()
        self._out: dict[bytes, str] = {}
        """Requests that were handed to the socket, and the names of their messages."""

    def __repr__(self) -> str:
        return f"<Correspondence, {self._awaited!r}>"

    @property
    def late(self) -> int:
        """Replies that nobody waited for any more."""
        return self._awaited.late

    async def request(self, message: Message, reply: type[M], timeout: float) -> M:
        """Publish a request and wait for the first reply; see `MyceliumClient.request` for errors."""
        deadline = asyncio.get_running_loop().time() + timeout
        outlet = self._outlet
        frame = outlet.admit_at_once(message, LETTER_BYTES)
        if frame is None:
            frame = await self._admitted(message, reply, timeout)
        parcel: Parcel | None = None

        def send(correlation: bytes) -> None:
            nonlocal parcel
            parcel = Parcel(
                frame,
                outlet.new_stamp(correlation, asks=True),
                on_handed=partial(self._handed, correlation, message),
                on_dropped=partial(self._dropped, correlation),
            )
            outlet.post_letter(parcel)

        try:
            return await self._awaited.ask(send, reply, timeout, deadline, self._out)
        finally:
            if parcel is not None:
                outlet.withdraw(parcel)

    async def _admitted(self, message: Message, reply: type[Message], timeout: float) -> bytes:
        expired = asyncio.timeout(timeout)
        try:
            async with expired:
                return await self._outlet.admit(message, LETTER_BYTES)
        except TimeoutError:
            if expired.expired():
                raise late(reply, timeout) from None
            raise

    def _handed(self, correlation: bytes, message: Message, _: int) -> None:
        self._out[correlation] = message.__mycelium__.message.name

    def _dropped(self, correlation: bytes, why: str) -> None:
        self._awaited.refuse(correlation, ConnectionLost(why))

    # --- what comes ---

    def answer(self, correlation: bytes, message: Message) -> None:
        """A reply came."""
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
        frame = self._outlet.admit_nowait(message, LETTER_BYTES, is_reply=True)
        self._outlet.post_letter(Parcel(frame, self._outlet.new_stamp(correlation, deliver_to=asker)))
