"""What is looked at: a bus, and the bridges that serve it."""

import time
from collections.abc import Callable
from typing import Final, TypeAlias, final

from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.figures import Figures
from mycelium.bus.observe.history import History
from mycelium.bus.session import Session
from mycelium.bus.stats import BusStats
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.transport import SessionProtocol

__all__ = ["OWN_SESSION", "Observed", "Served", "state_of"]

Served: TypeAlias = MessageBus | Bridge
OWN_SESSION: Final = 0
"""The session number of what happens in the bus's own process."""


@final
class Observed:
    """A bus as operators see it. From now on the bus counts by type and takes times.

    Args:
        served: The bus, or a bridge that is to be looked at alone; its bus is looked at in any case.

    Attributes:
        exchange: Where the bus routes messages.
        meter: What it counts by type.
        history: What became of edits of its contracts since now.
        began: Now, in seconds since the epoch.
        is_leaving: Whether all of it is about to go.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._hub = served.hub if isinstance(served, Bridge) else served
        self.exchange = self._hub.exchange
        self.meter = self.exchange.measure()
        self.history = History(self.exchange.contracts)
        self.began = time.time()
        self.is_leaving = False
        self._on_close: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Observed {self._served!r}>"

    def on_close(self, end: Callable[[], object]) -> None:
        """Have a function called that ends what would go on for ever."""
        self._on_close.append(end)

    def close(self) -> None:
        """Nobody is to look any more: answers that go on for ever come to their end."""
        for end in self._on_close:
            end()

    @property
    def bridges(self) -> list[Bridge]:
        """Those that are looked at."""
        return [self._served] if isinstance(self._served, Bridge) else list(self._served.bridges)

    @property
    def connections(self) -> list[SessionProtocol]:
        """Of all bridges, by the number of the session."""
        found = [one for bridge in self.bridges for one in bridge.connections]
        return sorted(found, key=lambda one: one.session.number)

    @property
    def sessions(self) -> list[Session]:
        """The same, without the sockets."""
        return [one.session for one in self.connections]

    @property
    def local(self) -> list[LocalSubscription]:
        """Subscriptions of the bus's own process."""
        return list(self.exchange.dispatcher.subscriptions)

    @property
    def figures(self) -> Figures:
        """What is counted by type, as it stands now."""
        return Figures(self.exchange, self.meter)

    def stats(self) -> BusStats:
        """The sums over everything."""
        return self._hub.stats()

    @property
    def problems(self) -> list[str]:
        """Why no messages should be sent here now; none while all is well."""
        live = [one for one in self.bridges if one.is_serving or one.connections] or self.bridges
        found = [f"{one.name}: {state_of(one)}" for one in live if not one.is_serving]
        if isinstance(self._hub, MessageBus) and self._hub.is_closing:
            found.append("the bus is closing")
        return ["about to stop", *found] if self.is_leaving else found


def state_of(bridge: Bridge) -> str:
    """What a bridge does now, in a word or two."""
    if bridge.is_serving:
        return "serving"
    return "draining" if bridge.connections else "not listening"
