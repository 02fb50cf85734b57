"""Whom a bridge lets in, and what for: the settings in force, read anew when their files change.

What is in force is one frozen value, which is swapped when everything that it is made of could be read; whatever goes
wrong, what was in force goes on.
"""

import asyncio
import contextlib
import hashlib
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, final

from attrs import frozen

from mycelium.bus.aside import aside
from mycelium.bus.errors import BindError, SecurityError
from mycelium.bus.filewatch import hints, settled
from mycelium.bus.security.acl import FREE, Acl, Permits
from mycelium.bus.security.aclfile import parse_acl
from mycelium.bus.security.contexts import bridge_context
from mycelium.bus.security.exposure import refuse_exposed
from mycelium.bus.security.identity import NOBODY, Identity
from mycelium.bus.security.peer import Peer
from mycelium.bus.security.secretfile import read_secret, read_setting
from mycelium.bus.security.settings import Security
from mycelium.bus.security.tokens import Tokens
from mycelium.bus.urls import Address
from mycelium.events import Event, SecurityChanged, SecurityRefused
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.registry import Registry
from mycelium.wire.errors import ErrorCode, ProtocolError

__all__ = ["Guard"]

_log = Log("mycelium.security")
_REFUSED: Final = "the token is not accepted"
"""Whatever is wrong with it: who guesses learns nothing."""
_MISSING: Final = "this bridge asks who you are; give a token (token=…, $MYCELIUM_TOKEN, --token-file)"
_UID, _RUST = "uid:", "rust:"
"""What principals of Unix sockets, and of peers in Mycelium's own dialect, begin with, and no certificate's may."""
_MOST_NAME: Final = 1024
"""Characters of a principal's name in a certificate."""
_ENVIRONMENT: Final = "MYCELIUM_TOKENS"


@frozen
class _Force:
    """What is in force.

    Attributes:
        tokens: None where none are asked for.
        acl: None where everybody may do everything.
        context: None where there is no TLS.
    """

    tokens: Tokens | None = None
    acl: Acl | None = None
    context: ssl.SSLContext | None = None


@final
class Guard:
    """Of one bridge.

    Args:
        security: What is asked for.
        tell: Where events go.

    Attributes:
        security: See above.
        reloads: How often the files were read again, by outcome: `applied` or `refused`.
    """

    def __init__(self, security: Security, tell: Callable[[Event], object] = lambda _: None) -> None:
        self.security = security
        self.reloads: Counter[str] = Counter()
        self._tell = tell
        self._force = _Force()
        self._seen: list[bytes | None] = []
        self._permits: dict[str | None, Permits] = {}
        self._of: Registry[Any] | None = None
        """The contracts that these permits are worked out for."""
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Guard, {', '.join(self.asks) or 'open'}{', with an ACL' if self.has_acl else ''}>"

    # --- what is in force ---

    def start(self) -> None:
        """Read every file.

        Raises:
            SecurityError: One of them cannot be used.
        """
        self._seen = [_hashed(path) for path in self.security.files]
        self._force = _read(self.security)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What new TLS connections use; None where there is no certificate."""
        return self._force.context

    @property
    def has_acl(self) -> bool:
        """Whether there are access rules."""
        return self.security.acl_file is not None

    @property
    def asks(self) -> list[str]:
        """How clients that come by the network show who they are."""
        asked = {"token": self.security.asks_tokens, "certificate": self.security.asks_certificates}
        return [name for name, is_asked in asked.items() if is_asked]

    def refuse_exposed(self, address: Address) -> None:
        """Refuse to listen where others could come in unasked, or listen in.

        Raises:
            BindError: As the address and these settings are, nobody may listen there.
        """
        secure = address.scheme == "tls"
        if address.is_rust and not self.security.insecure:  # in that dialect nobody can say who he is
            refuse_exposed(address, authenticated=False, encrypted=False)
        if secure and self.security.tls_cert is None:
            raise BindError(str(address), "there is no certificate", "give one with --tls-cert and --tls-key")
        asked = self.security.asks_tokens or (secure and self.security.asks_certificates)
        if not (self.security.insecure or address.is_rust):
            remedy = f"listen on tls://{address.place} with --tls-cert and --token-file or --tls-ca"
            refuse_exposed(address, authenticated=asked, encrypted=secure, remedy=remedy)

    # --- who comes ---

    def turned_away(self, peer: Peer) -> str | None:
        """Why a peer may not even say Hello; None if it may."""
        if peer.uid is None:
            return None
        uids, gids = self.security.uids, self.security.gids
        if peer.uid in uids or not gids.isdisjoint(peer.gids) or (peer.is_owner and not (uids or gids)):
            return None
        return f"user id {peer.uid} may not connect to this socket; --allow-uid and --allow-gid say who may"

    def admit(self, peer: Peer, token: str | None) -> Identity:
        """Who a client is.

        Args:
            peer: What its connection says of it.
            token: What it says itself.

        Raises:
            ProtocolError: It is not let in; the text shows nothing that it has said.
        """
        tokens, certificate = self._force.tokens, peer.certificate
        if peer.transport == "rust":  # its dialect has no word for who it is
            return Identity(f"{_RUST}peer")
        if tokens is not None and token is not None:
            found = tokens.find(token)
            if found is None:
                raise ProtocolError(ErrorCode.AUTH_REFUSED, _REFUSED)
            expiry = NOBODY.expires_at if certificate is None else certificate.expires_at
            return Identity(found[0], "token", found[1], expiry)
        if certificate is not None:
            problem = _problem_with(certificate.name)
            if problem is not None:
                raise ProtocolError(ErrorCode.AUTH_REFUSED, f"the certificate {problem}")
            return Identity(certificate.name, "certificate", None, certificate.expires_at)
        if peer.uid is not None:
            return Identity(f"{_UID}{peer.uid}", "unix")
        if tokens is not None:
            raise ProtocolError(ErrorCode.AUTH_REQUIRED, _MISSING)
        return NOBODY

    def still_admits(self, identity: Identity, now: float) -> str | None:
        """Why a client that was let in has to go; None if it may stay.

        Args:
            identity: Who it is.
            now: Seconds since the epoch.
        """
        if identity.expires_at <= now:
            return "the client's certificate has expired"
        tokens = self._force.tokens
        if identity.token is not None and tokens is not None and tokens.whose(identity.token) != identity.principal:
            return "the client's token is not accepted any more"
        return None

    # --- what for ---

    def permits(self, identity: Identity, registry: Registry[Any]) -> Permits:
        """What a client must not do, for the types of some contracts."""
        acl = self._force.acl
        if acl is None:
            return FREE
        if self._of is not registry:
            self._of = registry
            self._permits.clear()
            for stray in acl.strays(registry):
                _log(Line.SECURITY_SLIP, source=str(self.security.acl_file), text=stray)
        key = identity.principal if acl.names(identity.principal) else None
        if key not in self._permits:
            self._permits[key] = acl.permits(key, registry)
        return self._permits[key]

    def is_admin(self, peer: Peer, identity: Identity, registry: Registry[Any]) -> bool:
        """Whether a client may see others and have contracts reloaded."""
        if peer.is_owner or self.permits(identity, registry).is_admin:
            return True
        return peer.is_loopback and not self.asks

    # --- files that change ---

    async def follow(self, on_change: Callable[[], object]) -> None:
        """Read files again whenever they change, until cancelled.

        Args:
            on_change: Called when something else is in force.
        """
        files = self.security.files
        if not files:
            return
        async with contextlib.aclosing(hints(files)) as chances:
            async for _ in chances:
                contents = await settled(files, read_setting)
                if [None if each is None else _hash(each) for each in contents] != self._seen:
                    await self.reload(on_change)

    async def reload(self, on_change: Callable[[], object]) -> bool:
        """Read all files again; whether they could be used. What was in force goes on where they could not.

        Args:
            on_change: Called when something else is in force.
        """
        async with self._lock:
            files = self.security.files
            before, self._seen = self._seen, await aside(_hashed_all, files)
            try:
                self._force = await aside(_read, self.security)
            except SecurityError as error:
                self.reloads["refused"] += 1
                _log(Line.SECURITY_REFUSED, error=str(error))
                self._tell(SecurityRefused(error.lines))
                return False
            self.reloads["applied"] += 1
            self._of = None
            pairs = zip(files, before, self._seen, strict=True)
            changed = tuple(str(path) for path, previous, current in pairs if previous != current)
            on_change()
            if changed:
                _log(Line.SECURITY_APPLIED, source=", ".join(changed))
                self._tell(SecurityChanged(changed))
            else:
                _log(Line.SECURITY_UNCHANGED)
            return True


def _problem_with(name: str) -> str | None:
    """Why the name in a certificate is no principal's; None if it is."""
    if not name or name.startswith((_UID, _RUST)):
        return "names nobody; give it a subjectAltName"
    if len(name) > _MOST_NAME:
        return f"has a name of more than {_MOST_NAME:,} characters"
    return None if name.isprintable() else "has a name with characters that cannot be shown"


def _read(security: Security) -> _Force:
    """Everything anew.

    Raises:
        SecurityError: One of the files cannot be used.
    """
    acl = None
    if security.acl_file is not None:
        acl = parse_acl(read_setting(security.acl_file), str(security.acl_file))
    return _Force(_read_tokens(security), acl, bridge_context(security))


def _read_tokens(security: Security) -> Tokens | None:
    if not security.asks_tokens:
        return None
    found: list[Tokens] = []
    if security.token_file is not None:
        try:
            text = read_secret(security.token_file).decode("ascii")
        except UnicodeDecodeError:
            problem = "there is something in it that is no ASCII"
            raise SecurityError.about(str(security.token_file), problem, "write tokens in letters and digits") from None
        found.append(Tokens.parse(text, str(security.token_file)))
    if security.tokens is not None:
        found.append(Tokens.parse(security.tokens.replace(",", "\n"), _ENVIRONMENT))
    tokens = Tokens.merged(found)
    if not tokens:
        source = str(security.token_file or _ENVIRONMENT)
        raise SecurityError.about(source, "there is no token, so nobody could come in", "write `principal: token`")
    return tokens


def _hashed_all(paths: Sequence[Path]) -> list[bytes | None]:
    return [_hashed(path) for path in paths]


def _hashed(path: Path) -> bytes | None:
    try:
        return _hash(read_setting(path))
    except SecurityError:
        return None


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
