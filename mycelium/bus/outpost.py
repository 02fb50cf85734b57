"""A client on a bus that speaks Mycelium's own dialect: it has a bridge of its own, which is a member of that bus.

    MyceliumClient <-> Link <-> a pair of sockets <-> session | bridge | session <-> Interpreter <-> the bus

What a bridge does for its clients (interest, queues, lag policies, gaps, last values) is thus done here, by the same
code, in the client's own event loop. One lives as long as one connection does.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.dial import dial
from mycelium.bus.lag import Lag
from mycelium.bus.limits import Limits
from mycelium.bus.link import Link
from mycelium.bus.transport import SessionProtocol
from mycelium.bus.urls import Address
from mycelium.handle import Contracts
from mycelium.wire.connection import Core, Event

__all__ = ["open_outpost"]

_FLUSH_SECONDS: Final = 5.0
"""How long the bus may take to read what the client has published before it left."""


async def open_outpost(
    address: Address,
    core: Core,
    on_event: Callable[[Event], None],
    on_lost: Callable[[str], None],
    *,
    contracts: Contracts,
    echo: bool,
    block_seconds: float,
) -> Link:
    """Connect to a bus by way of a bridge of one's own.

    Args:
        address: Of the bus.
        core: The core protocol.
        on_event: Called with each core message and batch.
        on_lost: Called once with the reason when the connection is gone, and what was published is written.
        contracts: The client's.
        echo: Whether what the bus sends back of the client's own messages is kept.
        block_seconds: How long a message waits where the bus does not read.

    Raises:
        ConnectError: Nobody is there.
        LayoutError: A message of the contracts has no layout.
    """
    return await _Outpost(contracts, on_lost, block_seconds).open(address, core, on_event, echo=echo)


@final
class _Outpost:
    """The bridge, its two connections, and their common end."""

    def __init__(self, contracts: Contracts, on_lost: Callable[[str], None], block_seconds: float) -> None:
        self._bridge = Bridge(MessageBus(contracts), [], limits=Limits(block_seconds=block_seconds), echo=False)
        self._on_lost = on_lost
        self._reason = ""
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<_Outpost with {self._bridge!r}>"

    async def open(self, address: Address, core: Core, on_event: Callable[[Event], None], *, echo: bool) -> Link:
        loop, bridge = asyncio.get_running_loop(), self._bridge
        await bridge.start()
        try:
            bridge.dialect.begin()
            manners = bridge.dialect.of_bus(address, echo=echo, on_lag=Lag.BLOCK)
            await dial(address, lambda: SessionProtocol(bridge, manners, self._on_bus_lost))
            near, far = socket.socketpair()
            await loop.connect_accepted_socket(lambda: SessionProtocol(bridge), far)
            _, link = await loop.create_connection(lambda: Link(core, on_event, self._close), sock=near)
        except BaseException:
            await bridge.close(0, 0)
            raise
        return link

    def _on_bus_lost(self, reason: str) -> None:
        """The bus is gone; what it has said before still reaches the client."""
        self._close(f"the bus closed it ({reason})")

    def _close(self, reason: str) -> None:
        """One connection is gone, and soon the other one."""
        if self._closing is None:
            self._reason = reason
            self._closing = asyncio.get_running_loop().create_task(self._end(), name="mycelium outpost closing")

    async def _end(self) -> None:
        try:
            await self._bridge.close(0, _FLUSH_SECONDS)
        finally:
            self._on_lost(self._reason)
