"""A model of a queue under all six lag policies: a plain list, the law, and the order kept."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

import mycelium
from mycelium.bus.holds import Hold
from mycelium.bus.keys import key_of
from mycelium.bus.lag import DropReason, Lag
from mycelium.wire.buffer import Batch
from peers import batch_of

CONTRACTS = mycelium.load("""
messages:
  Tick: {tlv_type: 1000, key: id, fields: {id: {type: u8}, number: {type: u32}, pad: {type: bytes}}}
  Tock: {tlv_type: 1001, fields: {id: {type: u8}, number: {type: u32}, pad: {type: bytes}}}
""")
TYPES = [CONTRACTS.Tick, CONTRACTS.Tock]
FOREVER = float("inf")


class Item:
    """A message of the model."""

    def __init__(self, message, lag, size):
        self.message, self.lag, self.size = message, lag, size
        self.type_id = message.TYPE_ID
        self.slot = (message.TYPE_ID, key_of(message)) if lag is Lag.LATEST else None
        self.hold = None
        self.deadline = None

    def __repr__(self):
        return f"{self.message.number}{self.lag.word[0]}"


def run_of(items):
    """A batch of their frames: an even one where they are."""
    frames = [(one.type_id, one.message.to_bytes()) for one in items]
    batch = batch_of(*frames)
    if len({(type_id, len(payload)) for type_id, payload in frames}) == 1:
        return Batch(batch.data, batch.type_ids, range(0, len(batch.data) + 1, len(batch.data) // len(batch)))
    return batch


class Model:
    """What a queue should do, in the plainest words: everything that waits is one list, held ones at its end."""

    def __init__(self, limit, limit_bytes):
        self.limit, self.limit_bytes = limit, limit_bytes
        self.queue, self.held = [], []
        self.matched = self.delivered = self.out = 0
        self.dropped = Counter()
        self.untold = Counter()
        self.slow = False
        self.told = []

    def lose(self, item, reason):
        self.dropped[reason.reason] += 1
        self.untold[item.type_id, reason] += 1

    def room(self, item):
        return not self.queue or (
            len(self.queue) < self.limit and sum(one.size for one in self.queue) + item.size <= self.limit_bytes
        )

    def over(self):
        return len(self.queue) > 1 and (
            len(self.queue) > self.limit or sum(one.size for one in self.queue) > self.limit_bytes
        )

    def overflow(self):
        if not self.slow:
            self.slow = True
            self.told.append("slow")

    def trim(self, *, quietly=False):
        while self.over():
            if not quietly:
                self.overflow()
            self.lose(self.queue.pop(0), DropReason.DROPPED_OLDEST)

    def settle(self):
        while self.held and self.room(self.held[0]):
            self.queue.append(self.held.pop(0))
        if self.slow and not self.queue:
            self.slow = False
            self.told.append("recovered")

    def put(self, item, deadline):
        """None for taken, a reason, or "held"."""
        self.matched += 1
        if item.slot is not None:
            for waiting in (self.queue, self.held):
                for index, older in enumerate(waiting):
                    if older.slot == item.slot:
                        self.lose(older, DropReason.CONFLATED)
                        waiting[index] = item
                        item.hold = older.hold
                        self.trim()
                        return None
        if not self.held and self.room(item):
            self.queue.append(item)
            return None
        self.overflow()
        return self.full(item, deadline)

    def full(self, item, deadline):
        if item.lag in (Lag.DROP_OLDEST, Lag.LATEST):
            if self.held:
                self.lose(self.queue.pop(0), DropReason.DROPPED_OLDEST)
                self.held.append(item)
                self.settle()
            else:
                self.queue.append(item)
                self.trim()
            return None
        if item.lag is Lag.BLOCK and deadline is not None:
            item.deadline = deadline
            self.held.append(item)
            return "held"
        reason = {
            Lag.DROP_NEWEST: DropReason.DROPPED_NEWEST,
            Lag.BLOCK: DropReason.REJECTED,
            Lag.REJECT: DropReason.REJECTED,
            Lag.DISCONNECT: DropReason.DISCONNECTED,
        }[item.lag]
        self.lose(item, reason)
        return reason

    def give_up(self, items, reason):
        for item in items:
            self.held.remove(item)
            self.lose(item, reason)
        if items and reason is DropReason.BLOCK_TIMEOUT:
            self.settle()

    @property
    def waiting(self):
        return [*self.queue, *self.held]


class Policies(RuleBasedStateMachine):
    """What both queues have in common."""

    holds = Bundle("holds")
    limit_bytes = 1 << 40

    def __init__(self):
        super().__init__()
        self.numbers = iter(range(1 << 30))
        self.given = []
        self.told = []
        self.model = Model(4, self.limit_bytes)
        self.decisions = Counter()

    def decided(self, hold):
        self.decisions[hold] += 1

    @rule(
        target=holds,
        type_=st.sampled_from(TYPES),
        key=st.integers(0, 2),
        pad=st.integers(0, 30),
        lag=st.sampled_from(Lag),
        deadline=st.none() | st.integers(1, 50),
    )
    def put(self, type_, key, pad, lag, deadline):
        item = Item(type_(key, next(self.numbers), bytes(pad)), lag, self.size_of(pad))
        wanted = self.model.put(item, deadline)
        got = self.offer(item, deadline)
        if wanted == "held":
            assert isinstance(got, Hold)
            assert not got.is_decided
            item.hold = got
            got.when_decided(lambda: self.decided(got))
        else:
            assert got == wanted
        return item

    @rule(item=consumes(holds))
    def give_up_one(self, item):
        if item.hold is not None and item.hold.deadline != FOREVER:
            self.model.give_up([one for one in self.model.held if one.hold is item.hold], DropReason.BLOCK_TIMEOUT)
            item.hold.give_up()
            assert item.hold.is_decided

    def removed(self, item):
        self.model.queue.remove(item)
        self.given.append(item)

    @invariant()
    def the_law_holds_and_every_counter_is_exact(self):
        model, losses = self.model, self.losses
        assert losses.by_reason == model.dropped
        assert model.matched == model.delivered + model.out + model.dropped.total() + len(model.waiting)
        assert self.told == model.told

    @invariant()
    def at_most_one_of_a_key_waits_under_latest(self):
        slots = [one.slot for one in self.model.waiting if one.slot is not None]
        assert len(slots) == len(set(slots))

    @invariant()
    def order_is_that_of_publication_but_for_conflation(self):
        plain = [one.message.number for one in [*self.given, *self.model.waiting] if one.slot is None]
        assert plain == sorted(plain)

    @invariant()
    def whoever_waited_is_told_once(self):
        assert all(count == 1 for count in self.decisions.values())
        assert not any(one.hold.is_decided for one in self.model.held if one.deadline is not None)

    @precondition(lambda self: self.model.untold)
    @rule()
    def tell(self):
        told = self.losses.take_untold()
        assert {(type_id, reason): count for type_id, reason, count in told} == self.model.untold
        assert self.losses.take_untold() == []
        self.model.untold.clear()
