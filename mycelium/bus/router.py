"""Type id -> the socket subscriptions that want it; one entry per type, made on first use."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, final

from mycelium.bus.outbox import Outbox
from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.bus.session import Session

__all__ = ["RemoteSubscription", "Router"]


@final
class RemoteSubscription:
    """A subscription of a connection: the client's number for one queue and one window.

    Args:
        session: Whose it is.
        number: What the client calls it.
        type_ids: Empty for every type that no other subscription of the session names.
        outbox: What waits for it.
        no_echo: Whether the session's own messages are left out.
    """

    def __init__(
        self, session: "Session", number: int, type_ids: frozenset[int], outbox: Outbox, *, no_echo: bool = False
    ) -> None:
        self.session = session
        self.number = number
        self.type_ids = type_ids
        self.outbox = outbox
        self.no_echo = no_echo

    def __repr__(self) -> str:
        types = sorted(self.type_ids) or "all types"
        return f"<RemoteSubscription {self.number} of session {self.session.number} to {types}>"

    def wants(self, type_id: int) -> bool:
        """Whether a message of the type fits."""
        if self.type_ids:
            return type_id in self.type_ids
        return not self.session.names(type_id)

    def offer(self, batch: Batch) -> None:
        """Queue a batch and have the session send it soon."""
        self.outbox.put(batch)
        self.session.has_output()


_Takers: TypeAlias = tuple[RemoteSubscription, ...]


@final
class Router:
    """Which socket subscriptions get a type."""

    def __init__(self) -> None:
        self._named: dict[int, dict[RemoteSubscription, None]] = {}
        self._wild: dict[RemoteSubscription, None] = {}
        self._takers: dict[int, _Takers] = {}

    def __repr__(self) -> str:
        return f"<Router of {len(self._named)} types and {len(self._wild)} subscriptions to all>"

    def add(self, subscription: RemoteSubscription) -> None:
        """From now on it is asked."""
        for type_id in subscription.type_ids:
            self._named.setdefault(type_id, {})[subscription] = None
        if not subscription.type_ids:
            self._wild[subscription] = None
        self._takers.clear()

    def remove(self, subscription: RemoteSubscription) -> None:
        """From now on it is not."""
        for type_id in subscription.type_ids:
            subscribers = self._named.get(type_id, {})
            subscribers.pop(subscription, None)
            if not subscribers:
                self._named.pop(type_id, None)
        self._wild.pop(subscription, None)
        self._takers.clear()

    def takers(self, type_id: int) -> _Takers:
        """The subscriptions that get a type."""
        takers = self._takers.get(type_id)
        if takers is None:
            wild = (one for one in self._wild if one.wants(type_id))
            takers = self._takers[type_id] = (*self._named.get(type_id, ()), *wild)
        return takers

    def runs(self, batch: Batch) -> Iterator[tuple[Batch, _Takers]]:
        """Runs of consecutive frames with the same takers, in order."""
        start, current = 0, self.takers(batch.type_ids[0])
        for index, type_id in enumerate(batch.type_ids):
            takers = self.takers(type_id)
            if takers != current:
                yield batch.part(start, index), current
                start, current = index, takers
        yield (batch.part(start, len(batch)) if start else batch), current
