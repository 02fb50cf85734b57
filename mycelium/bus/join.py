"""A bridge as a member of a bus that speaks Mycelium's own dialect: connected, and connected again."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, final

from mycelium.bus.backoff import Backoff
from mycelium.bus.dial import dial
from mycelium.bus.errors import ConnectError, UsageError
from mycelium.bus.transport import SessionProtocol
from mycelium.bus.urls import Address, parse_url
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge

__all__ = ["Join", "Joins"]

_log = Log("mycelium.bridge")
_CONNECT_SECONDS: Final = 5.0


@final
class Join:
    """Keeps a bridge connected to one such bus.

    What is published while there is no connection does not get there: the bus has no memory, and so its members expect
    none.

    Args:
        bridge: Whose clients and the bus's members get each other's messages.
        address: Of the bus.

    Attributes:
        address: See above.
        is_connected: Whether there is a connection now.
    """

    def __init__(self, bridge: "Bridge", address: Address) -> None:
        self.address = address
        self.is_connected = False
        self._bridge = bridge
        self._backoff = Backoff(random.random)
        self._said = ""
        """Why there is no connection, as far as that was logged."""

    def __repr__(self) -> str:
        return f"<Join of {self.address}, {'connected' if self.is_connected else 'not connected'}>"

    async def run(self) -> None:
        """Connect, wait for the end, and so on, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                lost = await self._connect()
            except ConnectError as error:
                self._regret(error.reason)
            else:
                self.is_connected = True
                self._said = ""
                _log(Line.BUS_JOINED, url=self.address, transport="rust")
                self._backoff.joined(clock())
                try:
                    reason = await lost
                finally:
                    self.is_connected = False
                self._backoff.lost(clock())
                self._regret(reason)
            await asyncio.sleep(self._backoff.delay(clock()) or 0.0)

    async def _connect(self) -> "asyncio.Future[str]":
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_lost(reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        manners = self._bridge.dialect.of_bus(self.address)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await dial(self.address, lambda: SessionProtocol(self._bridge, manners, on_lost))
        except TimeoutError:
            raise ConnectError(str(self.address), f"no connection within {_CONNECT_SECONDS:g} s") from None
        return lost

    def _regret(self, reason: str) -> None:
        """Say once why there is no connection."""
        if reason != self._said:
            self._said = reason
            _log(Line.BUS_NOT_JOINED, url=self.address, transport="rust", reason=reason)


@final
class Joins:
    """All such buses of one bridge.

    Args:
        bridge: The bridge.
        urls: `rust+unix:///path` and `rust+tcp://host:port`.

    Raises:
        UsageError: A URL is none, or not of that dialect.
    """

    def __init__(self, bridge: "Bridge", urls: Sequence[str]) -> None:
        self._bridge = bridge
        self._all = [Join(bridge, _joined(url)) for url in urls]
        self._running: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Join]:
        return iter(self._all)

    def __repr__(self) -> str:
        return f"<Joins {self._all}>"

    def check(self) -> None:
        """Look whether it is clear what they are to be told.

        Raises:
            UsageError: A bus is to be told a digest, and there is none, or another one than it wants.
        """
        for join in self._all:
            self._bridge.dialect.of_bus(join.address)

    def start(self) -> None:
        """Connect to all, and keep connected."""
        self._running = [asyncio.create_task(join.run(), name=f"mycelium join of {join.address}") for join in self._all]

    def stop(self) -> None:
        """Connect no more; connections that are there are the bridge's to close. May be called twice."""
        for task in self._running:
            task.cancel()

    async def end(self) -> None:
        """Wait until nothing goes on any more, after `stop`."""
        if self._running:
            await asyncio.wait(self._running)


def _joined(url: str) -> Address:
    address = parse_url(url)
    if not address.is_rust:
        raise UsageError(f"{url!r} cannot be joined; only a bus at rust+unix:///path or rust+tcp://host:port can")
    return address
