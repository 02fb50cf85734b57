"""What every request has to pass, and every answer carries.

A page on the internet can have a name of its own point to 127.0.0.1, and its scripts would then read what is served
there as if it were theirs (DNS rebinding). So whoever asks has to name this place by an address, which no name server
can redirect, or by a name that is known to be meant.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final, final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "host_of"]

_LOOPBACK: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Unless the answer says otherwise itself."""
_MISDIRECTED: Final = 421
_HOST: Final = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?")
"""An address of IPv6 in brackets, or anything else, and a port (RFC 9110, section 7.2)."""


@final
class Guard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        hosts: Names under which it may be asked for, beside addresses and those of loopback; None: any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {one.lower() for one in hosts} | _LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = host_of(Headers(scope=scope).get("host", ""))
        if self._hosts is None or _is_address(host) or host in self._hosts:
            await self._app(scope, receive, sending)
        else:
            error = "this is asked for under a name that is not its own; --http-names allows it"
            await JSONResponse({"error": error}, _MISDIRECTED)(scope, receive, sending)


def host_of(header: str) -> str:
    """The host of a Host header, without its port: `[::1]:7778` is `::1`; empty for what is none."""
    found = _HOST.fullmatch(header.strip().lower())
    return "" if found is None else (found[1] or found[2] or "").rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
