"""The codec against what others would use: how many times as fast, and whether that is what it must be.

    python tools/bench_codec.py                      # the figures with their targets, then nanoseconds
    python tools/bench_codec.py --json > codec.json  # the same for machines
    python tools/bench_codec.py --fields             # time against the number of fields
    python tools/bench_codec.py --only mycelium msgspec --rounds 15

Every contender does the same work on the same values in the way its users write it. Rounds alternate between
contenders, so that whatever else the machine does hits all of them. A ratio is that of two times of the same round;
what is shown is the median of the rounds, with the smallest and the largest. A peer that cannot be imported is said to
be missing, and nothing else is.
"""

import argparse
import importlib
import json
import platform
import statistics
import timeit
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from codec_contenders import CASES, CONTENDERS, Case, Contender
from figures import Row, spread, table

FIELD_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)
FIELD_CONTENDERS: Final = ("mycelium", "protobuf", "protobuf, attributes", "msgspec")
FIELD_OPERATIONS: Final = ("construct+encode", "decode+read")

C: Final = "CounterUpdate"
T: Final = "TextMessage"
FOUR: Final = ((C, "construct+encode"), (C, "decode+read"), (T, "construct+encode"), (T, "decode+read"))


@dataclass(frozen=True)
class Target:
    """How many times as fast as a peer an operation must be, and is meant to be."""

    case: str
    operation: str
    against: str
    must: float
    aim: float


def _four(against: str, must: Sequence[float], aim: Sequence[float]) -> Iterator[Target]:
    for (case, operation), least, hoped in zip(FOUR, must, aim, strict=True):
        yield Target(case, operation, against, least, hoped)


def _times(*factors: float) -> list[float]:
    """Within so many times the peer's time."""
    return [1 / factor for factor in factors]


TARGETS: Final = (
    Target(C, "encode held", "protobuf", 1.2, 1.6),
    *(
        target
        for peer in ("protobuf", "protobuf, attributes")
        for target in _four(peer, [1.0, 1.0, *_times(1.6, 2.0)], [1.4, 1.4, *_times(1.0, 1.4)])
    ),
    *(
        target
        for peer in ("msgspec", "msgspec, tuned")
        for target in _four(peer, _times(5.5, 4.0, 7.0, 7.0), _times(3.5, 3.0, 4.0, 5.0))
    ),
    *(
        target
        for peer in ("construct", "construct, compiled")
        for target in _four(peer, [10, 10, 10, 10], [20, 20, 20, 20])
    ),
    *_four("fastavro", [2.0, 2.0, 1.4, 1.5], [3.0, 3.0, 2.0, 2.0]),
    *_four("struct loop", [1.6, 2.5, 1.2, 1.3], [2.5, 4.0, 1.6, 2.0]),
)


@dataclass
class Series:
    """One statement, and what a message took in each round."""

    case: str
    operation: str
    contender: str
    timer: timeit.Timer
    loops: int = 1
    rounds: list[float] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Messages that one execution is about."""
        return int(self.operation.rpartition(" of ")[2]) if " of " in self.operation else 1

    def calibrate(self, seconds: float) -> None:
        """Finds how many loops a round takes."""
        few = max(1, 200 // self.messages)
        self.timer.timeit(few)
        took = max(self.timer.timeit(few), 1e-9)
        self.loops = max(few, int(few * seconds / took))

    def measure(self) -> None:
        """Runs a round."""
        self.rounds.append(self.timer.timeit(self.loops) / self.loops / self.messages * 1e9)

    def as_json(self) -> dict[str, Any]:
        """Its figures."""
        names = {"case": self.case, "operation": self.operation, "contender": self.contender}
        return {**names, "unit": "ns", **spread(self.rounds, 1)}


def available(contenders: Iterable[Contender]) -> tuple[list[Contender], list[str]]:
    """Those that can take part, and the names of those that cannot."""
    present: list[Contender] = []
    missing: list[str] = []
    for one in contenders:
        try:
            importlib.import_module(one.module or "mycelium")
        except ImportError:
            missing.append(one.name)
        else:
            present.append(one)
    return present, missing


def run(series: Sequence[Series], rounds: int, seconds: float) -> None:
    """Measures everything in alternating rounds."""
    for each in series:
        each.calibrate(seconds)
    for _ in range(rounds):
        for each in series:
            each.measure()


def series_of(
    cases: Iterable[Case], contenders: Sequence[Contender], operations: Sequence[str] | None = None
) -> list[Series]:
    """What is to be measured, side by side what is compared."""
    series = [
        Series(case.name, operation, one.name, timeit.Timer(source, globals=dict(entry.names)))
        for case in cases
        for one in contenders
        for entry in [one.enter(case)]
        for operation, source in entry.statements.items()
        if operations is None or operation in operations
    ]
    return sorted(series, key=lambda one: (one.case, one.operation))


def rows_of(series: Sequence[Series]) -> Iterator[Row]:
    """The targets, as far as both sides took part."""
    rounds = {(one.case, one.operation, one.contender): one.rounds for one in series}
    for target in TARGETS:
        ours = rounds.get((target.case, target.operation, "mycelium"))
        theirs = rounds.get((target.case, target.operation, target.against))
        if ours is not None and theirs is not None:
            ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
            name = f"{target.case} {target.operation}"
            yield Row(name, target.against, "x", ratios, target.must, target.aim)


def nanoseconds(series: Sequence[Series]) -> Iterator[str]:
    """Lines for people: each figure, and how many times the time of `mycelium` it is."""
    results = [one.as_json() for one in series]
    ours = {(one["case"], one["operation"]): one["median"] for one in results if one["contender"] == "mycelium"}
    last = None
    for one in results:
        key = one["case"], one["operation"]
        if key != last:
            yield f"\n{one['case']}, {one['operation']}"
            last = key
        ratio = f"{one['median'] / ours[key]:6.2f}x" if key in ours else ""
        yield f"  {one['contender']:<22}{one['median']:9.0f} ns  {ratio:>8}  {one['min']:8.0f} to {one['max']:<8.0f}"


# --- number of fields ------------------------------------------------------------------------------------------------


def cases_by_fields() -> Iterator[Case]:
    """Messages of one to many fields."""
    for kind, value in (("u32", 1_000_000), ("String", "hello from python")):
        for count in FIELD_COUNTS:
            names = [f"field_{number}" for number in range(count)]
            yield Case(f"{kind}_{count}", 1000 + count, dict.fromkeys(names, kind), dict.fromkeys(names, value))


def field_table(series: Sequence[Series]) -> Iterator[str]:
    """Lines for people: a row for each number of fields, nanoseconds in columns."""
    medians = {(one.case, one.operation, one.contender): statistics.median(one.rounds) for one in series}
    contenders = list(dict.fromkeys(one.contender for one in series))
    for operation in FIELD_OPERATIONS:
        shown = [one for one in contenders if any(key[1:] == (operation, one) for key in medians)]
        yield f"\n{operation:<20}" + "".join(f"{one:>22}" for one in shown)
        for case in (one.name for one in cases_by_fields()):
            figures = (f"{medians[case, operation, one]:.0f} ns" for one in shown)
            yield f"{case:<20}" + "".join(f"{one:>22}" for one in figures)


# --- the command -----------------------------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.add_argument("--fields", action="store_true", help="time against the number of fields")
    parser.add_argument("--rounds", type=int, default=31, help="alternating rounds (default: 31)")
    parser.add_argument("--seconds", type=float, default=0.005, help="of a round of one statement (default: 0.005)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    return parser.parse_args()


def as_json(options: argparse.Namespace, missing: Sequence[str], series: Sequence[Series]) -> Mapping[str, Any]:
    """Everything for machines."""
    where = {"python": platform.python_version(), "machine": platform.machine(), "rounds": options.rounds}
    rows = [row.as_json() for row in rows_of(series)]
    return {**where, "missing": missing, "rows": rows, "results": [one.as_json() for one in series]}


def main() -> None:
    """Runs the command."""
    options = parse()
    names = options.only or (FIELD_CONTENDERS if options.fields else [one.name for one in CONTENDERS])
    present, missing = available([one for one in CONTENDERS if one.name in names])
    cases, operations = (cases_by_fields(), FIELD_OPERATIONS) if options.fields else (CASES, None)
    series = series_of(cases, present, operations)
    run(series, options.rounds, options.seconds)
    if options.json:
        print(json.dumps(as_json(options, missing, series), indent=1))
        return
    print(f"Python {platform.python_version()}, median of {options.rounds} rounds\n")
    for line in field_table(series) if options.fields else (*table(rows_of(series)), *nanoseconds(series)):
        print(line)
    for name in missing:
        print(f"\n{name} is missing: it cannot be imported, install the `bench` extra")


if __name__ == "__main__":
    main()
