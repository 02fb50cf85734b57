"""What waits inside a process for a handler or an iterator: a bounded queue with lag policies.

Pure bookkeeping, without a clock. The policies act here and nowhere else; their twin for frames is `outbox`.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice, repeat
from typing import Final, Protocol, TypeAlias, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.holds import Hold, Holds
from mycelium.bus.keys import key_of
from mycelium.bus.lag import REFUSALS, DropReason, Lag
from mycelium.bus.losses import Losses
from mycelium.schema.classes import Message

__all__ = ["Done", "Entry", "LocalQueue", "Offer", "Outcome"]

Done: TypeAlias = Callable[[int], None]
"""Called with how many messages a subscription is done with, until it was told of all; what credit is counted by."""
Entry: TypeAlias = tuple[Message, Delivery, Done | None, Hashable]
"""A message that waits, its context, whom to tell when it is done with, and under `latest` its slot: what is in the
queue keeps the place then, and what is in the slot is the newest of its type and key."""
Outcome: TypeAlias = "DropReason | Hold | None"
"""What became of a message at one subscription: taken (None), dropped, or to be decided."""
_LOOKAHEAD: Final = 256
"""Messages that are looked at for one whose key nobody is busy with."""


class Offer(Protocol):
    """How a subscription takes a message."""

    def __call__(
        self, message: Message, delivery: Delivery, done: Done | None = None, deadline: float | None = None, /
    ) -> Outcome:
        """Take a message; after the end nothing is taken.

        Args:
            message: The message.
            delivery: Its context.
            done: Called once when the subscription is done with it.
            deadline: Until when its publisher waits for room under `block`; None for one that does not wait.
        """


@final
class LocalQueue:
    """Messages for one subscription, in order.

    Args:
        limit: How many may wait.
        on_slow: Called when the queue is full for the first time, and when it has been empty again.

    Attributes:
        entries: Messages that wait, in order; where others wait for room there are as many of these as may be.
        losses: What was dropped.
        is_slow: Whether it was full, and has not been empty since.
        acting: The policy that acted first then.
    """

    def __init__(self, limit: int, on_slow: Callable[[], None]) -> None:
        self.limit = limit
        self.losses = Losses()
        self.is_slow = False
        self.acting = Lag.DROP_OLDEST
        self._on_slow = on_slow
        self.entries: deque[Entry] = deque()
        self._slots: dict[Hashable, Entry] = {}
        self._holds: Holds[Entry] = Holds()

    def __len__(self) -> int:
        """Messages that wait, those that have no room yet included."""
        return len(self.entries) + len(self._holds)

    def __repr__(self) -> str:
        return f"<LocalQueue, {len(self)} of {self.limit}>"

    @property
    def type_ids(self) -> list[int]:
        """The types of all messages that wait."""
        waiting = (*self.entries, *self._holds)
        return [message.TYPE_ID for message, _, _, _ in waiting]

    def put(self, message: Message, delivery: Delivery, done: Done | None, lag: Lag, deadline: float | None) -> Outcome:
        """Take a message, or do what the policy says.

        Args:
            message: The message.
            delivery: Its context.
            done: Called once when it is handled or dropped.
            lag: The policy.
            deadline: Until when its publisher waits for room; None for one that does not wait.
        """
        has_room = len(self.entries) < self.limit
        if has_room and lag is not Lag.LATEST:  # as nearly always
            self.entries.append((message, delivery, done, None))
            return None
        slot = (message.TYPE_ID, key_of(message)) if lag is Lag.LATEST else None
        entry = (message, delivery, done, slot)
        if slot is not None and (older := self._slots.get(slot)) is not None:
            self._slots[slot] = entry
            self._drop(older, DropReason.CONFLATED)
            return None
        if has_room:
            self._append(entry)
            return None
        if not self.is_slow:
            self.is_slow = True
            self.acting = lag
            self.losses.episode = 0
            self._on_slow()
        reason = REFUSALS.get(lag)
        if reason is not None:
            return self._drop(entry, reason)
        if lag is not Lag.BLOCK:
            self._make_room(entry)
            return None
        if deadline is None:
            return self._drop(entry, DropReason.REJECTED)
        return self._hold(entry, deadline)

    def put_run(self, messages: Sequence[Message], delivery: Delivery, done: Done) -> bool:
        """Take messages that came together, none of them under `latest`; false where there is no room for all."""
        if len(self.entries) + len(messages) > self.limit:
            return False
        self.entries.extend(zip(messages, repeat(delivery), repeat(done), repeat(None)))
        return True

    def pop(self) -> Entry | None:
        """The message whose turn it is; None where none waits."""
        if not self.entries:
            return None
        entry = self.entries.popleft()
        if entry[3] is None and not self.is_slow:  # as nearly always; where somebody waits for room it is slow
            return entry
        return self._taken(entry)

    def pop_free(self, busy: Mapping[Hashable, int]) -> Entry | None:
        """The first message whose type and key nobody is busy with."""
        for index, entry in enumerate(islice(self.entries, _LOOKAHEAD)):
            if lane_of(self._newest(entry)[0]) not in busy:
                del self.entries[index]
                return self._taken(entry)
        return None

    @property
    def is_plain(self) -> bool:
        """Whether nothing but entries has to be looked at: no slot, no drop to be told, nobody who waits for room."""
        return not (self.is_slow or self._slots or self.losses.pending)

    def clear(self, reason: DropReason) -> None:
        """Drop everything."""
        self.admit_no_more(reason)
        while self.entries:
            self._drop_head(reason)

    def release(self) -> None:
        """Nobody is waited for any more to take what is here: it counts as done with."""
        for _ in range(len(self.entries)):
            message, delivery, done, slot = self._leave(self.entries.popleft())
            self._append((message, delivery, None, slot))
            if done is not None:
                done(1)

    def admit_no_more(self, reason: DropReason) -> None:
        """Drop what waits for room, and have nobody wait for more of it: there will be none."""
        self._holds.give_up_all(reason)
        self._holds.look(0, self.limit)

    # --- inside ---

    def _append(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry[3] is not None:
            self._slots[entry[3]] = entry

    def _newest(self, entry: Entry) -> Entry:
        """What stands in the place of one that waits: itself, or what its slot holds."""
        return entry if entry[3] is None else self._slots[entry[3]]

    def _leave(self, entry: Entry) -> Entry:
        """The same of one that waits no more."""
        return entry if entry[3] is None else self._slots.pop(entry[3])

    def _taken(self, entry: Entry) -> Entry:
        entry = self._leave(entry)
        if self._holds.waiting or self._holds.listeners:
            self._admit()
        if self.is_slow and not self.entries:
            self.is_slow = False
            self._on_slow()
        return entry

    def _admit(self) -> None:
        """Let in those that have waited for room."""
        while self._holds and len(self.entries) < self.limit:
            hold, entry = self._holds.take()
            self.entries.append(entry)
            hold.decide()
        self._holds.look(len(self), self.limit)

    def _drop_head(self, reason: DropReason) -> None:
        self._drop(self._leave(self.entries.popleft()), reason)

    def _drop(self, entry: Entry, reason: DropReason) -> DropReason:
        message, _, done, _ = entry
        self.losses.count(message.TYPE_ID, reason)
        if done is not None:
            done(1)
        return reason

    def _make_room(self, entry: Entry) -> None:
        """Drop the head. Where others wait for room the new one comes after them, so that order is kept."""
        self._drop_head(DropReason.DROPPED_OLDEST)
        if self._holds:
            self._hold(entry, math.inf)
            self._admit()
        else:
            self._append(entry)

    def _hold(self, entry: Entry, deadline: float) -> Hold:
        message, _, _, slot = entry
        if slot is not None:
            self._slots[slot] = entry
        return self._holds.add(frozenset((message.TYPE_ID,)), deadline, entry, self._given_up)

    def _given_up(self, _: Hold, reason: DropReason, entry: Entry) -> None:
        self._drop(self._leave(entry), reason)


def lane_of(message: Message) -> Hashable:
    """What handlers that run side by side must not be busy with at the same time; an object of its own for no key."""
    key = key_of(message)
    return (message.TYPE_ID, key) if key else id(message)
