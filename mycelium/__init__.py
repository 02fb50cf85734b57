"""Mycelium: a message bus for typed messages.

Names are loaded on first use, so that importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mycelium._version import __version__

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge
    from mycelium.bus.bus import MessageBus
    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.clientstate import ClientState
    from mycelium.bus.clientstats import ClientStats
    from mycelium.bus.connect import connect
    from mycelium.bus.delivery import Delivery
    from mycelium.bus.errors import (
        AuthError,
        BackpressureTimeout,
        BindError,
        BufferFull,
        BusError,
        ClosedError,
        ConfirmTimeout,
        ConnectError,
        ConnectionLost,
        DrainingError,
        DrainTimeout,
        NoResponders,
        NoSubscribers,
        QueueFull,
        Refused,
        SchemaMismatch,
        SecurityError,
        TlsError,
        UsageError,
        VersionError,
        WouldDeadlock,
    )
    from mycelium.bus.limits import Limits
    from mycelium.bus.options import SubscribeOptions
    from mycelium.bus.receipt import Receipt
    from mycelium.bus.security.settings import Security
    from mycelium.bus.stats import BusStats, SubscriptionStats
    from mycelium.compat import Report, check_compatibility
    from mycelium.errors import MyceliumError
    from mycelium.handle import Contracts, bind, load
    from mycelium.schema.classes import Message
    from mycelium.schema.errors import (
        ContractError,
        ContractMismatch,
        ContractNotFound,
        ContractWarning,
        Fault,
        JsonError,
        LayoutError,
        MessageError,
        RuleError,
        SchemaError,
        UnknownTypeError,
    )
    from mycelium.schema.model import Schema
    from mycelium.schema.rules import rule
    from mycelium.wire.errors import DecodeError, EncodeError, ProtocolError

_HOMES = {
    "mycelium.bus.bridge": ["Bridge"],
    "mycelium.bus.bus": ["MessageBus"],
    "mycelium.bus.client": ["MyceliumClient"],
    "mycelium.bus.clientstate": ["ClientState"],
    "mycelium.bus.clientstats": ["ClientStats"],
    "mycelium.bus.connect": ["connect"],
    "mycelium.bus.delivery": ["Delivery"],
    "mycelium.bus.errors": [
        "AuthError",
        "BackpressureTimeout",
        "BindError",
        "BufferFull",
        "BusError",
        "ClosedError",
        "ConfirmTimeout",
        "ConnectError",
        "ConnectionLost",
        "DrainTimeout",
        "DrainingError",
        "NoResponders",
        "NoSubscribers",
        "QueueFull",
        "Refused",
        "SchemaMismatch",
        "SecurityError",
        "TlsError",
        "UsageError",
        "VersionError",
        "WouldDeadlock",
    ],
    "mycelium.bus.limits": ["Limits"],
    "mycelium.bus.options": ["SubscribeOptions"],
    "mycelium.bus.receipt": ["Receipt"],
    "mycelium.bus.security.settings": ["Security"],
    "mycelium.bus.stats": ["BusStats", "SubscriptionStats"],
    "mycelium.compat": ["Report", "check_compatibility"],
    "mycelium.handle": ["Contracts", "bind", "load"],
    "mycelium.errors": ["MyceliumError"],
    "mycelium.schema.classes": ["Message"],
    "mycelium.schema.errors": [
        "ContractError",
        "ContractMismatch",
        "ContractNotFound",
        "ContractWarning",
        "Fault",
        "JsonError",
        "LayoutError",
        "MessageError",
        "RuleError",
        "SchemaError",
        "UnknownTypeError",
    ],
    "mycelium.schema.model": ["Schema"],
    "mycelium.schema.rules": ["rule"],
    "mycelium.wire.errors": ["DecodeError", "EncodeError", "ProtocolError"],
}
_SUBMODULES = frozenset({"asgi", "events", "logs", "observe", "sync", "testing", "tracing"})
"""What users write as `mycelium.events.SchemaChanged` without another import."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AuthError",
    "BackpressureTimeout",
    "BindError",
    "Bridge",
    "BufferFull",
    "BusError",
    "BusStats",
    "ClientState",
    "ClientStats",
    "ClosedError",
    "ConfirmTimeout",
    "ConnectError",
    "ConnectionLost",
    "ContractError",
    "ContractMismatch",
    "ContractNotFound",
    "ContractWarning",
    "Contracts",
    "DecodeError",
    "Delivery",
    "DrainTimeout",
    "DrainingError",
    "EncodeError",
    "Fault",
    "JsonError",
    "LayoutError",
    "Limits",
    "Message",
    "MessageBus",
    "MessageError",
    "MyceliumClient",
    "MyceliumError",
    "NoResponders",
    "NoSubscribers",
    "ProtocolError",
    "QueueFull",
    "Receipt",
    "Refused",
    "Report",
    "RuleError",
    "Schema",
    "SchemaError",
    "SchemaMismatch",
    "Security",
    "SecurityError",
    "SubscribeOptions",
    "SubscriptionStats",
    "TlsError",
    "UnknownTypeError",
    "UsageError",
    "VersionError",
    "WouldDeadlock",
    "__version__",
    "bind",
    "check_compatibility",
    "connect",
    "load",
    "rule",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"mycelium.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mycelium' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
