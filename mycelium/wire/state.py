"""Who may say what, when.

A connection begins in START. The client's Hello leads to HELLO; from there the bridge's Welcome opens the connection, its
NeedContracts asks for a second Hello, and its Error ends it. In OPEN each side says what core.yaml lets it say, and
application frames flow both ways. A fatal Error, and the end of the stream, lead to CLOSED from anywhere. A side that
said Goodbye sends no more application frames if it is the client; the bridge still delivers what it has queued.

Both sides of a connection go through the same states, so one table serves them (wire protocol, "Order").
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from mycelium.wire.frames import CONTRACTS_MAX_FRAME, HANDSHAKE_MAX_FRAME, HEADER

__all__ = ["HANDSHAKE", "PAYLOAD_LIMITS", "Role", "State"]


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
"""State, speaker and message to the next state; before OPEN nothing else is allowed but Error and Goodbye."""

PAYLOAD_LIMITS: Final[Mapping[State, int]] = MappingProxyType(
    {
        State.START: HANDSHAKE_MAX_FRAME - HEADER.size,
        State.HELLO: HANDSHAKE_MAX_FRAME - HEADER.size,
        State.NEED_CONTRACTS: CONTRACTS_MAX_FRAME - HEADER.size,
        State.CONTRACTS: HANDSHAKE_MAX_FRAME - HEADER.size,
    }
)
"""Bytes of payload that the bridge takes from a client before Welcome."""
