"""Type id -> the socket subscriptions that want it; one entry per type, made on first use."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias, final

from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.bus.remote import RemoteSubscription

__all__ = ["Router"]

_Takers: TypeAlias = "tuple[RemoteSubscription, ...]"


@final
class Router:
    """Which socket subscriptions get a type."""

    def __init__(self) -> None:
        self._named: dict[int, dict[RemoteSubscription, None]] = {}
        self._wild: dict[RemoteSubscription, None] = {}
        self._takers: dict[int, _Takers] = {}
        self._same: dict[_Takers, _Takers] = {}
        """One tuple for each set of takers, so that runs are found by identity."""

    def __repr__(self) -> str:
        return f"<Router of {len(self._named)} types and {len(self._wild)} subscriptions to all>"

    def add(self, subscription: "RemoteSubscription") -> None:
        """From now on it is asked."""
        for type_id in subscription.type_ids:
            self._named.setdefault(type_id, {})[subscription] = None
        if not subscription.type_ids:
            self._wild[subscription] = None
        self._forget_takers()

    def remove(self, subscription: "RemoteSubscription") -> None:
        """From now on it is not."""
        for type_id in subscription.type_ids:
            subscribers = self._named.get(type_id, {})
            subscribers.pop(subscription, None)
            if not subscribers:
                self._named.pop(type_id, None)
        self._wild.pop(subscription, None)
        self._forget_takers()

    def takers(self, type_id: int) -> _Takers:
        """The subscriptions that get a type."""
        takers = self._takers.get(type_id)
        if takers is None:
            wild = (one for one in self._wild if one.wants(type_id))
            takers = (*self._named.get(type_id, ()), *wild)
            takers = self._takers[type_id] = self._same.setdefault(takers, takers)
        return takers

    def runs(self, batch: Batch) -> Iterator[tuple[Batch, _Takers]]:
        """Runs of consecutive frames with the same takers, in order; frames that nobody takes are left out."""
        by_type = {type_id: self.takers(type_id) for type_id in set(batch.type_ids)}
        if len(set(map(id, by_type.values()))) == 1:
            takers = by_type[batch.type_ids[0]]
            if takers:
                yield batch.compact(), takers
            return
        start = 0
        for takers, run in groupby(map(by_type.__getitem__, batch.type_ids)):
            stop = start + sum(1 for _ in run)
            if takers:
                yield batch.part(start, stop).compact(), takers
            start = stop

    def _forget_takers(self) -> None:
        self._takers.clear()
        self._same.clear()
