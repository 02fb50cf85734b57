"""Where a bridge is: `tcp://host:port`, `unix:///path`, or `host:port` for short.

With `rust+` before it Mycelium's own dialect is spoken there, as the Rust bus does.
"""

import os
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from attrs import evolve, frozen

from mycelium.bus.errors import UsageError

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_URL",
    "DIGEST_VARIABLE",
    "SOCKET_VARIABLE",
    "URL_VARIABLE",
    "Address",
    "default_url",
    "parse_url",
]

DEFAULT_PORT: Final = 7777
DEFAULT_URL: Final = f"tcp://localhost:{DEFAULT_PORT}"
URL_VARIABLE: Final = "MYCELIUM_URL"
SOCKET_VARIABLE: Final = "MYCELIUM_SOCKET"
"""Where the Rust bridge tells a worker that it spawns its Unix socket."""
DIGEST_VARIABLE: Final = "MYCELIUM_SCHEMA_DIGEST"
"""And the digest of the contracts that it goes by, in hex."""
_LATER: Final = frozenset({"tls"})
_RUST: Final = "rust+"
Digest: TypeAlias = Literal["send", "none"]
_DIGESTS: Final[dict[str, Digest]] = {"digest=send": "send", "digest=none": "none"}
_UNIX_PATH_MAX: Final = 107
"""Bytes of the longest path that Linux binds (sockaddr_un.sun_path less its NUL)."""


@frozen
class Address:
    """A parsed URL: a path for `unix`, else host and port.

    Attributes:
        is_rust: Whether Mycelium's own dialect is spoken there, and not this project's protocol.
        digest: In that dialect, whether who connects sends the preamble; None: as the environment asks for.
    """

    scheme: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    is_rust: bool = False
    digest: Digest | None = None

    def __str__(self) -> str:
        dialect = _RUST if self.is_rust else ""
        query = f"?digest={self.digest}" if self.digest else ""
        if self.scheme == "unix":
            return f"{dialect}unix://{self.path}{query}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{dialect}tcp://{host}:{self.port}{query}"


def default_url() -> str:
    """$MYCELIUM_URL, else the Rust bridge's socket at $MYCELIUM_SOCKET, else tcp://localhost:7777."""
    spawned = os.environ.get(SOCKET_VARIABLE)
    return os.environ.get(URL_VARIABLE) or (f"{_RUST}unix://{spawned}" if spawned else DEFAULT_URL)


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
        case "rust+tcp" | "rust+unix":
            return _parse_rust(url, scheme.removeprefix(_RUST), rest)
        case _ if scheme in _LATER:
            raise UsageError(f"{scheme}:// is not supported yet; use tcp:// or unix://")
        case _:
            raise UsageError(f"{url!r} is no address; write tcp://host:port, unix:///path or host:port")


def _parse_rust(url: str, scheme: str, rest: str) -> Address:
    place, mark, query = rest.partition("?")
    address = _parse_tcp(url, place) if scheme == "tcp" else _parse_unix(url, place)
    if scheme == "tcp" and urlsplit(f"//{place}").port is None:
        raise UsageError(f"{url!r} has no port; the Rust bus has no default one")
    if mark and query not in _DIGESTS:
        raise UsageError(f"{url!r}: after the ? only {' or '.join(_DIGESTS)} is understood")
    return evolve(address, is_rust=True, digest=_DIGESTS.get(query))


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
