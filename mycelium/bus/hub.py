"""What a bridge needs of its bus, and what it remembers of connections that are gone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

from mycelium.bus.exchange import Exchange
from mycelium.bus.stats import BusStats

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge
    from mycelium.bus.observe.bridge import BusTraces

__all__ = ["Closed", "Hub"]


class Hub(Protocol):
    """The bus that a bridge belongs to."""

    exchange: Exchange
    traces: "BusTraces | None"
    bridges: "WeakSet[Bridge]"

    def stats(self) -> BusStats:
        """The counters of everything."""

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""

    def next_session(self) -> int:
        """A number that no session of the bus has had."""

    def limit_payload(self, max_payload: int) -> None:
        """Publish nothing that is larger, in bytes."""


class Closed(NamedTuple):
    """A connection that was.

    Attributes:
        session: Its number.
        client: The name that the client gave itself.
        reason: Why it ended.
        received: Messages that it had published.
        transport: What it ran over, as metrics call it.
        at: When it ended, in seconds since the epoch.
    """

    session: int
    client: str
    reason: str
    received: int
    transport: str
    at: float
