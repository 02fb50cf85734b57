"""A proxy that does to bytes what networks do: hold them up, split, swallow and cut them off; it never reorders."""

import asyncio
import contextlib
import socket
import struct
import sys
import tempfile
from pathlib import Path

from mycelium.bus.urls import parse_url

_CHUNK = 64 * 1024
_SLICES_PER_SECOND = 50
"""In how many writes a second's worth of throttled bytes goes out."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time at all: what `close` sends is a reset (socket(7))."""


class Way:
    """One direction of every connection, and what befalls its bytes from now on.

    Attributes:
        delay: Seconds that each piece read is held back.
        rate: Bytes a second; None for as fast as it goes.
        split: A function that says how large the next write is; None for as large as it comes.
        cut_after: Bytes that each connection may carry this way, after which both sides see its end; None for any.
        carried: Bytes that went this way, over all connections.
    """

    def __init__(self):
        self.carried = 0
        self._flowing = asyncio.Event()
        self.heal()

    def heal(self):
        """Forward everything again, what was held back first."""
        self.delay, self.rate, self.split, self.cut_after = 0.0, None, None, None
        self._flowing.set()

    def stop(self):
        """Forward nothing more, the end of the stream neither; the kernel's buffers fill as if nobody answered."""
        self._flowing.clear()

    async def open(self):
        """Wait until bytes may go."""
        await self._flowing.wait()

    def room(self, carried):
        """Bytes that a connection may still carry."""
        return sys.maxsize if self.cut_after is None else max(self.cut_after - carried, 0)

    async def carry(self, data, sink):
        """Write all of it, as this way is now."""
        if self.delay:
            await asyncio.sleep(self.delay)
        while data:
            await self.open()
            size = self._size()
            piece, data = data[:size], data[size:]
            await asyncio.get_running_loop().sock_sendall(sink, piece)
            self.carried += len(piece)
            if self.rate:
                await asyncio.sleep(len(piece) / self.rate)
            elif self.split:
                await _let_it_be_read()

    def _size(self):
        size = self.split() if self.split else _CHUNK
        return min(size, max(self.rate // _SLICES_PER_SECOND, 1)) if self.rate else size


class _Pair:
    """One connection through the proxy: the socket that it accepted and the one that it opens for it."""

    def __init__(self, near, far):
        self.resets = False
        self._sockets = near, far
        for each in self._sockets:
            each.settimeout(0)
            if each.family == socket.AF_INET:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self, target, up, down):
        """Forward both ways until both have ended, or until this is cancelled."""
        near, far = self._sockets
        try:
            await asyncio.get_running_loop().sock_connect(far, target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(near, far, up))
                group.create_task(self._pump(far, near, down))
        except* OSError:
            self.resets = True  # what one end did is what the other sees

    def close(self):
        """Close both sides."""
        for each in self._sockets:
            if self.resets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            each.close()

    async def _pump(self, source, sink, way):
        with contextlib.suppress(BrokenPipeError):  # that end is closed: its own pump says how
            await self._forward(source, sink, way)
        while await asyncio.get_running_loop().sock_recv(source, _CHUNK):
            pass  # after a cut; unread bytes would reset the connection

    async def _forward(self, source, sink, way):
        carried = 0
        while way.room(carried):
            data = await asyncio.get_running_loop().sock_recv(source, _CHUNK)
            await way.open()
            if not data:
                _shut(sink)
                return
            data = data[: way.room(carried)]
            carried += len(data)
            await way.carry(data, sink)
        for each in self._sockets:
            _shut(each)


class Proxy:
    """Listens where it likes, by the same transport as its target, and connects each caller to the target.

    Attributes:
        url: Where to connect to in place of the target.
        up: From those who connect to the target.
        down: From the target to those who connect.
    """

    def __init__(self, target):
        self._target = parse_url(target)
        self._pairs = {}
        self._listener = None

    async def __aenter__(self):
        self.up, self.down = Way(), Way()
        self._folder = tempfile.TemporaryDirectory() if self._target.scheme == "unix" else None
        self._place = ("127.0.0.1", 0) if self._folder is None else f"{self._folder.name}/proxy.sock"
        self._listen()
        self._place = self._listener.getsockname()
        where = self._place if self._folder else f"{self._place[0]}:{self._place[1]}"
        self.url = f"{self._target.scheme}://{where}"
        return self

    async def __aexit__(self, *_):
        self.refuse()
        await self.cut()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def connections(self):
        """How many go through it now."""
        return len(self._pairs)

    def half_open(self):
        """Forward nothing in either direction, and tell nobody; who comes is still taken."""
        self.up.stop()
        self.down.stop()

    def refuse(self):
        """Take no new connections until `heal`."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def heal(self):
        """Take everybody, at the same place as ever, and forward everything."""
        self.up.heal()
        self.down.heal()
        if self._listener is None:
            self._listen()

    async def cut(self, *, reset=False):
        """Close both sides of every connection, by a reset if asked for."""
        tasks = list(self._pairs)
        for task in tasks:
            self._pairs[task].resets = reset
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _listen(self):
        self._listener = socket.socket(socket.AF_UNIX if self._folder else socket.AF_INET)
        self._listener.settimeout(0)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._folder:
            Path(self._place).unlink(missing_ok=True)
        self._listener.bind(self._place)
        self._listener.listen(1024)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self):
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            near, _ = self._listener.accept()
            pair = _Pair(near, socket.socket(self._listener.family))
            task = asyncio.create_task(pair.run(self._destination, self.up, self.down))
            self._pairs[task] = pair
            task.add_done_callback(self._forget)

    def _forget(self, task):
        self._pairs.pop(task).close()
        if not task.cancelled():
            task.result()

    @property
    def _destination(self):
        return self._target.path if self._folder else (self._target.host, self._target.port)


async def _let_it_be_read():
    """Long enough for whoever reads in this loop to see the piece alone: in the next round our turn is first."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _shut(connection):
    with contextlib.suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_WR)
