"""How many connections come from one place, and how often somebody there could not say who he is."""

from collections import Counter, OrderedDict
from typing import Final, final

from mycelium.bus.budget import ErrorBudget
from mycelium.bus.limits import Limits

__all__ = ["Crowd"]

_MOST_REMEMBERED: Final = 4096
"""Places with failures; the one that failed longest ago goes first."""


@final
class Crowd:
    """Connections of one bridge by their origin. This machine and this user have none, and are not counted.

    Args:
        limits: How many there may be.

    Attributes:
        limits: See above; they may change.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._there: Counter[str] = Counter()
        self._failures: OrderedDict[str, ErrorBudget] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Crowd of {self._there.total()} from {len(self._there)} places>"

    def enter(self, origin: str | None, now: float) -> str | None:
        """Count a connection, until it leaves; why it has to leave at once, or None."""
        if origin is None:
            return None
        self._there[origin] += 1
        if self._there[origin] > self.limits.connections_per_origin:
            return f"the bridge takes {self.limits.connections_per_origin} connections from one place"
        return self.spent(origin, now)

    def spent(self, origin: str | None, now: float) -> str | None:
        """Why nobody from there is asked who he is now; None where somebody may be."""
        failures = None if origin is None else self._failures.get(origin)
        if failures is not None and failures.is_spent(now):
            return f"too many clients from there could not say who they are; wait {failures.seconds:g} s"
        return None

    def leave(self, origin: str | None) -> None:
        """A connection is gone."""
        if origin is not None:
            self._there[origin] -= 1
            if not self._there[origin]:
                del self._there[origin]

    def failed(self, origin: str | None, now: float) -> None:
        """Somebody could not say who he is."""
        if origin is None:
            return
        failures = self._failures.setdefault(origin, ErrorBudget(self.limits.refusals))
        self._failures.move_to_end(origin)
        failures.spend(now)
        if len(self._failures) > _MOST_REMEMBERED:
            self._failures.popitem(last=False)
