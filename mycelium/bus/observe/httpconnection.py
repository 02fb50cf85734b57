"""One connection of HTTP: uvicorn's, with an end to patience, and one who makes room for whoever comes next."""

import asyncio
import logging
import math
import time
from functools import partial
from typing import Any, Final, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mycelium.bus.heldlines import HeldLines

__all__ = ["HttpConnection", "settle_lines"]

_REQUEST_SECONDS: Final = 5.0
"""For all of a request's headers, from the connection or from their first byte on."""
_log: Final = logging.getLogger("mycelium.http")
_lines: Final = HeldLines()


@final
class HttpConnection(H11Protocol):
    """What uvicorn's does, but for those who hold a connection and ask for nothing.

    They have 5 s, and where there are as many connections as there may be (uvicorn's `limit_concurrency`), the one that
    has been without a request for longest is closed. So whoever asks at once is answered, whoever else is there.

    Args:
        args: As for uvicorn's.
        kwargs: As for uvicorn's.

    Attributes:
        idle_since: When it was made, or last answered a request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _requests
        self._most, self.limit_concurrency = self.limit_concurrency or 0, None
        self.idle_since = 0.0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there; at the limit somebody else goes."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._wait()
        if len(self.connections) > self._most:
            idle = [one for one in self.connections if isinstance(one, HttpConnection) and not one.is_asked]
            min(idle, key=lambda one: one.idle_since).leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """He is gone."""
        self._wait(on=False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came; a request that has begun has its time to become whole."""
        super().data_received(data)
        self._wait(on=not self.is_asked)

    def handle_events(self) -> None:
        """What h11 makes of it."""
        try:
            super().handle_events()
        except h11.LocalProtocolError:  # what is no HTTP came after an answer, where it cannot be told any more
            self.leave()

    def on_response_complete(self) -> None:
        """A request is answered, and another one may come."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    @property
    def is_asked(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def leave(self) -> None:
        """Close now, whatever is unsent: it is the descriptor that is wanted."""
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self, *, on: bool = True) -> None:
        """Have patience with the peer, as far as it goes; or enough of it."""
        if not on and self._patience is not None:
            self._patience.cancel()
            self._patience = None
        elif on and self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(_REQUEST_SECONDS, self.leave)


class _FewLines(logging.Filter):
    """Of uvicorn's lines, which peers may cause as often as they like, one per matter and second."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Hand the record on, now or later."""
        _lines.write(str(record.msg), time.monotonic(), partial(_hand_on, record))
        return False


def _hand_on(record: logging.LogRecord, suppressed: int) -> None:
    if suppressed:
        record.msg = f"{record.msg} (and {suppressed} more before)"
    _log.handle(record)


def settle_lines(now: float = math.inf) -> None:
    """Write what was held back of matters that have been quiet for a second, by default of all."""
    _lines.settle(now)


_requests: Final = logging.getLogger("mycelium.http.requests")
_requests.addFilter(_FewLines())
