"""Who is at the other end of a connection, as far as the connection itself says."""

import ipaddress
import math
import os
import socket
import ssl
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final, Literal

from attrs import field, frozen

__all__ = ["HERE", "Certificate", "Peer", "Transport"]

Transport = Literal["tcp", "tls", "unix", "rust"]
_CREDENTIALS: Final = Struct("3i")
"""What Linux says of a peer: pid, uid, gid (unix(7), SO_PEERCRED)."""
_SO_PEERGROUPS: Final = 59
"""Supplementary groups, from Linux 4.13 on; the socket module does not name it."""
_GROUPS_SIZE: Final = 1024
"""Bytes of ids that are asked for: the most that the socket module gives."""
_GROUP: Final = Struct("I")
_KINDS: Final = ("URI", "DNS", "email")
"""Names of a certificate's subjectAltName that say who it is of, the most telling first."""
_PREFIX: Final = 64
"""Bits of an IPv6 address that are one customer's."""


@frozen
class Certificate:
    """What a verified certificate says.

    Attributes:
        name: Whose it is, all of it and as it is written there: the first URI, DNS name or e-mail address of its
            subjectAltName, else its common name; empty where it says nothing of that.
        expires_at: Seconds since the epoch.
    """

    name: str
    expires_at: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Certificate":
        """Out of what `ssl.SSLObject.getpeercert` says."""
        by_kind: dict[str, str] = {}
        for kind, value in facts.get("subjectAltName", ()):
            by_kind.setdefault(kind, value)
        common = dict(pair for group in facts.get("subject", ()) for pair in group).get("commonName", "")
        name = next((by_kind[kind] for kind in _KINDS if kind in by_kind), common)
        expiry = facts.get("notAfter")
        return cls(name, math.inf if expiry is None else ssl.cert_time_to_seconds(expiry))


@frozen
class Peer:
    """The other end of a connection.

    Attributes:
        transport: What it came over, as metrics call it.
        place: Where it is, for people.
        logged: The same, for logs; None where nobody knows.
        origin: What its connections are counted by; None for this machine and this user, which have no such limit.
        uid: Its user id, on a Unix socket.
        gids: Its groups' ids there.
        certificate: What it proved by TLS that it is.
    """

    transport: Transport = "tcp"
    place: str = "here"
    logged: str | None = None
    origin: str | None = None
    uid: int | None = None
    gids: frozenset[int] = field(default=frozenset(), repr=False)
    certificate: Certificate | None = None

    @classmethod
    def of(cls, connection: socket.socket, transport: Transport) -> "Peer":
        """Of an accepted connection."""
        if connection.family == socket.AF_UNIX:
            return _unix_peer(connection, "unix" if transport == "tcp" else transport)
        try:
            host, port = connection.getpeername()[:2]
        except OSError:  # it is gone already, which is noticed soon enough
            return cls(transport, "an address that is gone", None, "gone")
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return cls(transport, shown, shown, _origin_of(host))

    @property
    def is_loopback(self) -> bool:
        """Whether it came from this machine by its network."""
        return self.uid is None and self.origin is None

    @property
    def is_owner(self) -> bool:
        """Whether it is a process of the bridge's own user."""
        return self.uid == os.getuid()


def _origin_of(host: str) -> str | None:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return None if address.is_loopback else str(ipaddress.ip_network((address, _PREFIX), strict=False))
        address = mapped
    return None if address.is_loopback else str(address)


def _unix_peer(connection: socket.socket, transport: Transport) -> Peer:
    pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    origin = None if uid == os.getuid() else f"uid {uid}"
    groups = frozenset({gid, *_more_groups(connection)})
    return Peer(transport, f"pid {pid}, uid {uid}", f"uid={uid},pid={pid}", origin, uid, groups)


def _more_groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError:  # an older kernel, or more groups than that: the first one has to do
        return ()
    return tuple(gid for (gid,) in _GROUP.iter_unpack(packed))


HERE: Final = Peer()
"""Where nothing is known of a connection."""
