"""Type id -> the socket subscriptions that want it; one entry per type, made on first use."""

from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, TypeAlias, final

from mycelium.bus.groups import Groups
from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.bus.remotesubscription import RemoteSubscription

__all__ = ["Router"]

_Takers: TypeAlias = "tuple[RemoteSubscription, ...]"


@final
class Router:
    """Which socket subscriptions get a type.

    Args:
        groups: Where those that share their messages are entered; whoever routes asks there whose turn it is.

    Attributes:
        is_echoless: Whether a subscription may leave out what its own connection publishes.
    """

    def __init__(self, groups: Groups[Any]) -> None:
        self.is_echoless = False
        self._groups = groups
        self._named: dict[int, dict[RemoteSubscription, None]] = {}
        self._wild: dict[RemoteSubscription, None] = {}
        self._takers: dict[int, _Takers] = {}
        self._same: dict[_Takers, _Takers] = {}
        """One tuple for each set of takers, so that runs are found by identity."""

    def __repr__(self) -> str:
        return f"<Router of {len(self._named)} types and {len(self._wild)} subscriptions to all>"

    def add(self, subscription: "RemoteSubscription") -> None:
        """From now on it is asked."""
        self.changed()
        self.is_echoless |= subscription.no_echo
        if subscription.group is not None:
            self._groups.add(subscription)
            return
        for type_id in subscription.type_ids:
            self._named.setdefault(type_id, {})[subscription] = None
        if not subscription.type_ids:
            self._wild[subscription] = None

    def remove(self, subscription: "RemoteSubscription") -> None:
        """From now on it is not."""
        self.changed()
        if subscription.group is not None:
            self._groups.remove(subscription)
            return
        for type_id in subscription.type_ids:
            subscribers = self._named.get(type_id, {})
            subscribers.pop(subscription, None)
            if not subscribers:
                self._named.pop(type_id, None)
        self._wild.pop(subscription, None)

    def changed(self) -> None:
        """What anybody gets may be another now: a subscription to all depends on what its connection names, and every
        one on what its connection may have.
        """  # noqa: D205
        self._takers.clear()
        self._same.clear()
        self._groups.changed()

    def takers(self, type_id: int) -> _Takers:
        """The subscriptions that get a type, but for those of groups."""
        takers = self._takers.get(type_id)
        if takers is None:
            either = chain(self._named.get(type_id, ()), self._wild)
            takers = tuple(one for one in either if one.wants(type_id))
            takers = self._takers[type_id] = self._same.setdefault(takers, takers)
        return takers

    def runs(self, batch: Batch) -> list[tuple[int, int, _Takers]]:
        """Runs of consecutive frames with the same takers, in order, as start, stop and takers; there may be none."""
        type_ids = batch.type_ids
        if len(type_ids) == 1 or batch.is_even:
            return [(0, len(type_ids), self.takers(type_ids[0]))]
        by_type = {type_id: self.takers(type_id) for type_id in batch.types}
        if len(set(map(id, by_type.values()))) == 1:
            return [(0, len(type_ids), by_type[type_ids[0]])]
        runs, start = [], 0
        for takers, run in groupby(map(by_type.__getitem__, type_ids)):
            stop = start + sum(1 for _ in run)
            runs.append((start, stop, takers))
            start = stop
        return runs
