"""What all open pages are told, made once a second for all of them, and not at all while there is none."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import final

__all__ = ["Feed"]

_log = logging.getLogger("mycelium.http")


@final
class Feed:
    """States, the newest for everybody: who is slow leaves some out, and nothing is queued for anybody.

    Args:
        make: Makes the next state.
        seconds: How often.
    """

    def __init__(self, make: Callable[[], Awaitable[bytes]], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._readers = 0
        self._state = b""
        self._number = 0
        self._news = asyncio.Event()
        self._maker: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Feed, {self._readers} readers>"

    async def states(self) -> AsyncGenerator[bytes, None]:
        """Each state from now on, until the feed is closed."""
        self._readers += 1
        if self._maker is None:
            self._maker = asyncio.create_task(self._run(), name="mycelium page")
        seen = self._number
        try:
            while not self._closed:
                if seen == self._number:
                    await self._news.wait()
                    continue
                seen = self._number
                yield self._state
        finally:
            self._readers -= 1
            if not self._readers:
                await self._stop()

    def close(self) -> None:
        """Let every reader come to its end."""
        self._closed = True
        self._tell()

    async def _stop(self) -> None:
        maker, self._maker = self._maker, None
        if maker is not None:
            maker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await maker

    async def _run(self) -> None:
        while True:
            try:
                self._state = await self._make()
            except Exception:  # noqa: BLE001  the next one may be made again
                _log.exception("the page has no news")
            else:
                self._number += 1
                self._tell()
            await asyncio.sleep(self._seconds)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
