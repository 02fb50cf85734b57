"""Takes connections from a listening socket, and waits where the process has no room for more."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final, final

from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Acceptor"]

_log = Log("mycelium.bridge")
_AT_ONCE: Final = 100
"""Connections that are taken before it is the others' turn."""
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST_SECONDS: Final = 0.5
"""How long those who connect wait in the kernel's backlog before the next look for room."""


@final
class Acceptor:
    """Makes a protocol for everybody who connects.

    A listening socket stays readable as long as somebody waits, so without room it is not watched for a moment. That
    is what asyncio's own server does too, but it goes on with its round and sets a timer and writes a traceback for
    each connection that it could have taken (python/cpython#151615); the timers fire even when the socket is closed.

    Args:
        listener: Bound, listening and not blocking; closed by `close`.
        make: Makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener = listener
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[Any], socket.socket] = {}
        self._resting: asyncio.TimerHandle | None = None
        self._short = False
        """Whether the last connection could not be taken."""
        self._watch()

    def __repr__(self) -> str:
        return f"<Acceptor on {self._listener.getsockname()}{', no room' if self._short else ''}>"

    async def close(self) -> None:
        """Take nobody more, and let go of those who are being taken."""
        self.stop()
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening)

    def stop(self) -> None:
        """Take nobody more. May be called twice."""
        if self._resting is not None:
            self._resting.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _watch(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                made, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._rest(error.errno)
                return
            self._short = False
            made.settimeout(0)
            self._open(made)

    def _open(self, made: socket.socket) -> None:
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make, made))
        self._opening[task] = made
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[Any]) -> None:
        made = self._opening.pop(task)
        if task.cancelled():
            made.close()
        elif (error := task.exception()) is not None:
            _log(Line.CONN_NOT_TAKEN, caused_by=error)
            made.close()

    def _rest(self, number: int) -> None:
        self._loop.remove_reader(self._listener)
        self._resting = self._loop.call_later(_REST_SECONDS, self._watch)
        if not self._short:
            self._short = True
            _log(Line.CONN_NO_ROOM, reason=os.strerror(number).lower())
