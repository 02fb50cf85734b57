"""The HTTP side of a process of its own: uvicorn in the bus's loop, which leaves signals and logs to the process."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Collection, Iterator, Sequence
from typing import Final, final

import prometheus_client
import uvicorn

from mycelium.bus.observe.http import make_app
from mycelium.bus.observe.observed import Observed

__all__ = ["HttpServer"]

_log = logging.getLogger("mycelium.http")
_MOST_CONNECTIONS: Final = 128
"""Of HTTP, those that wait included; whoever comes then is told to come later."""
_MOST_HEADER_BYTES: Final = 16 * 1024
_KEEP_ALIVE_SECONDS: Final = 75
"""More than the usual interval of a scrape, which then needs no new connection each time."""
_CLOSE_SECONDS: Final = 1
"""How long answers that are being given may take at the end."""


class _Server(uvicorn.Server):
    """Who stops it is whoever has started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process."""
        yield


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
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
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

    async def _serve(self) -> None:
        try:
            await self._server.serve(self._sockets)
        except Exception:  # noqa: BLE001  the bus goes on without
            _log.exception("the HTTP side has ended by a fault of its own")
