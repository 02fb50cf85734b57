"""The small parts of delivery, each by itself: who waits, what is told, whose turn it is, who has to go."""

from collections import Counter, OrderedDict
from heapq import merge
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.bus.asks import Asked, Asks
from mycelium.bus.exchange import Exchange
from mycelium.bus.flow import FlowControl
from mycelium.bus.gaps import Gaps
from mycelium.bus.groups import Groups, Turns
from mycelium.bus.holds import Holds
from mycelium.bus.lag import DropReason
from mycelium.bus.ledger import Ledger, available_memory
from mycelium.bus.limits import Limits
from mycelium.bus.losses import Losses
from mycelium.bus.outbox import Outbox
from mycelium.bus.outgoing import Outgoing
from mycelium.bus.receipts import Decision, Receipts, decision_of
from mycelium.bus.relief import relieve
from mycelium.bus.retained import LastValue, Retained
from mycelium.bus.stall import Stall
from mycelium.wire.errors import ErrorCode
from peers import batch_of

TIMEOUT = DropReason.BLOCK_TIMEOUT


# --- holds ---


def held(holds, *deadlines):
    """A hold for each deadline, and the items that were given up."""
    dropped = []
    return [
        holds.add({1000}, deadline, str(deadline), lambda _, reason, item: dropped.append((item, reason)))
        for deadline in deadlines
    ], dropped


def test_holds_are_served_first_come_first_and_expire_by_their_deadline():
    holds = Holds()
    (first, second, third), dropped = held(holds, 5, 1, 3)
    holds.expire(0.5)
    assert len(holds) == 3
    holds.expire(3)
    assert dropped == [("1", TIMEOUT), ("3", TIMEOUT)]
    assert (second.outcome, third.outcome, first.is_decided) == (TIMEOUT, TIMEOUT, False)
    assert holds.take() == (first, "5")


def test_a_hold_that_is_decided_stays_so_and_each_listener_hears_it_once():
    holds = Holds()
    (hold,), dropped = held(holds, 1)
    heard = []
    hold.when_decided(lambda: heard.append("early"))
    taken, _ = holds.take()
    taken.decide()
    hold.give_up()
    hold.when_decided(lambda: heard.append("late"))
    assert (heard, dropped, hold.outcome) == (["early", "late"], [], None)
    assert repr(hold) == "<Hold of types [1000], decided>"


def test_whoever_asks_for_a_low_queue_is_called_once_at_half_and_not_after_forgetting():
    holds = Holds()
    called = []
    listeners = [lambda: called.append("kept"), lambda: called.append("forgotten")]
    for each in listeners:
        holds.when_low(each)
    holds.forget(listeners[1])
    holds.look(3, 5)
    assert called == []
    holds.look(2, 5)
    holds.look(0, 5)
    assert called == ["kept"]


def test_a_listener_that_raises_keeps_nobody_from_being_told(caplog):
    def fail():
        raise ValueError("a publisher's fault")

    holds, told = Holds(), []
    (hold,), _ = held(holds, 1)
    for listener in (fail, lambda: told.append("told")):
        hold.when_decided(listener)
        holds.when_low(listener)
    hold.give_up()
    holds.look(0, 4)
    assert told == ["told", "told"]
    assert caplog.text.count("ValueError: a publisher's fault") == 2


# --- losses and gaps ---


async def test_gaps_are_told_of_what_only_the_subscriber_can_not_know_and_their_timer_ends():
    losses, told = Losses(), []
    gaps = Gaps(losses, lambda lost: [(one[0], one[1], one[2]) for one in lost], told.append)
    for reason in DropReason:
        losses.count(1000, reason, 2)
    gaps.schedule()
    timer = gaps._timer
    gaps.schedule()
    assert gaps._timer is timer
    gaps.tell()
    reported = [DropReason.DROPPED_OLDEST, DropReason.DROPPED_NEWEST, DropReason.MEMORY]
    assert told == [(1000, reason, 2) for reason in reported]
    assert timer.cancelled()
    gaps.tell()
    gaps.schedule()
    assert (len(told), gaps._timer) == (3, None)


async def test_losses_behind_a_gap_that_was_not_taken_yet_are_told_as_one():
    losses, inline = Losses(), []
    gaps = Gaps(losses, lambda lost: [count for *_, count in lost], inline.append)
    gaps.inline = inline
    for _ in range(3):
        losses.count(1000, DropReason.DROPPED_OLDEST)
        gaps.tell()
    assert inline == [1]
    inline.clear()
    gaps.tell()
    assert inline == [2]


# --- groups ---


class Worker:
    def __init__(self, group="g", types=(1000,)):
        self.group, self.types, self.load = group, types, 0

    def wants(self, type_id):
        return type_id in self.types


def test_equals_take_turns_and_who_has_least_to_do_comes_first():
    members = tuple(Worker() for _ in range(3))
    turns = Turns(members)
    assert [members.index(turns.pick()) for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    members[0].load = 2
    members[1].load = 1
    assert turns.pick() is members[2]
    members[2].load = 9
    assert turns.pick() is members[1]


def test_those_that_are_skipped_lose_no_turn_of_others_and_nobody_is_picked_of_none():
    members = tuple(Worker() for _ in range(3))
    turns = Turns(members)
    assert [members.index(turns.pick(lambda one: one is members[1])) for _ in range(4)] == [0, 2, 0, 2]
    assert turns.pick(lambda _: True) is None
    assert not turns.any(lambda _: True)
    assert turns.any(lambda one: one is members[0])


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_one_member_gets_each_message_and_none_is_ever_two_ahead_of_another(finished, count):
    members = tuple(Worker() for _ in range(count))
    turns, given_ = Turns(members), Counter()
    for _ in range(100):
        chosen = turns.pick()
        chosen.load += 1
        given_[chosen] += 1
        assert max(one.load for one in members) - min(one.load for one in members) <= 1
    assert given_.total() == 100


def test_groups_know_who_wants_a_type_and_forget_who_has_left():
    groups = Groups()
    one, two, other = Worker("a", (1000, 1001)), Worker("a", (1001,)), Worker("b", (1001,))
    for each in (one, two, other):
        groups.add(each)
    assert [repr(turns) for turns in groups.of(1001)] == ["<Turns of 2>", "<Turns of 1>"]
    assert len(groups.of(1000)) == 1
    groups.remove(one)
    assert groups.of(1000) == ()
    groups.remove(two)
    groups.remove(other)
    groups.remove(other)
    assert not groups


# --- receipts ---


def test_frames_are_counted_while_somebody_wants_receipts():
    receipts = Receipts()
    assert receipts.number(5) == 0
    receipts.enabled = True
    assert (receipts.number(3), receipts.number(1)) == (1, 4)
    receipts.enabled = False
    assert receipts.number(2) == 0
    receipts.enabled = True
    assert receipts.number(1) == 5


outcomes = st.sampled_from([(2, 0, None), (2, 1, None), (2, 1, ErrorCode.QUEUE_FULL), (0, 0, None)])


@given(st.lists(st.tuples(outcomes, st.integers(1, 4)), max_size=30), st.randoms(), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_every_number_is_answered_once_and_as_it_was_decided_whatever_the_order(runs, random, pause):
    receipts = Receipts()
    receipts.enabled = True
    wanted, decisions = {}, []
    for (matched, dropped, code), count in runs:
        first = receipts.number(count)
        decisions.append(Decision(first, first + count - 1, matched, dropped, code))
        wanted |= dict.fromkeys(range(first, first + count), (matched, dropped, code))
    random.shuffle(decisions)
    said = []
    for index, one in enumerate(decisions):
        receipts.decide(one)
        if index % pause == 0:
            said += receipts.take()
    said += receipts.take()
    got = [(n, (one.matched, one.dropped, one.code)) for one in said for n in range(one.first, one.last + 1)]
    assert len(got) == len(wanted)
    assert dict(got) == wanted


def test_neighbours_with_the_same_outcome_share_a_receipt_and_others_do_not():
    receipts = Receipts()
    for one in (Decision(1, 3, 2), Decision(4, 4, 2), Decision(5, 5, 2, 1), Decision(7, 7, 2, 1)):
        receipts.decide(one)
    assert receipts.take() == [Decision(1, 4, 2), Decision(5, 5, 2, 1), Decision(7, 7, 2, 1)]
    assert receipts.take() == []


def test_a_decision_names_what_the_publisher_has_to_know_and_counts_all():
    oldest, rejected = DropReason.DROPPED_NEWEST, DropReason.REJECTED
    assert decision_of(4, 4, 3, (oldest,)) == Decision(4, 4, 3, 1)
    decided = decision_of(4, 4, 3, (oldest, rejected))
    assert (decided.enqueued, decided.dropped, decided.code) == (1, 2, ErrorCode.QUEUE_FULL)
    (hold,), _ = held(Holds(), 1)
    hold.give_up()
    assert decision_of(1, 1, 1, (hold,)).code is ErrorCode.BACKPRESSURE_TIMEOUT


# --- asks ---


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=1)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_request_is_answered_once_and_the_oldest_is_forgotten_over_the_bound(steps):
    asks, model, answered = Asks(5), OrderedDict(), set()
    for opening, correlation in steps:
        if opening:
            asks.open(correlation, 1000)
            answered.discard(correlation)
            model[correlation] = True
            model.move_to_end(correlation)
            if len(model) > 5:
                model.popitem(last=False)
        else:
            expected = Asked.ANSWERED if correlation in answered else Asked.NEVER
            if model.pop(correlation, False):
                expected = Asked.OPEN
                answered.add(correlation)
            assert asks.close(correlation) is expected
        assert len(asks) == len(model)


# --- a peer that does not read ---

STALL = Limits(
    outbound_bytes=1000, outbound_soft_bytes=100, outbound_soft_seconds=60, stall_seconds=10, unsent_seconds=30
)


def test_p46_one_byte_over_the_outbound_limit_is_too_much():
    assert Stall(STALL, 0, 0, 50).check(0, 0, 50, 1000) is None
    assert Stall(STALL, 0, 0, 50).check(0, 0, 50, 1001) == "1001 bytes wait for it, over 1000"


def test_p47_ten_seconds_without_a_byte_taken_are_too_long():
    stall = Stall(STALL, 0, 10, 50)
    assert stall.check(9.999, 10, 50, 40) is None
    assert stall.check(10, 10, 50, 40) == "it has read nothing for 10 s"
    stall = Stall(STALL, 0, 10, 50)
    assert stall.check(9.5, 11, 50, 39) is None
    assert stall.check(19.25, 11, 50, 39) is None
    assert stall.check(19.5, 11, 50, 39) == "it has read nothing for 10 s"


def test_a_byte_that_is_not_out_for_too_long_ends_it_however_the_peer_drips():
    stall = Stall(STALL, 0, 0, 50)
    assert all(stall.check(now, now, 50, 50 - now) is None for now in range(30))
    assert stall.check(30, 30, 50, 20) == "the oldest unsent byte is 30 s old"
    stall = Stall(STALL, 0, 0, 20)
    assert all(stall.check(now, now, 20 + now, 20) is None for now in range(200))


def test_much_that_waits_without_a_break_ends_it():
    def told(waiting_at):
        stall = Stall(STALL, 0, 0, 50)
        return [stall.check(now, now * 50, now * 50 + 50, waiting_at(now)) for now in range(62)]

    assert told(lambda _: 100) == [None] * 62
    assert told(lambda now: 100 if now == 30 else 101) == [None] * 62
    assert told(lambda _: 101)[59:61] == [None, "over 100 bytes have waited for it for 60 s"]


def test_a_socket_that_moves_now_and_then_ends_no_wait_of_much():
    """The socket of a slow reader takes something every few seconds; that is no break in over 100 bytes waiting."""
    stall = Stall(STALL, 0, 0, 50)
    for now in range(60):
        assert stall.check(now, 0, 50, 101) is None
        if now % 9 == 8:
            stall.moves()
    assert stall.check(60, 0, 50, 101) == "over 100 bytes have waited for it for 60 s"


class Sendable:
    """Subscriptions with bytes that only the socket keeps from being sent."""

    sendable_bytes = 101
    ready = True

    def take(self, _):
        return None


def test_a_slow_reader_is_watched_until_nothing_waits_for_it():
    def outgoing():
        made = Outgoing(STALL, Sendable(), lambda _: b"")
        made.say(bytes(50))
        made.take()
        return made

    def slow_until(outgoing, then):
        for now in range(60):
            assert outgoing.watch(now, 10) is None
            if now % 5 == 0:
                outgoing.moves()
            if now == 30:
                then(outgoing)
        return outgoing.watch(60, 10)

    def drain(outgoing):
        outgoing._subscriptions.ready = False
        outgoing.take()
        outgoing._subscriptions.ready = True

    assert slow_until(outgoing(), lambda _: None) == "over 100 bytes have waited for it for 60 s"
    assert slow_until(outgoing(), Outgoing.take) == "over 100 bytes have waited for it for 60 s"
    assert slow_until(outgoing(), drain) is None


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


# --- flow ---


class Publisher:
    """A session's flow control, and what it was told."""

    def __init__(self):
        self.told = []
        self.now = 0.0
        self.blocked_seconds = 0.0
        self.flow = FlowControl(self.say, self, lambda: self.now)

    def say(self, type_id, *, paused):
        self.told.append((type_id, paused))

    def wait(self, *holds, size=10):
        decided = []
        self.flow.wait(holds, size, lambda: decided.append(self.now))
        return decided


def test_p45_a_type_is_paused_once_and_goes_on_when_every_full_queue_is_half_empty():
    one, two, publisher = Holds(), Holds(), Publisher()
    holds = [*held(one, 5, 5)[0], *held(two, 5)[0]]
    for hold in holds:
        publisher.wait(hold)
    assert publisher.told == [(1000, True)]
    publisher.now = 2.0
    one.look(2, 4)
    assert publisher.told == [(1000, True)]
    two.look(2, 4)
    assert publisher.told == [(1000, True), (1000, False)]
    assert publisher.blocked_seconds == 2.0
    publisher.wait(*held(one, 5)[0])
    assert publisher.told[2:] == [(1000, True)]


def test_p45_a_frame_that_waits_for_many_queues_counts_once_until_all_have_decided():
    one, two, publisher = Holds(), Holds(), Publisher()
    ((first,), _), ((second,), _) = held(one, 5), held(two, 5)
    decided = publisher.wait(first, second, size=100)
    assert publisher.flow.held_bytes == 100
    one.take()[0].decide()
    assert (publisher.flow.held_bytes, decided, publisher.flow.holding) == (100, [], True)
    second.give_up()
    assert (publisher.flow.held_bytes, decided, publisher.flow.holding) == (0, [0.0], False)


def test_p45_what_waited_too_long_is_given_up_and_what_came_later_is_not():
    queue, publisher = Holds(), Publisher()
    holds, dropped = held(queue, 1, 2, 3)
    for hold in holds:
        publisher.wait(hold)
    publisher.flow.expire(2)
    assert [item for item, _ in dropped] == ["1", "2"]
    assert publisher.flow.held_bytes == 10


def test_a_publisher_that_is_gone_is_not_remembered_by_the_queues_it_waited_for():
    queue, publisher = Holds(), Publisher()
    (hold, later), dropped = held(queue, 1, 1)
    publisher.wait(hold)
    publisher.flow.end()
    publisher.wait(later)
    assert not queue.listeners
    queue.look(0, 4)
    assert publisher.told == [(1000, True)]
    publisher.flow.expire(1)
    assert len(dropped) == 2


# --- all of it together ---


@pytest.mark.parametrize("part", [Holds(), Losses(), Groups(), Receipts(), Asks(), Ledger(9), Retained(Ledger(9))])
def test_parts_say_in_one_line_what_they_hold(part):
    assert repr(part).startswith(f"<{type(part).__name__}")


def test_the_ceiling_is_half_of_what_there_is_unless_told(contracts):
    assert Exchange(contracts).ledger.limit == available_memory() // 2
    assert Exchange(contracts, max_memory=5).ledger.limit == 5
