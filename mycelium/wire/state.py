"""Who may say what, when.

A connection begins in START. The client's Hello leads to HELLO; from there the bridge's Welcome opens the connection,
its NeedContracts asks for a second Hello, and its Error ends it. In OPEN each side says what core.yaml lets it say, and
application frames flow both ways. A fatal Error, and the end of the stream, lead to CLOSED from anywhere. Goodbye may
be said from the first moment on; a client that said it sends no more application frames, while a bridge that said it
still delivers what it has queued.

Both sides of a connection go through the same states, so one table serves them (wire protocol, "Order").
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from mycelium.wire.errors import ErrorCode
from mycelium.wire.frames import CONTRACTS_MAX_FRAME, HANDSHAKE_MAX_FRAME, HEADER

__all__ = ["HANDSHAKE", "HANDSHAKE_ONLY", "PAYLOAD_LIMITS", "Role", "State", "is_fatal"]


class Role(Enum):
    """A side of a connection; the value is the word of core.yaml's `x-from`."""

    CLIENT = "client"
    BRIDGE = "bridge"

    @property
    def peer(self) -> "Role":
        """The other side."""
        return Role.BRIDGE if self is Role.CLIENT else Role.CLIENT


class State(Enum):
    """Where a connection is; see the module's head."""

    START = "start"
    HELLO = "hello"
    NEED_CONTRACTS = "need_contracts"
    CONTRACTS = "contracts"
    OPEN = "open"
    CLOSED = "closed"


HANDSHAKE: Final[Mapping[tuple[State, Role, str], State]] = MappingProxyType(
    {
        (State.START, Role.CLIENT, "Hello"): State.HELLO,
        (State.HELLO, Role.BRIDGE, "Welcome"): State.OPEN,
        (State.HELLO, Role.BRIDGE, "NeedContracts"): State.NEED_CONTRACTS,
        (State.NEED_CONTRACTS, Role.CLIENT, "Hello"): State.CONTRACTS,
        (State.CONTRACTS, Role.BRIDGE, "Welcome"): State.OPEN,
    }
)
"""State, speaker and message to the next state; before OPEN nothing else is allowed but Goodbye and a fatal Error."""

HANDSHAKE_ONLY: Final = frozenset(name for _, _, name in HANDSHAKE)
"""Messages that have no place in OPEN."""

PAYLOAD_LIMITS: Final[Mapping[State, int]] = MappingProxyType(
    {
        State.START: HANDSHAKE_MAX_FRAME - HEADER.size,
        State.HELLO: HANDSHAKE_MAX_FRAME - HEADER.size,
        State.NEED_CONTRACTS: CONTRACTS_MAX_FRAME - HEADER.size,
        State.CONTRACTS: HANDSHAKE_MAX_FRAME - HEADER.size,
    }
)
"""Bytes of payload that the bridge takes from a client before Welcome."""

_ALWAYS_FATAL: Final = frozenset(code for code in ErrorCode if code.always_fatal)


def is_fatal(error: Any) -> bool:
    """Whether a core message Error ends the connection: never where it answers a request, always with some codes."""
    return error.request is None and (error.fatal or error.code in _ALWAYS_FATAL)
