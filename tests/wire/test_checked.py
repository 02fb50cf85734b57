"""Functions with the check of a message written in do what they do with a call of it."""

import pytest

import mycelium
from mycelium import EncodeError, RuleError

TEXT = """
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
messages:
  Empty: {tlv_type: 1000, fields: {}}
  Numbers: {tlv_type: 1001, fields: {a: {type: u64}, b: {type: i32}, c: {type: f64}}}
  Mixed:
    tlv_type: 1002
    fields:
      name: {type: String}
      side: {type: Side}
      note: {type: String, optional: true}
      rank: {type: u8, optional: true}
      wide: {type: u128}
  Ruled: {tlv_type: 1003, fields: {a: {type: u8, validation: [{max: 10}]}}}
  Outer: {tlv_type: 1004, fields: {inner: {type: Ruled}, others: {type: "Vec<Numbers>"}}}
"""
SOURCE = """def made(done, suffix):
    def run(message):
        if message is None:
            return None
        check(message)
        done.append(message)
        return word + suffix
    return run
"""


class Whole(int):
    """An int that is none by its class."""


@pytest.fixture(scope="module")
def types():
    return mycelium.load(TEXT)


def runner(cls, done):
    return cls.__mycelium__.codec.checked(SOURCE, {"word": "al"})(done, "right")


MESSAGES = {
    "nothing": lambda types: types.Empty(),
    "numbers": lambda types: types.Numbers(1, -2, 0.5),
    "too large": lambda types: types.Numbers(2**64, 0, 0.0),
    "too small": lambda types: types.Numbers(0, -(2**31) - 1, 0.0),
    "no number": lambda types: types.Numbers("1", 0, 0.0),
    "a bool": lambda types: types.Numbers(a=True, b=0, c=0.0),
    "an int for a float": lambda types: types.Numbers(1, 0, 3),
    "an int of another class": lambda types: types.Numbers(Whole(1), 0, 0.0),
    "mixed": lambda types: types.Mixed(name="n", side=types.Side.buy, wide=2**100),
    "all of it": lambda types: types.Mixed(name="n", side=types.Side.sell, note="x", rank=255, wide=0),
    "a rank too large": lambda types: types.Mixed(name="n", side=types.Side.buy, rank=256, wide=0),
    "too wide": lambda types: types.Mixed(name="n", side=types.Side.buy, wide=2**128),
    "a lone surrogate": lambda types: types.Mixed(name="\ud800", side=types.Side.buy, wide=0),
    "no member": lambda types: types.Mixed(name="n", side=3, wide=0),
    "a rule kept": lambda types: types.Ruled(10),
    "a rule broken": lambda types: types.Ruled(11),
    "nested": lambda types: types.Outer(types.Ruled(1), [types.Numbers(1, 2, 3.0)]),
    "nested and broken": lambda types: types.Outer(types.Ruled(11), []),
    "nested and too large": lambda types: types.Outer(types.Ruled(1), [types.Numbers(2**64, 2, 3.0)]),
}


def outcome(function, message):
    """What it says is wrong; None where that is nothing."""
    try:
        function(message)
    except (EncodeError, RuleError) as error:
        return type(error), str(error), error.__suppress_context__
    return None


@pytest.mark.parametrize("what", MESSAGES)
def test_a_check_that_is_written_in_says_what_a_call_of_it_says(types, what):
    message, done = MESSAGES[what](types), []
    run = runner(type(message), done)
    expected = outcome(type(message).__mycelium__.codec.check, message)
    assert outcome(run, message) == expected
    assert done == ([message] if expected is None else [])
    if expected is None:
        assert run(message) == "alright"


def test_both_outcomes_are_among_these(types):
    outcomes = {what: outcome(make(types).__mycelium__.codec.check, make(types)) for what, make in MESSAGES.items()}
    assert sum(one is None for one in outcomes.values()) in range(6, len(MESSAGES) - 6)


def test_what_stands_before_the_check_comes_first(types):
    assert runner(types.Numbers, [])(None) is None


def test_a_source_is_compiled_once(types):
    codec = types.Numbers.__mycelium__.codec
    assert codec.checked(SOURCE, {"word": "al"}) is codec.checked(SOURCE, {"word": "al"})
    assert codec.checked(SOURCE, {"word": "al"}).__qualname__ == "Numbers.made"
