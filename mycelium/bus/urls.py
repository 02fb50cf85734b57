"""Where a bridge is: `tcp://host:port`, `unix:///path`, or `host:port` for short."""

import os
from typing import Final, Literal
from urllib.parse import urlsplit

from attrs import frozen

from mycelium.bus.errors import UsageError

__all__ = ["DEFAULT_PORT", "DEFAULT_URL", "URL_VARIABLE", "Address", "default_url", "parse_url"]

DEFAULT_PORT: Final = 7777
DEFAULT_URL: Final = f"tcp://localhost:{DEFAULT_PORT}"
URL_VARIABLE: Final = "MYCELIUM_URL"
_LATER: Final = frozenset({"tls", "rust+tcp", "rust+unix"})
_UNIX_PATH_MAX: Final = 107
"""Bytes of the longest path that Linux binds (sockaddr_un.sun_path less its NUL)."""


@frozen
class Address:
    """A parsed URL: a path for `unix`, else host and port."""

    scheme: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def default_url() -> str:
    """$MYCELIUM_URL, else tcp://localhost:7777."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def parse_url(url: str) -> Address:
    """The address of a URL.

    Raises:
        UsageError: It is none; the text says which forms there are.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tcp", url
    match scheme:
        case "tcp":
            return _parse_tcp(url, rest)
        case "unix":
            return _parse_unix(url, rest)
        case _ if scheme in _LATER:
            raise UsageError(f"{scheme}:// is not supported yet; use tcp:// or unix://")
        case _:
            raise UsageError(f"{url!r} is no address; write tcp://host:port, unix:///path or host:port")


def _parse_tcp(url: str, rest: str) -> Address:
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no address: {error}; write tcp://host:port") from None
    if not host or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise UsageError(f"{url!r} is no address; write tcp://host:port")
    return Address("tcp", host=host, port=DEFAULT_PORT if port is None else port)


def _parse_unix(url: str, path: str) -> Address:
    if not path.startswith("/"):
        raise UsageError(f"{url!r} has no absolute path; write unix:///run/mycelium.sock, with three slashes")
    if "\0" in path or len(os.fsencode(path)) > _UNIX_PATH_MAX:
        raise UsageError(
            f"{url!r}: a socket's path has at most {_UNIX_PATH_MAX} bytes and no NUL; choose a shorter one"
        )
    return Address("unix", path=path)
