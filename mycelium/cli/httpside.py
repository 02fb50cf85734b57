"""The HTTP side of `mycelium serve`: where it listens, and what is said where it does not."""

import gc
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Self, final

from mycelium.bus.aside import aside
from mycelium.bus.bridge import Bridge
from mycelium.bus.errors import BindError
from mycelium.bus.extras import is_installed, required
from mycelium.bus.limits import http_room
from mycelium.bus.security.exposure import is_loopback
from mycelium.bus.sockets import open_tcp
from mycelium.bus.urls import Address, parse_url
from mycelium.cli.http_settings import OFF
from mycelium.cli.settings import Resolved

if TYPE_CHECKING:
    from mycelium.bus.observe.observed import Observed
    from mycelium.bus.observe.server import HttpServer

__all__ = ["HttpSide"]

_EXTRA: Final = "http"


@final
class HttpSide:
    """Of one process.

    Args:
        address: Where it was asked to listen.
        sockets: Where it does.
        names: Under which it may be asked for, beside addresses and localhost.
        say: Tells the operator.
    """

    def __init__(
        self, address: Address, sockets: Collection[socket.socket], names: Collection[str], say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._sockets = list(sockets)
        self._address = Address("tcp", host=address.host, port=self._sockets[0].getsockname()[1])
        self._names = {address.host, *names}
        self._observed: Observed | None = None
        self._server: HttpServer | None = None

    def __repr__(self) -> str:
        return f"<HttpSide at {self.url}>"

    @classmethod
    def open(
        cls, place: Resolved, names: Collection[str], *, say: Callable[[str], None], insecure: bool
    ) -> Self | None:
        """Listen where a setting says; None where there is to be none.

        What is only the default gives way, and says so: without the extra, and where the port is in use.

        Args:
            place: What was set, and by whom.
            names: Under which it may be asked for, beside addresses, localhost and the host of the place.
            say: Tells the operator.
            insecure: Whether other machines may read it.

        Raises:
            UsageError: The extra is not installed.
            BindError: It cannot listen there, or is not to.
        """
        if place.value == OFF:
            return None
        is_default = place.origin == "default"
        if is_default and not is_installed(_EXTRA):
            say("no health checks or metrics over HTTP: pip install 'mycelium-py[http]'")
            return None
        required(_EXTRA)
        address = parse_url(f"tcp://{place.value}")
        url = _url(address)
        if not (insecure or is_loopback(address.host)):
            reason = "other machines would read who is connected and what flows, and nobody is asked who they are"
            raise BindError(url, reason, "listen on 127.0.0.1, behind a proxy; --http-insecure does it all the same")
        try:
            return cls(address, open_tcp(address), names, say)
        except BindError as error:
            if is_default:
                say(f"no HTTP at {url}: {error.reason}; --http HOST:PORT takes another place, --http off none")
                return None
            raise BindError(url, error.reason, f"{error.remedy}, or none: --http off") from error

    @property
    def url(self) -> str:
        """Where it is."""
        return _url(self._address)

    def observe(self, bridge: Bridge) -> None:
        """Count from now on; the bridge, which has not started yet, leaves HTTP its files."""
        from mycelium.bus.observe.observed import Observed

        bridge.other_files = http_room()
        self._observed = Observed(bridge)

    def leave(self) -> None:
        """Say that the bridge is not ready any more, whatever it still does."""
        if self._observed is not None:
            self._observed.is_leaving = True

    async def start(self) -> None:
        """Answer; who has come before has waited."""
        assert self._observed is not None  # noqa: S101  it is looked at before anybody comes
        await aside(_import)  # it takes as long as thousands of messages
        gc.freeze()  # what is imported stays, as in `mycelium serve` itself
        from mycelium.bus.observe.server import HttpServer

        self._server = HttpServer(self._observed, self._sockets, self._names)
        self._say(f"a page, health, metrics and tables at {self.url}")

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            await self._server.close()
        for one in self._sockets:
            one.close()


def _import() -> None:
    import mycelium.bus.observe.server  # noqa: F401  nothing else is wanted of it here


def _url(address: Address) -> str:
    return str(address).replace("tcp://", "http://", 1)
