"""The HTTP side of a process of its own: uvicorn in the bus's loop, which leaves signals and logs to the process."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Final, final

import prometheus_client
import uvicorn

from mycelium.bus.limits import http_room
from mycelium.bus.observe.http import make_app
from mycelium.bus.observe.httpconnection import HttpConnection, settle_lines
from mycelium.bus.observe.observed import Observed

__all__ = ["HttpServer"]

_log = logging.getLogger("mycelium.http")
_AT_ONCE: Final = 16
"""Connections that asyncio takes in one go; for a moment they come on top of the others."""
_MOST_HEADER_BYTES: Final = 16 * 1024
_KEEP_ALIVE_SECONDS: Final = 10
"""For the next request to begin; a page asks more often, and a scrape may connect anew."""
_CLOSE_SECONDS: Final = 1
"""How long answers that are being given may take at the end."""


class _Server(uvicorn.Server):
    """Who stops it is whoever has started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Have more wait in the kernel than are taken in one go, for which uvicorn has one number."""
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(http_room())

    async def on_tick(self, counter: int) -> bool:
        """Look around, ten times a second."""
        settle_lines(time.monotonic())
        return await super().on_tick(counter)


@final
class HttpServer:
    """Serves what is observed on sockets that are bound already.

    Args:
        observed: What is looked at.
        sockets: Where; they are closed in the end.
        hosts: Names under which it may be asked for, see `Guard`.
    """

    def __init__(self, observed: Observed, sockets: Sequence[socket.socket], hosts: Collection[str]) -> None:
        self._observed = observed
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        config = uvicorn.Config(
            make_app(observed, hosts),
            http=HttpConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_AT_ONCE,
            limit_concurrency=http_room(),
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        )
        self._server = _Server(config)
        self._sockets = list(sockets)
        self._task = asyncio.create_task(self._serve(), name="mycelium http")

    def __repr__(self) -> str:
        return f"<HttpServer on {', '.join(str(one.getsockname()) for one in self._sockets)}>"

    async def close(self) -> None:
        """Stop, and wait until nothing of it is left."""
        self._observed.close()
        self._server.should_exit = True
        await self._task
        settle_lines()

    async def _serve(self) -> None:
        try:
            await self._server.serve(self._sockets)
        except Exception:  # noqa: BLE001  the bus goes on without
            _log.exception("the HTTP side has ended by a fault of its own")
