"""Peers made of bare sockets and frames, for what our own client and bridge would never do."""

import asyncio
import contextlib
import itertools
from pathlib import Path

import mycelium
from mycelium.bus.urls import parse_url
from mycelium.handle import core_protocol
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import Role

CORE = core_protocol()
PING = encode_frame(1010, bytes.fromhex("0100 02000000 6869"))
"""A Ping of the value "hi"."""
HELLO = CORE.encode(CORE.Hello(protocol=1, client="peer"))
SECONDS = 10.0
"""How long anything may take; it is there for hangs, not for timing."""


def batch_of(*messages):
    """A batch of (type id, payload)."""
    frames = [encode_frame(type_id, payload) for type_id, payload in messages]
    bounds = [0]
    for frame in frames:
        bounds.append(bounds[-1] + len(frame))
    return Batch(b"".join(frames), [type_id for type_id, _ in messages], bounds)


async def open_socket(url):
    """A stream pair to where a bridge listens."""
    address = parse_url(url)
    if address.scheme == "unix":
        return await asyncio.open_unix_connection(address.path)
    return await asyncio.open_connection(address.host, address.port)


@contextlib.asynccontextmanager
async def serving(contracts, listen="tcp://127.0.0.1:0", **limits):
    """A bus that serves; gives the bus and its bridge, and checks that nobody is left when all is closed."""
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(listen, limits=mycelium.Limits(**limits)) as bridge:
        yield bus, bridge
    assert bridge.sessions == []
    await bus.close()


async def until(holds, *, within=SECONDS):
    """Let the loop turn until something is so."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110  there is no event for what a test looks at
            await asyncio.sleep(0.001)


class Peer:
    """A client of bytes: sends what it is told to, and reads frames with the protocol's own state machine."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.session = None
        self._connection = Connection(Role.CLIENT, CORE)
        self._requests = iter(range(1, 1 << 32))

    def send(self, *data):
        """Bytes as they are, or core messages."""
        for each in data:
            self.writer.write(each if isinstance(each, bytes) else CORE.encode(each))

    async def next(self):
        """The next core message or batch; None at the end of the stream."""
        async with asyncio.timeout(SECONDS):
            while (event := self._connection.next_event()) is None:
                if self._connection.state.value == "closed":
                    return None
                self._connection.receive_data(await self.reader.read(65536))
            return event

    async def until(self, name):
        """The next core message of a name; what comes before it is skipped."""
        while type(event := await self.next()).__name__ != name:
            assert event is not None, f"the connection ended before {name}"
        return event

    async def hello(self, **fields):
        """Say Hello; the Welcome."""
        hello = CORE.Hello(**{"protocol": 1, "client": "peer"} | fields)
        self.send(self._connection.send(hello))
        welcome = await self.until("Welcome")
        self.session = welcome.session
        return welcome

    async def subscribe(self, number, type_ids, **options):
        """Subscribe and wait for the Ack."""
        request = next(self._requests)
        self.send(CORE.Subscribe(request=request, subscription=number, type_ids=type_ids, **options))
        ack = await self.until("Ack")
        assert ack.request == request

    async def barrier(self):
        """Wait until the bridge has looked at everything; what came before the Pong."""
        nonce = next(self._requests)
        self.send(CORE.Ping(nonce=nonce))
        events = []
        while (event := await self.next()) != CORE.Pong(nonce=nonce):
            assert event is not None, f"the connection ended after {events}"
            events.append(event)
        return events

    async def ending(self):
        """Everything up to the end of the stream, which has to come."""
        events = []
        with contextlib.suppress(ConnectionResetError):
            while (event := await self.next()) is not None:
                events.append(event)
        return events

    async def close(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def peer_at(url, *, hello=True, **fields):
    """A connected peer."""
    peer = Peer(*await open_socket(url))
    try:
        if hello:
            await peer.hello(**fields)
        yield peer
    finally:
        await peer.close()


class BareBridge:
    """Takes connections and does with them what a test says, one coroutine for each."""

    def __init__(self, serve):
        self._serve = serve
        self._tasks = []
        self.errors = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        assert not self.errors, self.errors

    async def _accept(self, reader, writer):
        self._tasks.append(asyncio.current_task())
        connection = Connection(Role.BRIDGE, CORE)
        try:
            await self._serve(BareSession(reader, writer, connection))
        except (asyncio.CancelledError, OSError):
            pass
        except BaseException as error:  # noqa: BLE001  told at the end, in the test's own task
            self.errors.append(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class BareSession:
    """One connection at a bare bridge."""

    def __init__(self, reader, writer, connection):
        self.reader = reader
        self.writer = writer
        self.connection = connection

    async def next(self):
        """The next core message or batch; None at the end of the stream."""
        while (event := self.connection.next_event()) is None:
            if self.connection.state.value == "closed":
                return None
            self.connection.receive_data(await self.reader.read(65536))
        return event

    def send(self, *data):
        """Bytes as they are, or core messages."""
        for each in data:
            self.writer.write(each if isinstance(each, bytes) else self.connection.send(each))

    async def welcome(self, schema, **fields):
        """Wait for Hello, and say Welcome with the digest of a schema."""
        hello = await self.next()
        if hello is None:
            raise ConnectionResetError("the client has left before its Hello")
        assert type(hello).__name__ == "Hello"
        told = {
            "protocol": 1,
            "server": "bare",
            "session": 1,
            "schema_id": schema.id,
            "schema_version": schema.version,
            "schema_digest": bytes.fromhex(schema.digest),
            "max_payload": 4_194_304,
            "heartbeat_ms": 10_000,
        }
        self.send(CORE.Welcome(**told | fields))
        return hello


async def answer(session, log=None, until_name="Goodbye"):
    """What a bridge does at the least; what it hears is kept."""
    while (event := await session.next()) is not None:
        name = type(event).__name__
        if log is not None:
            log.append(event)
        if name in ("Subscribe", "Unsubscribe"):
            session.send(CORE.Ack(request=event.request))
        elif name == "Ping":
            session.send(CORE.Pong(nonce=event.nonce))
        if name == until_name:
            return


def of(kind, log):
    return [event for event in log if type(event).__name__ == kind]


def sessions(*steps):
    """A bridge whose n-th connection is served by the n-th step, and all later ones by the last."""
    numbers = itertools.count()

    async def serve(session):
        await steps[min(next(numbers), len(steps) - 1)](session)

    return BareBridge(serve)


async def told(stream, kind):
    """Wait for an event of a kind."""
    while not isinstance(await stream.next(SECONDS), kind):
        pass


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def sockets():
    """The sockets that this process has open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("socket:")}
