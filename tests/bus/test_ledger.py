"""Memory by itself: what is counted once, who has to give up what, and how many last values are kept."""

from collections import Counter, OrderedDict
from heapq import merge
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.bus.lag import DropReason
from mycelium.bus.ledger import Ledger, available_memory
from mycelium.bus.outbox import Outbox
from mycelium.bus.relief import relieve
from mycelium.bus.retained import LastValue, Retained
from peers import batch_of

# --- memory ---


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=80))
@settings(max_examples=100, deadline=None)
def test_p50_the_ledger_counts_a_chunk_once_however_many_hold_it(steps):
    chunks = [bytes(10 + number) for number in range(5)]
    ledger, holders = Ledger(100), Counter()
    for holding, number in steps:
        if holding:
            ledger.hold(chunks[number])
            holders[number] += 1
        elif holders[number]:
            ledger.release(chunks[number])
            holders[number] -= 1
        assert ledger.used == sum(len(chunks[one]) for one, count in holders.items() if count)
        assert ledger.is_over == (ledger.used > 100)
    assert len(ledger._holders) == sum(1 for count in holders.values() if count)


def test_p49_publishers_wait_above_80_percent_and_go_on_at_70():
    ledger = Ledger(100)
    ledger.hold(bytes(60))
    ledger.unsent = 20
    assert not ledger.is_pressed(before=False)
    ledger.unsent = 21
    assert ledger.is_pressed(before=False)
    ledger.unsent = 11
    assert ledger.is_pressed(before=True)
    ledger.unsent = 10
    assert not ledger.is_pressed(before=True)
    ledger.unsent = 40
    assert not ledger.is_over
    ledger.unsent = 41
    assert ledger.is_over
    assert available_memory() > 1 << 20


def test_p50_a_frame_for_a_thousand_subscriptions_counts_once_and_is_free_with_the_last():
    ledger = Ledger(1 << 30)
    outboxes = [Outbox(ledger=ledger) for _ in range(1000)]
    frame = batch_of((1000, bytes(48 * 1024)))
    for one in outboxes:
        one.put(frame)
    assert ledger.used == len(frame.data)
    for one in outboxes[1:]:
        one.clear(DropReason.DISCONNECTED, handled=True)
    assert ledger.used == len(frame.data)
    assert len(outboxes[0].take(1)) == 1
    assert ledger.used == 0


class Holder:
    def __init__(self, ledger):
        self.outbox = Outbox(ledger=ledger)
        self.relieved = 0

    def relieve(self, most_bytes):
        self.relieved += 1
        self.outbox.relieve(most_bytes)


def test_p49_whoever_holds_most_loses_its_oldest_until_it_is_enough():
    ledger = Ledger(400_000)
    small, large = Holder(ledger), Holder(ledger)
    for number in range(50):
        for one, size in ((small, 1_000), (large, 10_000)):
            one.outbox.put(batch_of((1000, bytes([number]) + bytes(size))))
    relieve(ledger, [small, large])
    assert not ledger.is_over
    assert small.outbox.stats().dropped == {}
    assert large.outbox.stats().dropped == {"memory": 16}
    assert large.outbox.take(1).payload(0)[0] == 16


def test_p49_relief_costs_each_of_many_holders_of_the_same_frames_one_turn():
    ledger = Ledger(1_000)
    holders = [Holder(ledger) for _ in range(500)]
    frames = [batch_of((1000, bytes(40_000))) for _ in range(3)]
    for one in holders:
        for frame in frames:
            one.outbox.put(frame)
    relieve(ledger, holders)
    assert ledger.used == 0
    assert {one.relieved for one in holders} <= {2, 3}


def test_relief_ends_when_there_is_nothing_to_give_up():
    ledger = Ledger(10)
    ledger.unsent = 50
    relieve(ledger, [Holder(ledger)])
    relieve(ledger, [])
    assert ledger.is_over


# --- last values ---


def last_value(type_id, size):
    return LastValue(type_id, batch_of((type_id, bytes(size))))


@given(st.lists(st.tuples(st.sampled_from([1000, 1001]), st.integers(0, 5), st.integers(0, 60)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_the_last_values_are_within_bounds_and_the_least_recently_written_goes_first(steps):
    ledger = Ledger(1 << 30)
    retained, model = Retained(ledger, most_keys=4, most_bytes=120), OrderedDict()
    for type_id, key, size in steps:
        value = last_value(type_id, size)
        retained.keep((type_id, key), value)
        model.pop((type_id, key), None)
        model[type_id, key] = value
        while len(model) > 4 or (len(model) > 1 and sum(one.frame.size for one in model.values()) > 120):
            model.popitem(last=False)
        everything = merge(*(one.values() for one in retained.of(lambda _: True)), key=attrgetter("number"))
        assert [one.value for one in everything] == list(model.values())
        assert retained.bytes == ledger.used == sum(one.frame.size for one in model.values())
        of_one = [one.value for snapshot in retained.of((1001).__eq__) for one in snapshot.values()]
        assert of_one == [one for one in model.values() if one.type_id == 1001]
        assert len(retained) == len(model)


def test_whoever_subscribes_before_the_next_change_shares_one_snapshot():
    """A subscription costs the same, however many last values there are; they are neither copied nor counted anew."""
    ledger = Ledger(1 << 30)
    retained = Retained(ledger)
    for key in range(100):
        retained.keep((1000, key), last_value(1000, 8))
    holders = dict(ledger._holders)
    first, second = Outbox(ledger=ledger), Outbox(ledger=ledger)
    first.remember(retained.of(lambda _: True))
    second.remember(retained.of(lambda _: True))
    assert (first.remembered, second.remembered) == (100, 100)
    assert ledger._holders == holders
    (shared,) = retained.of(lambda _: True)
    assert shared.readers == 2
    retained.keep((1000, 0), last_value(1000, 8))
    assert shared.orphans == [next(shared.values())]
    (newer,) = retained.of(lambda _: True)
    assert (newer.log, newer.start) == (shared.log, 1)  # nothing is copied for a change either
    for outbox in (first, second):
        outbox.clear(DropReason.DISCONNECTED, handled=True)
    assert (shared.readers, ledger.used) == (0, retained.bytes)
