"""One subscription of a client at the bridge: what is queued for it, by which policy."""

from typing import TYPE_CHECKING, final

from mycelium.bus.holds import Hold
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.localqueue import Outcome
from mycelium.bus.outbox import Outbox
from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.bus.remote import RemoteSubscriptions

__all__ = ["RemoteSubscription"]

_DROP_OLDEST, _LATEST = Lag.DROP_OLDEST, Lag.LATEST


@final
class RemoteSubscription:
    """A subscription of a connection: the client's number for one queue and one window.

    Attributes:
        owner: All subscriptions of that connection.
        number: What the client calls it.
        type_ids: Empty for every type that no other subscription of the connection names.
        outbox: What waits for it.
        on_lag: The policy; None for what each message's contract says.
        no_echo: Whether the connection's own messages are left out.
        group: Who shares its messages; None for nobody.
        has_ended: Whether it takes nothing any more; a batch that is being routed may still have it on its list.
    """

    def __init__(
        self,
        owner: "RemoteSubscriptions",
        number: int,
        type_ids: frozenset[int],
        outbox: Outbox,
        *,
        on_lag: Lag | None = None,
        no_echo: bool = False,
        group: str | None = None,
    ) -> None:
        self.owner = owner
        self.number = number
        self.type_ids = type_ids
        self.outbox = outbox
        self.on_lag = on_lag
        self.no_echo = no_echo
        self.group = group
        self.has_ended = False

    def __repr__(self) -> str:
        return f"<RemoteSubscription {self.number} to {sorted(self.type_ids) or 'all types'}, {self.outbox!r}>"

    def wants(self, type_id: int) -> bool:
        """Whether a message of the type fits, and may be had."""
        owner = self.owner
        if type_id in owner.forbidden:
            return False
        return type_id in self.type_ids if self.type_ids else not owner.names(type_id)

    @property
    def load(self) -> int:
        """Messages that it has still to handle."""
        return self.outbox.queued + self.outbox.out

    def alike(self, run: Batch, start: int, deadline: float | None, *, exactly: bool) -> int:
        """How many messages of a run, from `start` on, fare alike, so that they may be offered as one.

        Args:
            run: The messages.
            start: Index of the first one.
            deadline: As for `offer`.
            exactly: Whether each message that has to wait for room has to be decided by itself.
        """
        lag = self._policy(run)
        if lag is None or (self.owner.blocked and not self.owner.blocked.isdisjoint(run.types)):
            return 1
        return self.outbox.alike(run, start, lag, deadline, exactly=exactly)

    def offer(self, run: Batch, deadline: float | None) -> Outcome:
        """Queue messages and have them sent soon, or do what the lag policy says with all of them.

        Args:
            run: One message, or as many as `alike` says.
            deadline: Until when their publisher waits for room; None for one that does not wait.
        """
        owner, type_id = self.owner, run.type_ids[0]
        if type_id in owner.blocked:
            refused = self.outbox.refuse(type_id, DropReason.SCHEMA)
            owner.changed(self)
            return refused
        if len(run.type_ids) == 1 and run.size == len(run.data) and owner.pass_on(self, run):
            return None
        lag = self._policy(run)
        assert lag is not None  # noqa: S101  they are alike
        slot = owner.catalog.slot(type_id, run.payload(0)) if lag is _LATEST else None
        outcome = self.outbox.put(run, lag, slot, deadline)
        owner.changed(self)
        if outcome is not None:
            if isinstance(outcome, Hold):
                outcome.when_decided(self._decided)
            elif outcome is DropReason.DISCONNECTED:
                owner.give_up(self)
        return outcome

    def _policy(self, run: Batch) -> Lag | None:
        """The policy for all messages of a run; None where they have several."""
        if self.on_lag is not None:
            return self.on_lag
        policies = self.owner.exchange.latest.policies
        if not policies:
            return _DROP_OLDEST
        if len(run.type_ids) == 1:
            return policies.get(run.type_ids[0], _DROP_OLDEST)
        found = {policies.get(type_id, _DROP_OLDEST) for type_id in run.types}
        return found.pop() if len(found) == 1 else None

    def _decided(self) -> None:
        """A message has room now, or was given up, of which the client is to be told."""
        if not self.has_ended:
            self.owner.changed(self)

    def relieve(self, most_bytes: int) -> None:
        """Lose the oldest messages because memory is short."""
        self.outbox.relieve(most_bytes)
        self.owner.changed(self)
