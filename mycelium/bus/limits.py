"""What a bridge takes from clients, in figures (reliability, "Limits")."""

import resource
from typing import Any, Final

import attrs
from attrs import frozen

from mycelium.bus.errors import UsageError
from mycelium.bus.options import DEFAULT_BLOCK_SECONDS, DEFAULT_QUEUE
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.wire.frames import DEFAULT_MAX_PAYLOAD, HANDSHAKE_MAX_FRAME, HARD_MAX_PAYLOAD

__all__ = ["Limits", "affordable", "files_for", "http_room", "room"]

_MIB: Final = 1024 * 1024
_log = Log("mycelium.bridge")
_LEAST: Final = {"max_payload": HANDSHAKE_MAX_FRAME}
_MOST: Final = {"max_payload": HARD_MAX_PAYLOAD, "backlog": 2**31 - 1}
_SPARE_FILES: Final = 64
"""Files that the rest of the process may need."""
_MOST_HTTP: Final = 128
_HTTP_SHARE: Final = 8
"""Of all files that a process may open, HTTP has the eighth part, if that is less."""
_ORIGIN_SHARE: Final = 4
"""Where files are short, one place has the fourth part of all connections at most."""


def _sensible(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    least, most = _LEAST.get(attribute.name, 0), _MOST.get(attribute.name)
    if value <= 0 or value < least or (most is not None and value > most):
        between = f"over {least}" if most is None else f"from {least} to {most}"
        raise UsageError(f"a limit of {value} for {attribute.name} makes no sense; give a number {between}")


@frozen
class Limits:
    """What a bridge takes from clients.

    Attributes:
        max_payload: Bytes.
        handshake_seconds: For the whole handshake, that of TLS included.
        handshakes: At the same time; over it the oldest is closed.
        backlog: Connections that wait in the kernel to be taken.
        connections: At the same time, handshakes included.
        connections_per_origin: The same from one address or user id; this machine and this user have no such limit.
        refusals: Clients from one such place that could not say who they are, in any 10 s; then the place has to wait.
        subscriptions: Of one connection.
        types: Type ids over all subscriptions of one connection.
        queue: Messages that may wait for a subscription.
        queue_bytes: Bytes that may.
        block_seconds: How long a message waits for room under the lag policy `block`.
        outbound_bytes: That may wait for a client that does not read, at any moment.
        outbound_soft_bytes: The same, for longer than `outbound_soft_seconds`.
        outbound_soft_seconds: See above.
        stall_seconds: How long a client may read nothing while something waits for it.
        unsent_seconds: How old the oldest unsent byte may be.
        errors: Mistakes of a client in any 10 s; over it the client is sent away.

    Raises:
        UsageError: A limit that nobody could keep.
    """

    max_payload: int = attrs.field(default=DEFAULT_MAX_PAYLOAD, validator=_sensible)
    handshake_seconds: float = attrs.field(default=5.0, validator=_sensible)
    handshakes: int = attrs.field(default=1024, validator=_sensible)
    backlog: int = attrs.field(default=1024, validator=_sensible)
    connections: int = attrs.field(default=10_000, validator=_sensible)
    connections_per_origin: int = attrs.field(default=1024, validator=_sensible)
    refusals: int = attrs.field(default=20, validator=_sensible)
    subscriptions: int = attrs.field(default=1024, validator=_sensible)
    types: int = attrs.field(default=65_536, validator=_sensible)
    queue: int = attrs.field(default=DEFAULT_QUEUE, validator=_sensible)
    queue_bytes: int = attrs.field(default=8 * _MIB, validator=_sensible)
    block_seconds: float = attrs.field(default=DEFAULT_BLOCK_SECONDS, validator=_sensible)
    outbound_bytes: int = attrs.field(default=32 * _MIB, validator=_sensible)
    outbound_soft_bytes: int = attrs.field(default=8 * _MIB, validator=_sensible)
    outbound_soft_seconds: float = attrs.field(default=60.0, validator=_sensible)
    stall_seconds: float = attrs.field(default=10.0, validator=_sensible)
    unsent_seconds: float = attrs.field(default=60.0, validator=_sensible)
    errors: int = attrs.field(default=100, validator=_sensible)


def room(others: int = 0) -> int | None:
    """Connections that this process may have, beside what files the rest of it needs; None for as many as it likes.

    Args:
        others: Files that something else keeps for itself, such as HTTP.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if files == resource.RLIM_INFINITY else max(files - _SPARE_FILES - others, 1)


def http_room() -> int:
    """Connections of HTTP that this process may have; a bridge beside it leaves them as many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_HTTP if files == resource.RLIM_INFINITY else min(max(files // _HTTP_SHARE, 1), _MOST_HTTP)


def files_for(connections: int) -> int:
    """Files that a process has to be allowed for so many connections of a bridge, and HTTP beside them."""
    return connections + _SPARE_FILES + _MOST_HTTP


def affordable(limits: Limits, others: int = 0) -> Limits:
    """The limits, with no more connections than this process may have files open, nor too many for one place.

    Args:
        limits: Those that were asked for.
        others: As for `room`.
    """
    most = room(others)
    if most is None or limits.connections <= most:
        return limits
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _log(Line.CONN_FEWER, files=files, room=most, wanted=limits.connections)
    per_origin = min(limits.connections_per_origin, max(most // _ORIGIN_SHARE, 1))
    return attrs.evolve(limits, connections=most, connections_per_origin=per_origin)
