"""Where a bridge is: `tcp://host:port`, `tls://host:port`, `unix:///path`, or `host:port` for short."""

import os
from typing import Final, Literal
from urllib.parse import urlsplit

from attrs import frozen

from mycelium.bus.errors import UsageError
from mycelium.schema.errors import REDACTED

__all__ = ["DEFAULT_PORT", "DEFAULT_URL", "URL_VARIABLE", "Address", "default_url", "parse_url", "redacted"]

DEFAULT_PORT: Final = 7777
DEFAULT_URL: Final = f"tcp://localhost:{DEFAULT_PORT}"
URL_VARIABLE: Final = "MYCELIUM_URL"
_LATER: Final = frozenset({"rust+tcp", "rust+unix"})
_UNIX_PATH_MAX: Final = 107
"""Bytes of the longest path that Linux binds (sockaddr_un.sun_path less its NUL)."""


@frozen
class Address:
    """A parsed URL: a path for `unix`, else host and port."""

    scheme: Literal["tcp", "tls", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.place}"

    @property
    def place(self) -> str:
        """`host:port`, or a path."""
        if self.scheme == "unix":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
            return _parse_network("tcp", url, rest)
        case "tls":
            return _parse_network("tls", url, rest)
        case "unix":
            return _parse_unix(url, rest)
        case _ if scheme in _LATER:
            raise UsageError(f"{scheme}:// is not supported yet; use tcp://, tls:// or unix://")
        case _:
            forms = "tcp://host:port, tls://host:port, unix:///path or host:port"
            raise UsageError(f"{redacted(url)!r} is no address; write {forms}")


def redacted(url: str) -> str:
    """A URL as it may be shown: what stands before an @, or behind a ?, may be a secret."""
    scheme, separator, rest = url.rpartition("://")
    secret, at, rest = rest.rpartition("@")
    rest, question, query = rest.partition("?")
    shown = f"{scheme}{separator}{REDACTED if secret else ''}{at}{rest}{question}"
    return f"{shown}{REDACTED}" if query else shown


def _parse_network(scheme: Literal["tcp", "tls"], url: str, rest: str) -> Address:
    shown = redacted(url)
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{shown!r} has no proper host and port; write {scheme}://host:port") from None
    if parts.username is not None or parts.query:
        remedy = f"write {scheme}://host:port, and give a token as token=…, $MYCELIUM_TOKEN or --token-file"
        raise UsageError(f"{shown!r} is no address: it has no place for secrets; {remedy}")
    if not host or parts.path not in ("", "/"):
        raise UsageError(f"{shown!r} is no address; write {scheme}://host:port")
    return Address(scheme, host=host, port=DEFAULT_PORT if port is None else port)


def _parse_unix(url: str, path: str) -> Address:
    if not path.startswith("/"):
        raise UsageError(f"{url!r} has no absolute path; write unix:///run/mycelium.sock, with three slashes")
    if "\0" in path or len(os.fsencode(path)) > _UNIX_PATH_MAX:
        raise UsageError(
            f"{url!r}: a socket's path has at most {_UNIX_PATH_MAX} bytes and no NUL; choose a shorter one"
        )
    return Address("unix", path=path)
