"""What a bridge asks of those who connect. Files that it names are read when it starts, and again when they change."""

from pathlib import Path
from typing import Any, Final

import attrs
from attrs import field, frozen

from mycelium.bus.errors import UsageError

__all__ = ["SOCKET_MODE", "Security"]

SOCKET_MODE: Final = 0o600
_WORLD: Final = 0o007


def _path(value: Any) -> Path | None:
    return None if value is None else Path(value)


def _ids(value: Any) -> frozenset[int]:
    return frozenset(value)


@frozen
class Security:
    """Who may connect to a bridge, and what for. By default: this machine only, and on Unix sockets this user only.

    Attributes:
        token_file: Principals and their tokens, one `principal: token` or `principal: sha256:…` a line.
        tokens: The same as text, such as from the environment.
        acl_file: What each principal may publish and receive; None: everything.
        tls_cert: The certificate chain of `tls://` listeners, PEM.
        tls_key: Its key; None: it is in the same file.
        tls_ca: Who signs certificates of clients, which are asked for if this is given; PEM.
        uids: User ids that may connect to Unix sockets; empty for the bridge's own, unless there are `gids`.
        gids: Group ids that may.
        socket_mode: Permissions of Unix sockets' files.
        insecure: Listen where other machines reach it, although nobody is asked who they are, or anybody can listen in.

    Raises:
        UsageError: These settings make no sense.
    """

    token_file: Path | None = field(default=None, converter=_path)
    tokens: str | None = field(default=None, repr=False)
    acl_file: Path | None = field(default=None, converter=_path)
    tls_cert: Path | None = field(default=None, converter=_path)
    tls_key: Path | None = field(default=None, converter=_path)
    tls_ca: Path | None = field(default=None, converter=_path)
    uids: frozenset[int] = field(default=frozenset(), converter=_ids)
    gids: frozenset[int] = field(default=frozenset(), converter=_ids)
    socket_mode: int = field(default=SOCKET_MODE)
    insecure: bool = False

    @socket_mode.validator
    def _sensible(self, _: "attrs.Attribute[int]", value: int) -> None:
        if value & ~0o777 or value & _WORLD or not value & 0o200:
            text = f"a socket mode of {value:04o} makes no sense; give 0600, or 0660 with groups that may connect"
            raise UsageError(text)

    def __attrs_post_init__(self) -> None:
        for name, given in (("tls_key", self.tls_key), ("tls_ca", self.tls_ca)):
            if given is not None and self.tls_cert is None:
                raise UsageError(f"{name} without tls_cert; give the bridge's own certificate, too")

    @property
    def asks_tokens(self) -> bool:
        """Whether tokens are asked for."""
        return self.token_file is not None or self.tokens is not None

    @property
    def asks_certificates(self) -> bool:
        """Whether certificates of clients are asked for, over TLS."""
        return self.tls_ca is not None

    @property
    def socket_group(self) -> int | None:
        """The group that Unix sockets' files are given to: the one that may connect, where they are open to it."""
        return min(self.gids) if len(self.gids) == 1 and self.socket_mode & 0o020 else None

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that are followed."""
        named = (self.token_file, self.acl_file, self.tls_cert, self.tls_key, self.tls_ca)
        return tuple(one for one in named if one is not None)
