"""Where a bridge listens: TCP and Unix sockets that are opened and closed together."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import final

from attrs import evolve

from mycelium.bus.acceptor import Acceptor
from mycelium.bus.security.settings import Security
from mycelium.bus.sockets import UnixListener, open_tcp
from mycelium.bus.urls import Address

__all__ = ["Listeners"]


@final
class Listeners:
    """Of one bridge.

    Args:
        make: Makes the protocol of each connection that comes to an address.
        security: To whom Unix sockets are open.

    Attributes:
        addresses: Where they listen, with the ports that they got.
    """

    def __init__(self, make: Callable[[Address], asyncio.BaseProtocol], security: Security) -> None:
        self.addresses: list[Address] = []
        self._make = make
        self._security = security
        self._acceptors: list[Acceptor] = []
        self._unix: list[UnixListener] = []

    def __repr__(self) -> str:
        return f"<Listeners on {', '.join(map(str, self.addresses)) or 'nothing'}>"

    def open(self, address: Address, backlog: int) -> None:
        """Listen there too.

        Args:
            address: Where.
            backlog: Connections that may wait in the kernel.

        Raises:
            BindError: It cannot be.
        """
        if address.scheme == "unix":
            listener = UnixListener(address, backlog, self._security.socket_mode, self._security.socket_group)
            self._unix.append(listener)
            self._acceptors.append(Acceptor(listener.socket, partial(self._make, address)))
            self.addresses.append(address)
            return
        opened = open_tcp(address, backlog)
        address = evolve(address, port=opened[0].getsockname()[1])
        self._acceptors += [Acceptor(each, partial(self._make, address)) for each in opened]
        self.addresses.append(address)

    def stop(self) -> None:
        """Take nobody more. May be called twice."""
        for listener in self._unix:
            listener.close()
        for acceptor in self._acceptors:
            acceptor.stop()
        self._unix.clear()
        self.addresses.clear()

    async def close(self) -> None:
        """Take nobody more, and let go of those who are being taken."""
        self.stop()
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            await acceptor.close()
