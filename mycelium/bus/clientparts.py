"""What a client is made of, for those of its parts that deal with all the others."""

from attrs import frozen

from mycelium.bus.accord import Accord
from mycelium.bus.correspondence import Correspondence
from mycelium.bus.eventstream import Events
from mycelium.bus.inbox import Inbox
from mycelium.bus.outlet import Outlet
from mycelium.bus.reception import Reception
from mycelium.bus.security.credentials import Credentials

__all__ = ["Parts", "Settings"]


@frozen
class Settings:
    """How a client keeps its connection.

    Attributes:
        name: What the bridge shows of it.
        heartbeat_ms: The interval that it wishes for.
        timeout: Seconds that one attempt to connect may take.
        reconnect: Whether a lost connection is made again.
        max_reconnect_seconds: How long that is tried; None for ever.
        echo: Whether to keep own messages that a bus in Mycelium's own dialect sends back.
        credentials: Who it is, and whom it believes.
    """

    name: str
    heartbeat_ms: int
    timeout: float
    reconnect: bool
    max_reconnect_seconds: float | None
    echo: bool
    credentials: Credentials


@frozen(eq=False)
class Parts:
    """What a lifeline keeps connected."""

    inbox: Inbox
    outlet: Outlet
    correspondence: Correspondence
    reception: Reception
    accord: Accord
    events: Events
