"""The delays between attempts to connect, by a clock and a die of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelium.bus.backoff import Backoff

CEILINGS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_p56_ceilings_double_from_100_ms_to_10_s():
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay(0.0) for _ in CEILINGS] == pytest.approx(CEILINGS)
    assert backoff.attempt == len(CEILINGS)
    assert repr(backoff) == "<Backoff, 10 attempts, up to 10 s>"


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30))
def test_p56_a_delay_is_any_part_of_its_ceiling(dice):
    rolled = iter(dice)
    backoff = Backoff(lambda: next(rolled))
    for number, die in enumerate(dice):
        ceiling = CEILINGS[min(number, len(CEILINGS) - 1)]
        assert backoff.delay(0.0) == pytest.approx(die * ceiling)


def test_p56_ten_thousand_attempts_stay_at_the_ceiling():
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay(0.0) for _ in range(10_000)][-1] == 10.0


def test_it_gives_up_when_its_time_is_over_and_not_before():
    backoff = Backoff(lambda: 1.0, give_up_after=1.0)
    assert backoff.delay(100.0) == pytest.approx(0.1)
    assert backoff.delay(100.95) == pytest.approx(0.05)  # one last attempt, in time
    assert backoff.delay(101.0) is None
    backoff.joined(101.0)
    assert backoff.attempt == 0
    assert backoff.delay(200.0) is not None


def test_a_connection_that_lasted_begins_anew_and_one_that_did_not_goes_on():
    backoff = Backoff(lambda: 1.0)
    for _ in range(4):
        backoff.delay(0.0)
    backoff.joined(10.0)
    backoff.lost(10.1)
    assert backoff.delay(10.1) == pytest.approx(1.6)
    backoff.joined(20.0)
    backoff.lost(30.0)
    assert backoff.delay(30.0) == pytest.approx(0.1)
