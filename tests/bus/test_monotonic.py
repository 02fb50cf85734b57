"""Fields that must not shrink: which they are, and what is refused."""

import pytest

import mycelium
from mycelium.bus.monotonic import MonotonicGuard, monotonic_fields

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
