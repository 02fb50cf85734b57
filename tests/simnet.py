"""A network in memory for `SimLoop`: latency, pieces, bounded buffers, and everything that goes wrong with one.

Transports behave as asyncio's of a selector loop do: `write` may call `pause_writing`, everything else is called from
the loop; after `connection_lost` nothing is.
"""

import asyncio
import errno
import itertools
import socket
from collections import Counter, deque
from contextvars import ContextVar

__all__ = ["OWNER", "Network"]

OWNER = ContextVar("owner", default=None)
"""Who opens connections in this context."""
HIGH_WATER = 64 * 1024
FIN, RST = "FIN", "RST"


class _Socket:
    """As much of a socket as is asked for."""

    family = socket.AF_INET

    def setsockopt(self, *_):
        """Taken, and of no consequence."""

    def getpeername(self):
        """Everybody is on this machine."""
        return "127.0.0.1", 1


class Pipe:
    """One direction of a wire: what is sent flies in order, in pieces, and takes up room until it is read.

    Attributes:
        cut: Whether nothing arrives for now.
        silent: Whether nothing arrives ever again, and nobody says so.
        source: The end that writes.
        target: The end that reads.
    """

    def __init__(self, network):
        self.cut = self.silent = False
        self.source = self.target = None
        self._loop = network.loop
        self._random = network.random
        self._capacity = self._random.choice((600, 4096, 65_536, 262_144))
        self._latency = self._random.choice((0.0001, 0.001, 0.02))
        self._flying = deque()
        self._size = 0
        self._arrival = 0.0
        self._late = 0

    @property
    def room(self):
        return self._capacity - self._size

    @property
    def idle(self):
        """Whether nothing is on its way to somebody who would take it."""
        return self.target.gone or not (self._flying or self._size or self.source.get_write_buffer_size())

    def send(self, data):
        """Bytes go off."""
        self._size += len(data)
        if len(data) > 1 and self._random.random() < 0.3:
            at = self._random.randrange(1, len(data))
            self._launch(data[:at])
            data = data[at:]
        self._launch(data)

    def signal(self, sign):
        """FIN or RST, behind everything that flies."""
        self._launch(sign)

    def read(self, size):
        """So many bytes have been read."""
        self._size -= size
        if self.source.wants_room:
            self._loop.call_soon(self.source.on_room)

    def heal(self):
        """What could not arrive arrives."""
        self.cut = False
        late, self._late = self._late, 0
        for _ in range(late):
            self._fly()

    def drop(self):
        """Everything on the way is gone."""
        self._flying.clear()
        self._size = 0

    def _launch(self, piece):
        self._flying.append(piece)
        self._fly()

    def _fly(self):
        delay = self._latency * (0.5 + self._random.random())
        self._arrival = max(self._arrival, self._loop.time() + delay)
        self._loop.call_at(self._arrival, self._land)

    def _land(self):
        if self.cut:
            self._late += 1
        elif self._flying:
            piece = self._flying.popleft()
            if not self.silent:
                self.target.receive(piece)


class End(asyncio.Transport):
    """One end of a wire, as its protocol sees it.

    Attributes:
        stalled: Whether nothing is read for now.
        gone: Whether `connection_lost` has been called.
    """

    def __init__(self, loop, protocol, out, into):
        super().__init__({"socket": _Socket(), "peername": ("127.0.0.1", 1)})
        self.stalled = self.gone = False
        self._loop = loop
        self._protocol = protocol
        self._out, self._into = out, into
        out.source, into.target = self, self
        self._buffer = bytearray()
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._paused = self._reading_paused = False
        self._closing = self._eof = self._ended = False
        self._fin_sent = False
        self._unread = deque()
        self._read_scheduled = False

    # --- what protocols call ---

    def get_protocol(self):
        return self._protocol

    def is_closing(self):
        return self._closing

    def set_write_buffer_limits(self, high=None, low=None):
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
        self._maybe_pause()

    def get_write_buffer_limits(self):
        return self._low, self._high

    def get_write_buffer_size(self):
        return len(self._buffer)

    def write(self, data):
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._ended or not data:
            return
        self._buffer += data
        self._push()
        self._maybe_pause()

    def can_write_eof(self):
        return True

    def write_eof(self):
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._buffer:
            self._send_fin()

    def pause_reading(self):
        self._reading_paused = True

    def resume_reading(self):
        self._reading_paused = False
        self._schedule_read()

    def is_reading(self):
        return not self._reading_paused and not self._closing

    def close(self):
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._end(None)

    def abort(self):
        self._break(None)

    # --- what the network calls ---

    def receive(self, piece):
        """A piece has arrived."""
        if self.gone:
            if piece not in (FIN, RST):
                self._out.signal(RST)
        elif piece is RST:
            self._break(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        else:
            self._unread.append(piece)
            self._read()

    @property
    def wants_room(self):
        """Whether something waits for the other end to read."""
        return bool(self._buffer) or self._paused

    def on_room(self):
        """The other end has read something."""
        if self._ended:
            return
        self._push()
        if self._paused and len(self._buffer) <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if not self._buffer and not self._ended:
            if self._closing:
                self._end(None)
            elif self._eof:
                self._send_fin()

    def stall(self, *, stalled):
        """Read nothing for now, or go on."""
        self.stalled = stalled
        self._schedule_read()

    def vanish(self, *, silent):
        """The machine or the process behind this end is no more; its protocol is told, and nobody else hears of it."""
        self._out.drop()
        if silent:
            self._out.silent = self._into.silent = True
        else:
            self._out.signal(RST)
        self._break(ConnectionAbortedError("crashed"))

    def reset(self):
        """Something on the way has reset the connection."""
        self._into.drop()
        self._break(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    # --- inside ---

    def _push(self):
        count = min(len(self._buffer), self._out.room)
        if count > 0:
            self._out.send(bytes(self._buffer[:count]))
            del self._buffer[:count]

    def _maybe_pause(self):
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _schedule_read(self):
        if self._unread and not self._read_scheduled:
            self._read_scheduled = True
            self._loop.call_soon(self._read_soon)

    def _read_soon(self):
        self._read_scheduled = False
        self._read()

    def _read(self):
        """One read, as from a socket; the rest waits for the loop's next turn."""
        if not self._unread or self.stalled or self._reading_paused or self._closing or self._read_scheduled:
            return
        piece = self._unread.popleft()
        if piece is FIN:
            if not self._protocol.eof_received():
                self.close()
            return
        buffer = self._protocol.get_buffer(-1)
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if count < len(piece):
            self._unread.appendleft(piece[count:])
        self._into.read(count)
        self._protocol.buffer_updated(count)
        self._schedule_read()

    def _send_fin(self):
        if not self._fin_sent:
            self._fin_sent = True
            self._out.signal(FIN)

    def _break(self, error):
        self._buffer.clear()
        self._closing = True
        self._end(error)

    def _end(self, error):
        if not self._ended:
            self._ended = True
            self._loop.call_soon(self._lose, error)

    def _lose(self, error):
        self.gone = True
        self._protocol.connection_lost(error)
        if any(piece is not FIN for piece in self._unread):
            self._out.signal(RST)  # as the kernel does for a socket that is closed on unread bytes
        else:
            self._send_fin()
        self._unread.clear()


class Wire:
    """A connection: two ends and the two pipes between them.

    Attributes:
        number: Unique in its network.
        owner: Who opened it.
        home: Whoever listened there.
        hurt: Whether any fault has been put on it.
        stopped_well: Whether the bridge has ended it in order, and in time.
        waited_for: Whether it had the client's last word when it stopped to take anything.
    """

    def __init__(self, network, number, owner, address, home):
        self.number, self.owner, self.address, self.home = number, owner, address, home
        self.hurt = self.stopped_well = self.waited_for = False
        self._deaf_since = None
        self._loop = network.loop
        self.up, self.down = Pipe(network), Pipe(network)
        self.client = self.server = None

    def __repr__(self):
        return f"wire {self.number} of {self.owner}"

    @property
    def open(self):
        """Whether both ends still believe in it, and rightly."""
        return not (self.client.gone or self.server.gone)

    @property
    def over(self):
        return self.client.gone and self.server.gone

    @property
    def idle(self):
        return all(pipe.idle for pipe in (self.up, self.down))

    def cut(self, *, up, down):
        """Bytes stop in one direction or both."""
        self.hurt = True
        self.up.cut, self.down.cut = self.up.cut or up, self.down.cut or down

    def deaf_for(self):
        """Seconds for which nothing has arrived at an end that is still open."""
        if not self.over and any(pipe.cut or pipe.silent for pipe in (self.up, self.down)):
            self._deaf_since = self._loop.time() if self._deaf_since is None else self._deaf_since
            return self._loop.time() - self._deaf_since
        self._deaf_since = None
        return 0.0

    def reset(self):
        self.hurt = True
        self.client.reset()
        self.server.reset()

    def heal(self):
        for pipe in (self.up, self.down):
            if pipe.cut:
                pipe.heal()
        for end in (self.client, self.server):
            if end.stalled:
                end.stall(stalled=False)


class Network:
    """Addresses that are listened on, and the wires to them.

    Args:
        loop: A SimLoop, whose network this becomes.
        random: Where latencies and pieces are drawn from.

    Attributes:
        opened: How many connections each owner has opened.
    """

    def __init__(self, loop, random):
        self.loop, self.random = loop, random
        self.wires = []
        self.opened = Counter()
        self._listeners = {}
        self._dark = set()
        self._dead = set()
        self._numbers = itertools.count(1)
        loop.network = self

    def listen(self, address, make, home=None):
        """Take connections; where a machine had vanished, those to it are reset now."""
        self._listeners[address] = make, home
        self._dark.discard(address)
        for wire in self.wires:
            if wire.address == address and wire.server.gone and wire.up.silent:
                wire.up.silent = False
                wire.client.receive(RST)

    def unlisten(self, address):
        self._listeners.pop(address, None)

    def crash(self, address, *, silent):
        """Whoever listens there is no more: its connections are reset, or nobody answers ever again."""
        self.unlisten(address)
        if silent:
            self._dark.add(address)
        for wire in self.wires:
            if wire.address == address and not wire.server.gone:
                wire.hurt = True
                wire.server.vanish(silent=silent)

    def crash_owner(self, owner, *, silent):
        """Whoever opened these connections is no more, and opens none."""
        self._dead.add(owner)
        for wire in self.wires:
            if wire.owner == owner and not wire.client.gone:
                wire.hurt = True
                wire.client.vanish(silent=silent)

    def heal(self):
        """Every cut and every stall is over."""
        for wire in self.wires:
            wire.heal()

    def wire_of(self, owner):
        """The open wire of somebody; None if there is none."""
        self._forget()
        return next((one for one in self.wires if one.owner == owner and one.open), None)

    def wires_to(self, address):
        """The wires to whoever listens there."""
        return [one for one in self.wires if one.address == address and not one.over]

    @property
    def idle(self):
        """Whether no byte is on its way."""
        return all(one.idle for one in self.wires)

    async def connect(self, factory, address):
        """What `loop.create_connection` does."""
        owner = OWNER.get()
        await asyncio.sleep(0.001 * self.random.random())
        if owner in self._dead:
            await self.loop.create_future()
        if address in self._dark:
            await asyncio.sleep(120)
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        if address not in self._listeners:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        make, home = self._listeners[address]
        wire = Wire(self, next(self._numbers), owner, address, home)
        self.opened[owner] += 1
        protocol = factory()
        wire.client = End(self.loop, protocol, wire.up, wire.down)
        wire.server = End(self.loop, make(), wire.down, wire.up)
        self.wires.append(wire)
        self.loop.call_soon(wire.server.get_protocol().connection_made, wire.server)
        self.loop.call_soon(protocol.connection_made, wire.client)
        try:
            await asyncio.sleep(0)
        except BaseException:
            wire.client.close()
            raise
        return wire.client, protocol

    def _forget(self):
        self.wires = [one for one in self.wires if not one.over]
