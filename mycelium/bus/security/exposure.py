"""Whether an address may be listened on: closed by default (reliability, "Closed by default")."""

import ipaddress
from typing import Final

from mycelium.bus.errors import BindError
from mycelium.bus.urls import Address

__all__ = ["is_loopback", "refuse_exposed"]

_UNKNOWN: Final = "other machines reach it, and nobody is asked who they are"
_READABLE: Final = "other machines reach it, and whoever is on the way can read tokens and messages"
_ANYHOW: Final = "listen on 127.0.0.1 or a Unix socket; --insecure does it all the same"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address stands for this machine alone; a name but `localhost` may stand for anything."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def refuse_exposed(address: Address, *, authenticated: bool, encrypted: bool, remedy: str = "") -> None:
    """Refuse to listen where other machines reach it, unless everybody says who they are and nobody can listen in.

    Every listener asks this before it binds, whatever it speaks; `--insecure` is not to ask.

    Args:
        address: Where it is about to listen.
        authenticated: Whether each client has to say who it is.
        encrypted: Whether what is said can be read by the two ends only.
        remedy: What this listener offers instead; nothing: that there is no way to make it safe.

    Raises:
        BindError: It must not listen there.
    """
    if address.scheme == "unix" or is_loopback(address.host) or (authenticated and encrypted):
        return
    reason = _READABLE if authenticated else _UNKNOWN
    raise BindError(str(address), reason, f"{remedy}, or {_ANYHOW}" if remedy else _ANYHOW)
