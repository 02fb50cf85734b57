"""Listeners, and the sessions of everybody who came through them."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self, final

from mycelium.bus.router import RemoteSubscription, Router
from mycelium.bus.session import Limits, Session
from mycelium.bus.sockets import BACKLOG, UnixListener, open_tcp
from mycelium.bus.transport import SessionProtocol
from mycelium.bus.urls import Address, parse_url
from mycelium.contracts import core_protocol
from mycelium.schema.registry import Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import ErrorCode

__all__ = ["Bridge", "Exchange"]

_log = logging.getLogger("mycelium.bridge")
_TICK_SECONDS: Final = 0.25
_TICKS_PER_SWEEP: Final = 4
"""Handshakes are looked at each tick, open sessions once a second."""
_GRACE_SECONDS: Final = 5.0


class Exchange(Protocol):
    """The bus that a bridge belongs to."""

    router: Router

    @property
    def registry(self) -> Registry[Codec]:
        """The newest generation."""

    def publish_batch(self, batch: Batch, session: Session) -> None:
        """Hand frames from a client to everybody who wants them."""


@final
class Bridge:
    """Serves a bus to socket clients; an async context manager that listens inside its block.

    Args:
        exchange: The bus.
        urls: Where to listen; port 0 means any free one.
        name: What clients are told.
        limits: What is taken from a client.
    """

    def __init__(
        self, exchange: Exchange, urls: Sequence[str], name: str = "mycelium", limits: Limits | None = None
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self.core = core_protocol()
        self._exchange = exchange
        self._wanted = [parse_url(url) for url in urls]
        self._addresses: list[Address] = []
        self._servers: list[asyncio.Server] = []
        self._unix: list[UnixListener] = []
        self._protocols: dict[int, SessionProtocol] = {}
        self._handshaking: dict[int, SessionProtocol] = {}
        self._numbers = itertools.count(1)
        self._ticks = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __repr__(self) -> str:
        return f"<Bridge on {', '.join(self.urls) or 'nothing'}, {len(self._protocols)} sessions>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def urls(self) -> list[str]:
        """Where it listens, with the ports that it got."""
        return [str(address) for address in self._addresses]

    @property
    def sessions(self) -> list[Session]:
        """Everybody who is connected now, handshakes included."""
        return [protocol.session for protocol in self._protocols.values()]

    @property
    def registry(self) -> Registry[Codec]:
        """The newest generation."""
        return self._exchange.registry

    async def start(self) -> None:
        """Open every listener, or none.

        Raises:
            BindError: One of them cannot be opened.
        """
        try:
            for address in self._wanted:
                await self._listen(address)
        except BaseException:
            self._stop_listening()
            raise
        self._timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    async def close(self, grace: float = _GRACE_SECONDS) -> None:
        """Stop listening, say Goodbye, send what is queued, and close; bounded by `grace` seconds. May be called twice."""
        self._stop_listening()
        for protocol in list(self._protocols.values()):
            protocol.session.say_goodbye(ErrorCode.SHUTDOWN.reason)
            if not protocol.session.is_open:
                protocol.session.end(ErrorCode.SHUTDOWN.reason)
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            self.abort()
            await self._empty.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Close every connection now, whatever is unsent."""
        for protocol in list(self._protocols.values()):
            protocol.abort()

    # --- what protocols and sessions call ---

    def open_session(self, protocol: SessionProtocol, now: float) -> Session:
        """A session for an accepted connection."""
        number = next(self._numbers)
        session = Session(number, self, protocol.schedule, now)
        self._protocols[number] = self._handshaking[number] = protocol
        self._empty.clear()
        if len(self._protocols) > self.limits.connections:
            session.refuse(ErrorCode.LIMIT, f"the bridge takes {self.limits.connections} connections")
        return session

    def forget_session(self, protocol: SessionProtocol) -> None:
        """The connection is gone."""
        number = protocol.session.number
        self._protocols.pop(number, None)
        self._handshaking.pop(number, None)
        if not self._protocols:
            self._empty.set()

    def publish_batch(self, batch: Batch, session: Session) -> None:
        """Hand frames from a client to everybody who wants them."""
        self._exchange.publish_batch(batch, session)

    def add_subscription(self, subscription: RemoteSubscription) -> None:
        """Route to it from now on."""
        self._exchange.router.add(subscription)

    def remove_subscription(self, subscription: RemoteSubscription) -> None:
        """Route to it no more."""
        self._exchange.router.remove(subscription)

    # --- inside ---

    async def _listen(self, address: Address) -> None:
        loop = asyncio.get_running_loop()

        def make() -> SessionProtocol:
            return SessionProtocol(self)

        if address.scheme == "unix":
            listener = UnixListener(address)
            self._unix.append(listener)
            self._servers.append(await loop.create_unix_server(make, sock=listener.socket, backlog=BACKLOG))
            self._addresses.append(address)
            return
        for made in open_tcp(address):
            self._servers.append(await loop.create_server(make, sock=made, backlog=BACKLOG))
            port = made.getsockname()[1]
        self._addresses.append(Address("tcp", host=address.host, port=port))

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        for listener in self._unix:
            listener.close()
        self._servers.clear()
        self._unix.clear()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK_SECONDS, self._tick)
        now = loop.time()
        for number, protocol in list(self._handshaking.items()):
            protocol.session.tick(now)
            if protocol.session.is_open:
                del self._handshaking[number]
        if next(self._ticks) % _TICKS_PER_SWEEP == 0:
            for protocol in list(self._protocols.values()):
                protocol.session.tick(now)
