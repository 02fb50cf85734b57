"""Tokens: who has which, kept as hashes (reliability, "Token")."""

import hmac
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, final

from mycelium.bus.errors import SecurityError

__all__ = ["HASHED", "Tokens", "digest_of", "token_problem"]

HASHED: Final = "sha256:"
"""What a line has before the hash of a token, in hex, in place of the token itself."""
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@/-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_LEAST, _MOST = 16, 1024
"""Characters of a token."""


def digest_of(token: str) -> bytes:
    """What is kept of a token. It is no password: a long random text needs no slow hash."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def token_problem(token: str) -> str | None:
    """Why a text can be no token; None if it can. The text does not show it."""
    if not _LEAST <= len(token) <= _MOST:
        return f"a token of {len(token)} characters"
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "a token with characters that are not allowed"
    return None


@final
class Tokens:
    """Hashes of tokens, and whose they are; a principal may have several, as while it changes from one to the other.

    Args:
        principals: By hash.
    """

    def __init__(self, principals: dict[bytes, str]) -> None:
        self._principals = principals

    def __repr__(self) -> str:
        return f"<Tokens of {len(set(self._principals.values()))} principals>"

    def __len__(self) -> int:
        return len(self._principals)

    def whose(self, digest: bytes) -> str | None:
        """The principal of the token with this hash; None if it is nobody's."""
        return self._principals.get(digest)

    @classmethod
    def parse(cls, text: str, source: str) -> "Tokens":
        """Read lines `principal: token` and `principal: sha256:…`; empty ones, and those behind a #, say nothing.

        Args:
            text: The lines.
            source: Where they are from, for errors.

        Raises:
            SecurityError: A line is none of these; the error does not show it.
        """
        principals: dict[bytes, str] = {}
        for number, principal, digest in _entries(text, source):
            if principals.setdefault(digest, principal) != principal:
                problem = "the token is another principal's already"
                raise SecurityError.about(f"{source}:{number}", problem, "make a new one")
        return cls(principals)

    @classmethod
    def merged(cls, several: "Iterable[Tokens]") -> "Tokens":
        """All of several together."""
        return cls({digest: principal for one in several for digest, principal in one._principals.items()})  # noqa: SLF001

    def find(self, token: str) -> tuple[str, bytes] | None:
        """Whose token it is, and its hash; None if it is nobody's. It takes as long whichever token it is."""
        given = digest_of(token)
        found = None
        for digest, principal in self._principals.items():
            if hmac.compare_digest(digest, given):
                found = principal, digest
        return found


def _entries(text: str, source: str) -> Iterator[tuple[int, str, bytes]]:
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, *_entry(stripped, f"{source}:{number}")


def _entry(line: str, place: str) -> tuple[str, bytes]:
    principal, separator, secret = map(str.strip, line.partition(":"))
    if not separator or not _PRINCIPAL.fullmatch(principal):
        problem = "this is no line `principal: token`"
        raise SecurityError.about(place, problem, "a principal has letters, digits and _ . @ / -")
    if secret.startswith(HASHED):
        digits = secret.removeprefix(HASHED)
        if not _DIGEST.fullmatch(digits):
            raise SecurityError.about(place, "this is no SHA-256", "write 64 hex digits")
        return principal, bytes.fromhex(digits)
    weakness = token_problem(secret)
    if weakness is not None:
        raise SecurityError.about(place, weakness, f"take {_LEAST} to {_MOST} random letters and digits")
    return principal, digest_of(secret)
