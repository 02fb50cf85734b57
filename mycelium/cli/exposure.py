"""Whether other machines reach what listens here."""

import ipaddress

from mycelium.bus.errors import BindError
from mycelium.bus.urls import parse_url

__all__ = ["is_loopback", "refuse_exposed"]


def refuse_exposed(url: str) -> None:
    """A bridge without authentication is for its own machine.

    Raises:
        BindError: The URL is for others, too.
    """
    address = parse_url(url)
    if address.scheme == "tcp" and not is_loopback(address.host):
        reason = "other machines reach it, and there is no authentication yet"
        raise BindError(url, reason, "listen on 127.0.0.1 or a Unix socket; --insecure does it all the same")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
