"""Small state machines of the bus, in virtual time: heartbeat, budgets, credit, interest, limits, urls, flushes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mycelium
from mycelium.bus.budget import ErrorBudget, LogLimit
from mycelium.bus.credit import Credit
from mycelium.bus.errors import UsageError
from mycelium.bus.flushes import Flushes
from mycelium.bus.heartbeat import Due, Heartbeat, clamp_interval
from mycelium.bus.interest import Interest, Wish
from mycelium.bus.interest import WireOptions as Options
from mycelium.bus.limits import Limits
from mycelium.bus.monotonic import MonotonicGuard, monotonic_fields
from mycelium.bus.urls import Address, default_url, parse_url
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
        heartbeat.heard(now)
        heartbeat.said(now)
        assert heartbeat.check(now) is Due.NOTHING


def test_one_direction_alone_is_not_enough():
    talking = Heartbeat(10, 0)
    asked = []
    for now in range(1, 26):
        talking.said(now)
        if talking.check(now) is Due.PING:
            asked.append(now)
    assert asked == [10, 20]


def test_p34_a_peer_that_sends_but_never_pongs_stays():
    heartbeat = Heartbeat(1, 0)
    for now in range(1, 100):
        heartbeat.heard(now)
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


# --- monotonic ---

GUARDED = """
messages:
  Tick:
    tlv_type: 1000
    fields:
      at: {type: u64, validation: [{monotonic: true}]}
      price: {type: f64, optional: true, validation: [{monotonic: true}]}
      note: {type: u8, default: 0, validation: [{monotonic: false}]}
  Secret:
    tlv_type: 1001
    sensitivity: internal
    fields: {at: {type: u64, validation: [{monotonic: true}]}}
  Free: {tlv_type: 1002, fields: {at: {type: u64}}}
"""


@pytest.fixture
def guarded():
    return mycelium.load(GUARDED)


@pytest.fixture
def guard(guarded):
    return MonotonicGuard(monotonic_fields(guarded.schema))


def test_only_fields_with_the_rule_switched_on_are_guarded(guard):
    assert guard.fields == {1000: ("at", "price"), 1001: ("at",)}


def test_a_value_may_stay_or_grow_but_not_shrink(guarded, guard):
    for at in (5, 5, 6):
        guard.check(guarded.Tick(at=at))
    with pytest.raises(mycelium.RuleError, match=r"Tick\.at: 4 breaks the rule monotonic: at least 6"):
        guard.check(guarded.Tick(at=4))
    guard.check(guarded.Tick(at=6))
    guard.check(guarded.Free(at=1))


def test_a_refused_message_leaves_no_trace(guarded, guard):
    guard.check(guarded.Tick(at=1, price=2.0))
    with pytest.raises(mycelium.RuleError, match="price"):
        guard.check(guarded.Tick(at=9, price=1.0))
    guard.check(guarded.Tick(at=2, price=2.0))


def test_none_is_skipped_and_nan_is_never_monotonic(guarded, guard):
    guard.check(guarded.Tick(at=1, price=2.0))
    guard.check(guarded.Tick(at=1, price=None))
    for _ in range(2):
        with pytest.raises(mycelium.RuleError, match="price"):
            guard.check(guarded.Tick(at=1, price=float("nan")))
    guard.check(guarded.Tick(at=1, price=2.5))


def test_values_of_a_sensitive_message_are_not_shown(guarded, guard):
    guard.check(guarded.Secret(at=777))
    with pytest.raises(mycelium.RuleError) as caught:
        guard.check(guarded.Secret(at=666))
    assert "777" not in str(caught.value)
    assert "666" not in str(caught.value)


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


# --- addresses ---


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("localhost:7777", Address("tcp", "localhost", 7777), "tcp://localhost:7777"),
        ("localhost", Address("tcp", "localhost", 7777), "tcp://localhost:7777"),
        ("tcp://127.0.0.1:0", Address("tcp", "127.0.0.1", 0), "tcp://127.0.0.1:0"),
        ("tcp://[::1]:9", Address("tcp", "::1", 9), "tcp://[::1]:9"),
        ("tcp://host/", Address("tcp", "host", 7777), "tcp://host:7777"),
        ("unix:///run/bus.sock", Address("unix", path="/run/bus.sock"), "unix:///run/bus.sock"),
    ],
)
def test_addresses_are_read_and_shown(url, address, shown):
    assert parse_url(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        ":7777",
        "tcp://",
        "tcp://host:99999",
        "tcp://host:port",
        "tcp://[::1",
        "tcp://user@host",
        "tcp://host/path",
        "tcp://host?x=1",
        "http://host",
        "tls://user:secret@host",
        "unix://relative",
        "unix://",
        "unix:///" + "x" * 107,
        "unix:///a\0b",
    ],
)
def test_other_addresses_are_refused_with_what_to_write(url):
    with pytest.raises(UsageError, match=r"write |use tcp|choose a shorter"):
        parse_url(url)


def test_the_default_url_is_the_environments(monkeypatch):
    monkeypatch.delenv("MYCELIUM_URL", raising=False)
    assert default_url() == "tcp://localhost:7777"
    monkeypatch.setenv("MYCELIUM_URL", "unix:///run/x.sock")
    assert default_url() == "unix:///run/x.sock"


# --- flushes ---


class Turns:
    """A loop of which somebody else says when a turn ends."""

    def __init__(self):
        self.soon = []
        self.now = 0.0

    def call_soon(self, function, *args):
        self.soon.append((function, args))

    def time(self):
        return self.now

    def end_turn(self):
        soon, self.soon = self.soon, []
        for function, args in soon:
            function(*args)


class Writer:
    """What has something to write."""

    def __init__(self, loop):
        self.loop = loop
        self.written = []

    def flush(self, now):
        self.written.append(now)


def writing():
    """Who gathers, and somebody who writes; both go by the clock of the writer's loop."""
    writer = Writer(Turns())
    return Flushes(writer.loop.time), writer


def chunk(flushes, writer, now):
    """A small chunk comes, and leads to something to write."""
    writer.loop.now = now
    flushes.begin()
    flushes.add(writer)
    flushes.hurry(now)


def test_what_a_small_chunk_that_comes_alone_leads_to_is_written_at_once_and_leaves_nothing_to_do():
    flushes, writer = writing()
    for now in (1.0, 1.001, 1.002):
        chunk(flushes, writer, now)
    assert writer.written == [1.0, 1.001, 1.002]
    assert writer.loop.soon == []


def test_what_comes_close_behind_others_is_written_once_at_the_end_of_the_turn():
    flushes, writer = writing()
    for number in range(10):
        chunk(flushes, writer, 1.0 + number * 1e-5)
    assert writer.written == [1.0]
    assert repr(flushes) == "<Flushes, 9 waiting>"
    writer.loop.end_turn()
    assert writer.written == [1.0, *[writer.loop.now] * 9]


def test_what_no_small_chunk_has_led_to_waits_for_the_end_of_the_turn():
    flushes, writer = writing()
    flushes.add(writer)
    chunk(flushes, writer, 1.0)
    assert writer.written == []
    writer.loop.end_turn()
    assert writer.written == [1.0, 1.0]
    chunk(flushes, writer, 2.0)
    assert writer.written[2:] == [2.0]


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
