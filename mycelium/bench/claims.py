"""What a benchmark says in the end: a figure of one contender against the same of another, and what it has to be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from mycelium.bench.figures import Figure, Results
from mycelium.bench.scenes import Figures

__all__ = ["UNITS", "Claim", "Verdict", "figure_of", "judge"]

UNITS: Final[Mapping[str, str]] = {
    "rate": "/s",
    "cpu": "CPU s/M",
    "server_cpu": "CPU s/M",
    "p50": "us",
    "p99": "us",
    "p99_9": "us",
    "connection_bytes": "B",
    "ns": "ns",
    "lost": "messages",
}
"""Of each number that a scene returns."""
_HIGHER: Final = {"rate"}
"""Numbers of which more is better; of the others less is."""
Word: TypeAlias = Literal["met", "LOST", "aim", "-"]


@frozen
class Claim:
    """A ratio that is wanted.

    Attributes:
        row: Where both were measured.
        number: Which number of the scene.
        peer: Against whom.
        must: The ratio that has to be reached, ours over theirs; None to report it only.
        aim: The ratio that would be fine; None for none.
        ours: Who is compared.
        note: What a reader has to know.
        is_absolute: Must and aim are of our own figure, not of the ratio.
    """

    row: str
    number: str
    peer: str
    must: float | None
    aim: float | None
    ours: str = "mycelium"
    note: str = ""
    is_absolute: bool = False

    @property
    def is_higher_better(self) -> bool:
        """Whether a greater ratio is a better one."""
        return self.number in _HIGHER

    def holds(self, ratio: float, wanted: float) -> bool:
        """Whether a ratio is as good as a wanted one."""
        return ratio >= wanted if self.is_higher_better else ratio <= wanted


@frozen
class Verdict:
    """What was measured for a claim."""

    claim: Claim
    ours: Figure
    theirs: Figure
    ratio: Figure
    lost: float
    """Messages that somebody lost, over all rounds of both."""

    @property
    def word(self) -> Word:
        """How it stands."""
        claim = self.claim
        reached = (self.ours if claim.is_absolute else self.ratio).median
        if claim.aim is not None and claim.holds(reached, claim.aim):
            return "aim"
        if claim.must is None:
            return "-"
        return "met" if claim.holds(reached, claim.must) else "LOST"

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        claim = self.claim
        return {
            "row": claim.row,
            "number": claim.number,
            "ours": {"name": claim.ours, **self.ours.to_plain()},
            "theirs": {"name": claim.peer, **self.theirs.to_plain()},
            "ratio": self.ratio.to_plain(),
            "must": claim.must,
            "aim": claim.aim,
            "higher_is_better": claim.is_higher_better,
            "verdict": self.word,
            "lost": self.lost,
            "absolute": claim.is_absolute,
            "note": claim.note,
        }


def figure_of(rounds: Sequence[Figures], number: str) -> Figure | None:
    """One number over all rounds; None if it was not measured in each."""
    values = [each[number] for each in rounds if number in each]
    return Figure(values, UNITS.get(number, "")) if values and len(values) == len(rounds) else None


def judge(claims: Iterable[Claim], results: Results) -> Iterator[Verdict]:
    """A verdict for each claim whose both sides were measured."""
    for claim in claims:
        row = results.get(claim.row, {})
        rounds = [row.get(claim.ours, ()), row.get(claim.peer, ())]
        ours, theirs = (figure_of(each, claim.number) for each in rounds)
        if ours is None or theirs is None:
            continue
        lost = sum(each.get("lost", 0) for side in rounds for each in side)
        yield Verdict(claim, ours, theirs, ours.over(theirs), lost)
