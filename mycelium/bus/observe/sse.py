"""Server-sent events (HTML, "Server-sent events"): one response that goes on, for a limited number of readers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final, final

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

__all__ = ["Events", "Places"]

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that gathers them would defeat the purpose
)
_RETRY_MS: Final = 2000


@final
class Places:
    """How many may read at the same time.

    Args:
        most: See above.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def __repr__(self) -> str:
        return f"<Places, {self.taken} of {self.most} taken>"


@final
class Events(Response):
    """A response of events that ends when the reader leaves, or the events do. Nothing is queued for a slow reader.

    Args:
        name: Of every event.
        stream: The data of each, without line ends.
        places: Where it takes one; without a free one the answer is 503.
    """

    def __init__(self, name: str, stream: AsyncGenerator[bytes, None], places: Places) -> None:
        super().__init__()
        self._start = f"event: {name}\ndata: ".encode()
        self._stream = stream
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The interface of ASGI."""
        places = self._places
        async with contextlib.aclosing(self._stream):
            if scope["method"] == "HEAD":
                await send(_start())
                await send({"type": "http.response.body", "body": b""})
                return
            if places.taken >= places.most:
                text = f"{places.most} of these are open already, and there are no more; close one of them"
                await JSONResponse({"error": text}, 503, {"retry-after": "5"})(scope, receive, send)
                return
            places.taken += 1
            try:
                await self._until_either_ends(receive, send)
            finally:
                places.taken -= 1

    async def _until_either_ends(self, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.wait([sending, leaving])
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        await send(_start())
        await send(_part(f"retry: {_RETRY_MS}\n\n".encode()))
        async for data in self._stream:
            await send(_part(self._start + data + b"\n\n"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _start() -> dict[str, object]:
    return {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)}


def _part(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _left(receive: Receive) -> None:
    """Wait until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
