"""Rounds alternate, ratios are taken round by round, and a verdict says how it stands and what was lost."""

import pytest

from mycelium.bench.claims import Claim, judge
from mycelium.bench.errors import ProcessFailed
from mycelium.bench.figures import Figure, alternate
from mycelium.bench.table import VERDICT_HEAD, figure_lines, grid, number, verdict_cells


def test_each_round_begins_with_another_contender_and_runs_every_row():
    order = []
    runs = {name: lambda name=name: order.append(name) or {"rate": 1.0} for name in "abc"}
    results, failures = alternate({"row": runs, "other": {"d": lambda: {"rate": 2.0}}}, 3)
    assert order == list("abcbcacab")
    assert results["other"] == {"d": [{"rate": 2.0}] * 3}
    assert failures == []


def test_a_contender_that_fails_is_left_out_and_named_while_the_others_go_on():
    def fail():
        raise ProcessFailed("publisher of b", "it ended with code 1")

    results, failures = alternate({"row": {"a": lambda: {"rate": 1.0}, "b": fail}}, 2)
    assert results == {"row": {"a": [{"rate": 1.0}] * 2}}
    assert failures == [
        "row, b: the publisher of b failed: it ended with code 1; what it wrote to standard error says more"
    ]


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    ratio = Figure([10.0, 100.0, 30.0]).over(Figure([5.0, 100.0, 10.0]))
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.0, 3.0)
    assert ratio.to_plain() == {"median": 2.0, "min": 1.0, "max": 3.0, "unit": "x"}


@pytest.mark.parametrize(
    ("claim", "ours", "theirs", "word"),
    [
        (Claim("row", "rate", "peer", 2, 4), 100.0, 25.0, "aim"),
        (Claim("row", "rate", "peer", 2, 4), 100.0, 50.0, "met"),
        (Claim("row", "rate", "peer", 2, 4), 99.0, 50.0, "LOST"),
        (Claim("row", "p99", "peer", 1, 0.5), 40.0, 50.0, "met"),
        (Claim("row", "p99", "peer", 1, 0.5), 60.0, 50.0, "LOST"),
        (Claim("row", "rate", "peer", None, None), 1.0, 50.0, "-"),
        (Claim("row", "rate", "peer", None, 0.5), 30.0, 50.0, "aim"),
        (Claim("row", "connection_bytes", "peer", 16384, 8192, is_absolute=True), 9000.0, 100.0, "met"),
    ],
)
def test_a_verdict_is_what_the_ratio_says_or_the_figure_itself(claim, ours, theirs, word):
    results = {"row": {"mycelium": [{claim.number: ours}], "peer": [{claim.number: theirs}]}}
    (verdict,) = judge([claim], results)
    assert verdict.word == word
    assert verdict.to_plain()["verdict"] == word


def test_losses_of_either_side_are_said_with_the_verdict():
    results = {"row": {"mycelium": [{"rate": 9.0, "lost": 0}], "peer": [{"rate": 3.0, "lost": 1234}]}}
    (verdict,) = judge([Claim("row", "rate", "peer", 2, 4)], results)
    assert verdict_cells(verdict)[-1] == "met, 1,234 lost"
    assert any("lost" in line and "1,234" in line for line in figure_lines(results))
    assert len(list(grid(VERDICT_HEAD, [verdict_cells(verdict)]))) == 2


def test_a_claim_without_both_sides_has_no_verdict():
    assert list(judge([Claim("row", "rate", "peer", 2, 4)], {"row": {"mycelium": [{"rate": 9.0}]}})) == []


def test_numbers_have_the_digits_that_matter():
    assert [number(value) for value in (1234567.8, 99.94, 0.12345)] == ["1,234,568", "99.9", "0.123"]
