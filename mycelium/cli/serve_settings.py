"""What `mycelium serve` can be told: its settings by name, and what they come to."""

import argparse
import grp
import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mycelium.bus.limits import Limits
from mycelium.bus.security.settings import SOCKET_MODE, Security
from mycelium.cli.eventloop import event_loop
from mycelium.cli.options import duration, log_format, log_level, on_or_off, positive, reload_policy, size
from mycelium.cli.settings import Setting
from mycelium.cli.traces import traces

__all__ = ["LIMITS", "SETTINGS", "TOKENS_VARIABLE", "limits_of", "security_of"]

TOKENS_VARIABLE: Final = "MYCELIUM_TOKENS"
"""Principals and their tokens, where no file is to hold them."""


def _user(text: str) -> int:
    return _id(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def _group(text: str) -> int:
    return _id(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def _id(text: str, what: str, of_name: Callable[[str], int]) -> int:
    if text.isdecimal():
        return int(text)
    try:
        return of_name(text)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no {what} {text!r}; give a name or a number") from None


def _mode(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no permissions; write 600 or 660") from None


_GENERAL: Final = (
    Setting(
        "listen",
        str,
        ["tcp://127.0.0.1:7777"],
        "where to listen, tcp://host:port, tls://host:port or unix:///path, with rust+ before tcp or unix for peers "
        "that speak Mycelium's own dialect; repeatable",
        "URL",
        many=True,
    ),
    Setting(
        "join",
        str,
        [],
        "become a member of a bus in Mycelium's own dialect, rust+unix:///path or rust+tcp://host:port; ?digest=send "
        "tells it the digest of the contracts file; repeatable",
        "URL",
        many=True,
        shown="none",
    ),
    Setting("reload", on_or_off, default=True, help="apply edits of the contracts file while clients are connected"),
    Setting(
        "reload-policy", reload_policy, "full", "what an edit must keep: full, backward, forward, …, none", "LEVEL"
    ),
    Setting("name", str, "mycelium", "what clients are told", "NAME"),
    Setting("grace", duration, 10.0, "time for clients to finish publishing when the bridge stops", "S"),
    Setting("flush-timeout", duration, 30.0, "time to send what is queued after that", "S"),
    Setting("log-format", log_format, "console", "console for people, json: one object a line", "FORMAT"),
    Setting("log-level", log_level, "info", "the least that is logged: debug, info, warning, error, critical", "LEVEL"),
    Setting("stats-interval", duration, 0.0, "how often the counters are logged", "S", shown="never"),
    Setting(
        "traces",
        traces,
        "off",
        "OpenTelemetry spans: off, otlp (to OTEL_EXPORTER_OTLP_ENDPOINT), global (what the process has configured)",
        "WAY",
    ),
    Setting(
        "loop",
        event_loop,
        "auto",
        "event loop: asyncio, uvloop, or auto: uvloop where it is installed",
        "LOOP",
    ),
)
_SECURITY: Final = (
    Setting("token-file", Path, None, "who may connect: lines `principal: token`", "FILE", shown="none"),
    Setting("acl", Path, None, "what each principal may publish and receive, YAML", "FILE", shown="everything"),
    Setting("tls-cert", Path, None, "certificate chain of tls:// listeners, PEM", "FILE", shown="none"),
    Setting("tls-key", Path, None, "its key", "FILE", shown="in the same file"),
    Setting("tls-ca", Path, None, "who signs the certificates that clients have to have", "FILE", shown="none asked"),
    Setting("allow-uid", _user, [], "who may connect to Unix sockets; repeatable", "USER", many=True, shown="this one"),
    Setting("allow-gid", _group, [], "groups that may; repeatable", "GROUP", many=True, shown="none"),
    Setting("socket-mode", _mode, SOCKET_MODE, "permissions of Unix sockets' files", "MODE", shown="600"),
)
LIMITS: Final[Mapping[str, tuple[str, Callable[[str], Any], str, str]]] = {
    "max-payload": ("max_payload", positive, "BYTES", "bytes of the largest payload"),
    "handshake-timeout": ("handshake_seconds", duration, "S", "time for a whole handshake"),
    "max-handshakes": ("handshakes", positive, "N", "handshakes at the same time; over it the oldest is closed"),
    "backlog": ("backlog", positive, "N", "connections that wait in the kernel to be taken"),
    "max-connections": ("connections", positive, "N", "connections at the same time"),
    "max-connections-per-origin": (
        "connections_per_origin",
        positive,
        "N",
        "the same from one other address or user id",
    ),
    "max-refusals": ("refusals", positive, "N", "clients of unknown identity from one such place in 10 s"),
    "max-subscriptions": ("subscriptions", positive, "N", "subscriptions of a connection"),
    "max-types": ("types", positive, "N", "types over all subscriptions of a connection"),
    "max-queue": ("queue", positive, "N", "messages that may wait for a subscription"),
    "max-queue-bytes": ("queue_bytes", size, "SIZE", "bytes of them"),
    "block-timeout": (
        "block_seconds",
        duration,
        "S",
        "how long a message waits for room under the lag policy block",
    ),
    "max-outbound": ("outbound_bytes", size, "SIZE", "bytes that may wait for a client that does not read"),
    "soft-outbound": ("outbound_soft_bytes", size, "SIZE", "the same for longer than --soft-outbound-time"),
    "soft-outbound-time": ("outbound_soft_seconds", duration, "S", "see --soft-outbound"),
    "stall-timeout": ("stall_seconds", duration, "S", "how long a client may read nothing that waits for it"),
    "unsent-timeout": ("unsent_seconds", duration, "S", "how old the oldest unsent byte may be"),
    "max-errors": ("errors", positive, "N", "mistakes of a client in 10 s; over it the client is sent away"),
}
"""By name: the attribute of `Limits`, what reads the text, how the help calls the value, and what it is."""
_DEFAULTS: Final = Limits()
_MEMORY: Final = Setting(
    "max-memory",
    size,
    None,
    "bytes that queues, unsent bytes and last values may hold",
    "SIZE",
    shown="half of what there is",
)
SETTINGS: Final = (
    *_GENERAL,
    *_SECURITY,
    *(
        Setting(name, parse, getattr(_DEFAULTS, attribute), text, metavar)
        for name, (attribute, parse, metavar, text) in LIMITS.items()
    ),
    _MEMORY,
)


def limits_of(values: Mapping[str, Any]) -> Limits:
    """What is taken from clients.

    Raises:
        UsageError: A limit makes no sense.
    """
    return Limits(**{attribute: values[name] for name, (attribute, *_) in LIMITS.items()})


def security_of(values: Mapping[str, Any], *, insecure: bool) -> Security:
    """Who may connect, and what for.

    Raises:
        UsageError: The settings make no sense.
    """
    return Security(
        token_file=values["token-file"],
        tokens=os.environ.get(TOKENS_VARIABLE) or None,
        acl_file=values["acl"],
        tls_cert=values["tls-cert"],
        tls_key=values["tls-key"],
        tls_ca=values["tls-ca"],
        uids=values["allow-uid"],
        gids=values["allow-gid"],
        socket_mode=values["socket-mode"],
        insecure=insecure,
    )
