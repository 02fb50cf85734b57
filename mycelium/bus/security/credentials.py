"""What a client shows a bridge of itself, and what it believes; files are read anew for each connection."""

import os
import ssl
from pathlib import Path
from typing import Final, final

from mycelium.bus.errors import SecurityError, UsageError
from mycelium.bus.security.contexts import client_context
from mycelium.bus.security.exposure import is_loopback
from mycelium.bus.security.secretfile import read_secret
from mycelium.bus.security.tokens import token_problem
from mycelium.bus.urls import Address

__all__ = ["Credentials", "PathLike"]

PathLike = str | os.PathLike[str]
_TOKEN: Final = "MYCELIUM_TOKEN"  # noqa: S105  the variable's name
_CA, _CERT, _KEY = "MYCELIUM_TLS_CA", "MYCELIUM_TLS_CERT", "MYCELIUM_TLS_KEY"
_Stamp = tuple[tuple[int, int, int] | None, ...]


@final
class Credentials:
    """Of one client.

    Args:
        token: What it says who it is by; a Path is that of a file with it; None for $MYCELIUM_TOKEN.
        tls_ca: Who signs certificates of bridges, PEM; None for $MYCELIUM_TLS_CA, else whom the system believes.
        tls_cert: The client's own certificate chain, PEM; None for $MYCELIUM_TLS_CERT, else none.
        tls_key: Its key; None for $MYCELIUM_TLS_KEY, else it is in the same file.
        insecure: Send the token even where others could read it.

    Raises:
        UsageError: A token that can be none, or a key without a certificate.
    """

    def __init__(
        self,
        token: str | os.PathLike[str] | None = None,
        tls_ca: PathLike | None = None,
        tls_cert: PathLike | None = None,
        tls_key: PathLike | None = None,
        *,
        insecure: bool = False,
    ) -> None:
        self._token = os.environ.get(_TOKEN) or None if token is None else token
        if isinstance(self._token, str) and (problem := token_problem(self._token)) is not None:
            raise UsageError(f"{problem} can be none of a bridge; give the one that you got, or a Path to a file")
        self._ca = _file(tls_ca, _CA)
        self._cert = _file(tls_cert, _CERT)
        self._key = _file(tls_key, _KEY)
        if self._key is not None and self._cert is None:
            raise UsageError("tls_key without tls_cert; give the client's certificate, too")
        self._insecure = insecure
        self._context: tuple[_Stamp, ssl.SSLContext] | None = None

    def __repr__(self) -> str:
        return f"<Credentials{', a token' if self._token else ''}{', a certificate' if self._cert else ''}>"

    def token_for(self, address: Address) -> str | None:
        """The token, if there is one and nobody else could read it on its way.

        Raises:
            SecurityError: Its file cannot be used.
        """
        if self._token is None or self.holds_back(address):
            return None
        return self._token if isinstance(self._token, str) else _read_token(Path(self._token))

    def holds_back(self, address: Address) -> bool:
        """Whether there is a token that is not sent there, since others could read it."""
        private = address.scheme != "tcp" or is_loopback(address.host)
        return self._token is not None and not (private or self._insecure)

    def context(self) -> ssl.SSLContext:
        """What TLS connections use, as its files are now.

        Raises:
            SecurityError: One of them cannot be used.
        """
        stamp = tuple(None if path is None else _stamp(path) for path in (self._ca, self._cert, self._key))
        if self._context is None or self._context[0] != stamp:
            self._context = stamp, client_context(self._ca, self._cert, self._key)
        return self._context[1]


def _file(given: PathLike | None, variable: str) -> Path | None:
    named = os.environ.get(variable) if given is None else given
    return Path(named) if named else None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def _read_token(path: Path) -> str:
    text = read_secret(path).decode("utf-8", "replace").strip()
    problem = token_problem(text)
    if problem is not None:
        raise SecurityError.about(str(path), f"{problem} can be none of a bridge", "put the token in it, and no more")
    return text
