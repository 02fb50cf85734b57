"""Where clients wait whose contracts have to be read: one at a time, and not many of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final, Protocol, final

from attrs import field, frozen

from mycelium.wire.errors import ErrorCode, ProtocolError

__all__ = ["WaitingRoom"]

MOST_WAITING: Final = 32
"""Clients that wait."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of what they have brought."""


class _Guest(Protocol):
    """Who waits."""

    @property
    def is_over(self) -> bool:
        """Whether there is nobody any more."""


@frozen(eq=False)
class _Place:
    """A guest, the bytes of what it has brought, and what is done when it is called."""

    guest: _Guest
    size: int
    called: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())


@final
class WaitingRoom:
    """Of one bridge. Whoever is gone meanwhile is never called: its task is cancelled, and what it has brought is free.

    Args:
        most: Guests that wait.
        most_bytes: Bytes of what they have brought.
    """

    def __init__(self, most: int = MOST_WAITING, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._places: list[_Place] = []
        self._is_busy = False

    def __repr__(self) -> str:
        return f"<WaitingRoom, {len(self._places)} waiting>"

    @contextlib.asynccontextmanager
    async def turn(self, guest: _Guest, size: int) -> AsyncGenerator[None, None]:
        """A block in which nobody else is served.

        Args:
            guest: Who comes.
            size: Bytes of what it brings.

        Raises:
            ProtocolError: The room is full.
        """
        if self._is_busy:
            await self._wait(guest, size)
        self._is_busy = True
        try:
            yield
        finally:
            self._call_next()

    async def _wait(self, guest: _Guest, size: int) -> None:
        self._see_off()
        if len(self._places) >= self._most or size + sum(one.size for one in self._places) > self._most_bytes:
            problem = f"the contracts of {len(self._places)} other clients wait to be read; try again soon"
            raise ProtocolError(ErrorCode.LIMIT, problem)
        place = _Place(guest, size)
        self._places.append(place)
        try:
            await place.called
        except asyncio.CancelledError:
            if not place.called.cancelled():  # the turn had come
                self._call_next()
            raise

    def _call_next(self) -> None:
        self._is_busy = False
        self._see_off()
        if self._places:
            self._is_busy = True
            self._places.pop(0).called.set_result(None)

    def _see_off(self) -> None:
        """Those who are gone do not wait any more."""
        for place in self._places:
            if place.guest.is_over:
                place.called.cancel()
        self._places = [one for one in self._places if not one.called.cancelled()]
