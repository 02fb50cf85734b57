"""Where a client stands with its bridge."""

from enum import Enum

__all__ = ["ClientState"]


class ClientState(Enum):
    """See `MyceliumClient.state`."""

    CONNECTING = "connecting"
    """Not let in yet; the state of a new client."""
    CONNECTED = "connected"
    """Let in, with every subscription confirmed."""
    RECONNECTING = "reconnecting"
    """The connection is gone, and another one is tried."""
    DRAINING = "draining"
    """It takes nothing new, and finishes what it has."""
    CLOSED = "closed"
    """It is over."""
