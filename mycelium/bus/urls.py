"""Where a bridge is: `tcp://host:port`, `tls://host:port`, `unix:///path`, or `host:port` for short.

With `rust+` before it Mycelium's own dialect is spoken there, as the Rust bus does.
"""

import os
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from attrs import evolve, frozen

from mycelium.bus.errors import UsageError
from mycelium.schema.errors import REDACTED

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_URL",
    "DIGEST_VARIABLE",
    "SOCKET_VARIABLE",
    "URL_VARIABLE",
    "Address",
    "default_url",
    "parse_url",
    "redacted",
]

DEFAULT_PORT: Final = 7777
DEFAULT_URL: Final = f"tcp://localhost:{DEFAULT_PORT}"
URL_VARIABLE: Final = "MYCELIUM_URL"
SOCKET_VARIABLE: Final = "MYCELIUM_SOCKET"
"""Where the Rust bridge tells a worker that it spawns its Unix socket."""
DIGEST_VARIABLE: Final = "MYCELIUM_SCHEMA_DIGEST"
"""And the digest of the contracts that it goes by, in hex."""
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

    scheme: Literal["tcp", "tls", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    is_rust: bool = False
    digest: Digest | None = None

    def __str__(self) -> str:
        dialect = _RUST if self.is_rust else ""
        query = f"?digest={self.digest}" if self.digest else ""
        return f"{dialect}{self.scheme}://{self.place}{query}"

    @property
    def place(self) -> str:
        """`host:port`, or a path."""
        if self.scheme == "unix":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
            return _parse_network("tcp", url, rest)
        case "tls":
            return _parse_network("tls", url, rest)
        case "unix":
            return _parse_unix(url, rest)
        case "rust+tcp" | "rust+unix":
            return _parse_rust(url, scheme.removeprefix(_RUST), rest)
        case _:
            forms = "tcp://host:port, tls://host:port, unix:///path or host:port"
            raise UsageError(f"{redacted(url)!r} is no address; write {forms}")


def redacted(url: str) -> str:
    """A URL as it may be shown: what stands before an @, or behind a ?, may be a secret."""
    scheme, separator, rest = url.rpartition("://")
    secret, at, rest = rest.rpartition("@")
    rest, question, query = rest.partition("?")
    shown = f"{scheme}{separator}{REDACTED if secret else ''}{at}{rest}{question}"
    return f"{shown}{query if query in _DIGESTS else REDACTED}" if query else shown


def _parse_rust(url: str, scheme: str, rest: str) -> Address:
    place, mark, query = rest.partition("?")
    address = _parse_network("tcp", url, place) if scheme == "tcp" else _parse_unix(url, place)
    if scheme == "tcp" and urlsplit(f"//{place}").port is None:
        raise UsageError(f"{redacted(url)!r} has no port; the Rust bus has no default one")
    if mark and query not in _DIGESTS:
        raise UsageError(f"{redacted(url)!r}: after the ? only {' or '.join(_DIGESTS)} is understood")
    return evolve(address, is_rust=True, digest=_DIGESTS.get(query))


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
