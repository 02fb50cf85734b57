"""A peer and a bus in Mycelium's own dialect, written from wire.md's last section with nothing but sockets and struct.

Nothing of the project is imported here: what agrees with this agrees with the text.
"""

import asyncio
import contextlib
import hashlib
import struct

HEADER = struct.Struct("<HI")
TEXT, COUNTER, BATCH = 1001, 1002, 1003


def fixed_str(text, capacity):
    """FixedStr<N>: count u16, 6 zero bytes, N bytes; alignment 2."""
    data = text.encode()
    room = capacity + capacity % 2
    return struct.pack(f"<H6x{room}s", len(data), data)


def text(sender, content, timestamp):
    """TextMessage of mycelium-protocol.yaml: 32 and 256 bytes of room, then a u64."""
    return fixed_str(sender, 32) + fixed_str(content, 256) + struct.pack("<Q", timestamp)


def counter(counter_id, value, delta):
    """CounterUpdate: u64, i32, i32."""
    return struct.pack("<Qii", counter_id, value, delta)


def batch(operation_id, items, total):
    """BatchOperation: u64, FixedVec of ten [u8; 20], u32, padded to 8."""
    head = struct.pack("<QH6x", operation_id, len(items))
    return head + struct.pack("<200sI4x", b"".join(items), total)


def frame(type_id, payload):
    """A frame."""
    return HEADER.pack(type_id, len(payload)) + payload


def preamble(contracts_file):
    """What a client says first where it is wanted."""
    return struct.pack("<H", 32) + hashlib.sha256(contracts_file).digest()


class Peer:
    """A client."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, url, first=b""):
        """Connect to rust+unix:///path or rust+tcp://host:port."""
        scheme, _, place = url.removeprefix("rust+").partition("://")
        if scheme == "unix":
            peer = cls(*await asyncio.open_unix_connection(place))
        else:
            host, port = place.rsplit(":", 1)
            peer = cls(*await asyncio.open_connection(host, int(port)))
        peer.writer.write(first)
        return peer

    def send(self, type_id, payload):
        """Publish."""
        self.writer.write(frame(type_id, payload))

    async def receive(self):
        """The next frame: type id and payload."""
        type_id, length = HEADER.unpack(await self.reader.readexactly(HEADER.size))
        return type_id, await self.reader.readexactly(length)

    async def rest(self):
        """Everything up to the end of the stream, a reset included."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def close(self):
        """End."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Bus:
    """A server that sends every frame to every client, its sender included.

    Args:
        digest: What a preamble has to say; None where there is none.
    """

    def __init__(self, digest=None):
        self.members = []
        self.seen = []
        self.refused = 0
        self._digest = digest
        self._server = None
        self._changed = asyncio.Event()

    async def listen(self, url):
        """Listen at rust+unix:///path or rust+tcp://127.0.0.1:port; the URL."""
        scheme, _, place = url.removeprefix("rust+").partition("://")
        if scheme == "unix":
            self._server = await asyncio.start_unix_server(self._serve, place)
            return url
        host, port = place.rsplit(":", 1)
        self._server = await asyncio.start_server(self._serve, host, int(port))
        return f"rust+tcp://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def until(self, condition):
        """Wait until something is so."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def say(self, type_id, payload):
        """Send a frame to everybody, as if a member had sent it."""
        for writer in self.members:
            writer.write(frame(type_id, payload))

    async def close(self):
        """End, with every connection."""
        self._server.close()
        for writer in list(self.members):
            writer.close()
        await self.until(lambda: not self.members)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        try:
            if self._digest is not None:
                length = struct.unpack("<H", await reader.readexactly(2))[0]
                if length != 32 or await reader.readexactly(32) != self._digest:
                    self.refused += 1
                    self._changed.set()
                    return
            self.members.append(writer)
            self._changed.set()
            while True:
                header = await reader.readexactly(HEADER.size)
                type_id, length = HEADER.unpack(header)
                payload = await reader.readexactly(length)
                self.seen.append((type_id, payload))
                self._changed.set()
                for member in self.members:
                    member.write(header + payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if writer in self.members:
                self.members.remove(writer)
            writer.close()
            self._changed.set()
