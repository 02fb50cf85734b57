"""Small state machines of the bus, in virtual time: heartbeat, a wheel, budgets, credit, interest, limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.bus.budget import ErrorBudget, LogLimit
from mycelium.bus.credit import Credit
from mycelium.bus.errors import UsageError
from mycelium.bus.heartbeat import Due, Heartbeat, clamp_interval
from mycelium.bus.interest import Interest, Wish
from mycelium.bus.interest import WireOptions as Options
from mycelium.bus.limits import Limits
from mycelium.bus.wheel import Wheel

# --- heartbeat ---


def looked_at(heartbeat, start, stop, step=1.0):
    """What is due at each look, as (time, due), without the looks at which nothing is."""
    due = []
    now = start
    while now <= stop:
        found = heartbeat.check(now)
        if found is not Due.NOTHING:
            due.append((now, found))
        if found is Due.DEAD:
            break
        now += step
    return due


def test_a_silent_peer_is_asked_after_each_interval_and_dead_after_three():
    assert looked_at(Heartbeat(10, 0), 1, 30) == [(10, Due.PING), (20, Due.PING), (30, Due.DEAD)]


def test_traffic_in_both_directions_needs_no_ping():
    heartbeat = Heartbeat(10, 0)
    for now in range(1, 60):
        heartbeat.heard_at = now
        heartbeat.said_at = now
        assert heartbeat.check(now) is Due.NOTHING


def test_one_direction_alone_is_not_enough():
    talking = Heartbeat(10, 0)
    asked = []
    for now in range(1, 26):
        talking.said_at = now
        if talking.check(now) is Due.PING:
            asked.append(now)
    assert asked == [10, 20]


def test_p34_a_peer_that_sends_but_never_pongs_stays():
    heartbeat = Heartbeat(1, 0)
    for now in range(1, 100):
        heartbeat.heard_at = now
        assert heartbeat.check(now) is not Due.DEAD


def test_a_side_that_was_held_up_itself_grants_one_more_interval():
    heartbeat = Heartbeat(10, 0)
    assert heartbeat.check(1) is Due.NOTHING
    assert heartbeat.check(40) is Due.PING  # 39 s late: bytes of the peer may lie unread
    assert looked_at(heartbeat, 41, 60)[-1] == (50, Due.DEAD)


@pytest.mark.parametrize(
    ("asked", "agreed"), [(None, 10_000), (1, 1_000), (1_000, 1_000), (5_000, 5_000), (10**9, 300_000)]
)
def test_the_bridge_clamps_the_interval(asked, agreed):
    assert clamp_interval(asked) == agreed


# --- a wheel ---


def test_nobody_is_looked_at_before_his_time_or_much_later():
    wheel, now, seen = Wheel(0.25, 100.0), 100.0, []
    wheel.put("soon", 100.1)
    wheel.put("later", 103.0)
    wheel.put("before", 99.0)
    while now < 104:
        seen += [(one, now) for one in wheel.due(now)]
        now += 0.125
    assert sorted(seen) == [("before", 100.25), ("later", 103.0), ("soon", 100.25)]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3)), min_size=1))
def test_everybody_is_looked_at_once_whenever_anybody_looks(steps):
    wheel, now, waiting = Wheel(0.25, 0.0), 0.0, {}
    for number, (wait, step) in enumerate(steps):
        waiting[number] = now + wait
        wheel.put(number, now + wait)
        now += step
        for one in wheel.due(now):
            assert waiting.pop(one) <= now
        assert all(when > now - 0.25 for when in waiting.values())
    assert set(wheel.due(1000.0)) == waiting.keys()
    assert wheel.due(2000.0) == []


# --- budgets ---


def test_p06_a_hundred_errors_in_ten_seconds_are_borne_and_one_more_is_not():
    budget = ErrorBudget()
    assert all(budget.spend(0.09 * number) for number in range(100))
    assert not budget.spend(9.99)
    assert repr(budget) == "<ErrorBudget, 101 of 100 in 10 s spent>"


def test_errors_are_forgotten_after_ten_seconds():
    budget = ErrorBudget()
    assert all(budget.spend(0.11 * number) for number in range(1000))


def test_one_line_of_a_reason_and_second_is_let_through_and_the_others_are_counted():
    lines = LogLimit()
    assert [lines.admit("limit", now) for now in (0, 0.5, 0.9)] == [0, None, None]
    assert lines.admit("protocol", 0.9) == 0
    assert repr(lines) == "<LogLimit, 2 lines held back>"
    assert [lines.admit("limit", now) for now in (1.0, 1.5, 2.5)] == [2, None, 1]


# --- credit ---


def test_credit_is_given_back_a_quarter_of_the_window_at_a_time():
    given_back = []
    credit = Credit(8, given_back.append)
    for _ in range(7):
        credit.some(1)
    assert given_back == [2, 2, 2]
    credit.settle()
    credit.settle()
    assert given_back == [2, 2, 2, 1]
    assert repr(credit) == "<Credit of 8, 0 to give back>"


@pytest.mark.parametrize("window", [1, 2, 3])
def test_small_windows_give_each_message_back_at_once(window):
    given_back = []
    credit = Credit(window, given_back.append)
    credit.some(1)
    assert given_back == [1]


# --- interest ---


def test_new_types_get_a_subscription_of_their_own_and_known_ones_none():
    interest = Interest()
    assert interest.add([1001, 1000, 1001]) == Wish(1, (1000, 1001), Options(1024, None))
    assert interest.add([1000]) is None
    assert interest.add([1001, 1002]) == Wish(2, (1002,), Options(1024, None))
    assert [interest.number_of(type_id) for type_id in (1000, 1001, 1002, 1003)] == [1, 1, 2, None]


def test_types_that_nobody_wants_are_taken_off_and_an_empty_subscription_ends():
    interest = Interest()
    interest.add([1000, 1001], {"window": 8})
    interest.add([1002])
    assert interest.remove([1000, 1009]) == [Wish(1, (1001,), Options(8, None))]
    assert interest.remove([1001, 1002]) == [Wish(1, (), Options(8, None)), Wish(2, (), Options(1024, None))]
    assert interest.remove([1001]) == []


def test_frames_count_against_the_subscription_that_carried_them_until_the_bridge_has_answered():
    interest = Interest()
    first = interest.add([1000, 1001])
    interest.settle(first)
    (shrunk,) = interest.remove([1001])
    assert (interest.number_of(1001), interest.carrier_of(1001)) == (None, 1)
    second = interest.add([1001])
    assert (interest.number_of(1001), interest.carrier_of(1001)) == (2, 1)
    interest.settle(shrunk)
    assert interest.carrier_of(1001) == 2
    interest.settle(second)
    assert [interest.carrier_of(type_id) for type_id in (1000, 1001)] == [1, 2]


def test_other_options_for_a_type_that_is_subscribed_are_refused_in_one_line():
    interest = Interest()
    interest.add([1000], {"window": 8, "queue": 100})
    assert interest.add([1000], {"window": 8}) is None
    with pytest.raises(
        UsageError,
        match="type id 1000 is subscribed already, with window=8; .*, so use the same here",
    ):
        interest.add([1000, 1001], {"window": 9})
    with pytest.raises(UsageError, match="with queue=100"):
        interest.add([1000, 1001], {"queue": 9})
    assert interest.number_of(1001) is None


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(1000, 1005), min_size=1)), max_size=25))
@settings(max_examples=80, deadline=None)
def test_after_any_history_each_wanted_type_has_one_carrier_once_all_is_answered(history):
    interest, wanted, asked = Interest(), set(), []
    for adds, type_ids in history:
        if adds:
            wish = interest.add(type_ids)
            asked += [wish] if wish else []
            wanted |= type_ids
        else:
            asked += interest.remove(type_ids)
            wanted -= type_ids
    for wish in asked:
        interest.settle(wish)
    for type_id in range(1000, 1006):
        number = interest.number_of(type_id)
        assert (number is not None) == (type_id in wanted)
        assert interest.carrier_of(type_id) == number


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"connections": 0}, "a limit of 0 for connections makes no sense; give a number over 0"),
        ({"handshake_seconds": -1.0}, "a limit of -1.0 for handshake_seconds makes no sense; give a number over 0"),
        ({"max_payload": 100}, "a limit of 100 for max_payload makes no sense; give a number from 4096 to 67108864"),
        ({"max_payload": 1 << 27}, "a limit of 134217728 for max_payload makes no sense"),
    ],
)
def test_limits_that_nobody_could_keep_are_refused(limits, text):
    with pytest.raises(UsageError, match=text):
        Limits(**limits)
