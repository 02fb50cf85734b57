"""What is measured, who takes part, and what is wanted of the ratios."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from attrs import evolve, field, frozen

from mycelium.bench.claims import Claim
from mycelium.bench.contender import Contender
from mycelium.bench.figures import Run
from mycelium.bench.ours import MYCELIUM
from mycelium.bench.scenes import Figures, Scene, delivered
from mycelium.bench.spec import Spec
from peers import nats, zmq

__all__ = ["CLAIMS", "ROWS", "Amounts", "Row", "runs_of"]


@frozen
class Amounts:
    """How much of everything."""

    messages: int
    uvloop: bool = False


Measure = Callable[[Scene], Figures]


@frozen
class Row:
    """A scene that several contenders play.

    Attributes:
        title: What it is.
        measure: The scene's function.
        scene: What is the same for all.
        contenders: Who takes part.
        share: Of the messages of the command line.
    """

    title: str
    measure: Measure
    scene: Callable[[Contender, Spec], Scene]
    contenders: tuple[Contender, ...]
    spec: Spec = field(factory=partial(Spec, ""))
    share: float = 1.0


def runs_of(row: Row, amounts: Amounts, only: Collection[str] | None, missing: dict[str, str]) -> Mapping[str, Run]:
    """A function for each contender that is here; `missing` learns of the others."""
    runs: dict[str, Run] = {}
    spec = evolve(row.spec, messages=max(int(amounts.messages * row.share), 1), uvloop=amounts.uvloop)
    for contender in row.contenders:
        if only and contender.name not in only:
            continue
        lack = contender.missing()
        if lack is None:
            runs[contender.name] = partial(row.measure, row.scene(contender, spec))
        else:
            missing[contender.name] = lack
    return runs


_TCP: Final = partial(Scene, scheme="tcp")
_UNIX: Final = partial(Scene, scheme="unix")

ROWS: Final[Mapping[str, Row]] = {
    "tcp-counter": Row("C, process to process over TCP", delivered, _TCP, (MYCELIUM, nats.CONTENDER, zmq.CONTENDER)),
    "unix-counter": Row(
        "C over Unix sockets; nats-server has TCP only", delivered, _UNIX, (MYCELIUM, nats.CONTENDER, zmq.CONTENDER)
    ),
}
CLAIMS: Final[tuple[Claim, ...]] = (
    Claim("tcp-counter", "rate", "nats", 2.5, 4),
    Claim("unix-counter", "rate", "nats", 2.5, 4),
    Claim("tcp-counter", "rate", "zmq", 1, 1.5),
    Claim("unix-counter", "rate", "zmq", 1, 1.5),
    Claim("tcp-counter", "cpu", "nats", 0.5, 0.25),
    Claim("unix-counter", "cpu", "nats", 0.5, 0.25),
)
