"""The small parts of delivery, each by itself: who waits, what is told, whose turn it is, who answers whom."""

from collections import Counter, OrderedDict

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
from mycelium.bus.losses import Losses
from mycelium.bus.receipts import Decision, Receipts, decision_of
from mycelium.bus.retained import Retained
from mycelium.wire.errors import ErrorCode

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
