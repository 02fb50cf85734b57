"""`mycelium bench`: how fast the bus is on this machine."""

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from mycelium.cli.options import Commands, new_command, positive

if TYPE_CHECKING:
    from mycelium.bench.figures import Results

__all__ = ["add_parser"]

_PLACES: Final = ("local", "unix", "tcp", "codec")
"""The keys of `mycelium.bench.places.PLACES`, which is imported when it is needed."""


def add_parser(commands: Commands) -> None:
    """`bench [PLACE…]`."""
    parser = new_command(
        commands,
        "bench",
        "Measure throughput and latency on this machine. Starts a bridge, a publisher and a subscriber as separate "
        "processes, and ends them; local is inside one process, codec is what messages cost to make and read. Prints "
        "medians of alternating rounds, with the least and the greatest.",
        "mycelium bench",
        "mycelium bench tcp --rounds 5 --messages 300000 --json",
    )
    parser.add_argument("places", metavar="PLACE", nargs="*", help=f"of {', '.join(_PLACES)} (default all)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="alternating rounds (default 3)")
    parser.add_argument(
        "--messages", type=positive, default=50_000, metavar="N", help="messages of a round (default 50,000)"
    )
    parser.add_argument(
        "--rate", type=positive, default=10_000, metavar="N", help="messages a second for latency (default 10,000)"
    )
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Measure, and print the figures."""
    from mycelium.bench.figures import alternate
    from mycelium.bench.places import PLACES, Amounts
    from mycelium.bench.process import interrupt_on_sigterm
    from mycelium.cli.failures import fail

    unknown = [place for place in args.places if place not in _PLACES]
    if unknown:
        return fail(2, f"no place {', '.join(unknown)}", "", f"one of {', '.join(_PLACES)}, or none for all")
    interrupt_on_sigterm()
    amounts = Amounts(args.messages, args.rate)
    with contextlib.ExitStack() as stack:
        chosen = {place: PLACES[place](amounts, stack) for place in _PLACES if not args.places or place in args.places}
        results, failures = alternate(chosen, args.rounds, _say if sys.stderr.isatty() else lambda _: None)
    _print(args, results, failures)
    for failure in failures:
        fail(1, failure)
    return 1 if failures else 0


def _say(text: str) -> None:
    print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def _print(args: argparse.Namespace, results: "Results", failures: list[str]) -> None:
    import json

    from mycelium.bench.machine import machine_facts
    from mycelium.bench.table import figure_lines, figure_objects

    if sys.stderr.isatty():
        _say("")
    if args.json:
        facts: dict[str, Any] = {**machine_facts(), "rounds": args.rounds, "messages": args.messages}
        print(json.dumps({**facts, "failures": failures, "results": list(figure_objects(results, "place", "what"))}))
        return
    for line in figure_lines(results, "place", "what"):
        print(line)
