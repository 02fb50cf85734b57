"""The bus against its peers, on this machine: every figure is a ratio from one run.

    python tools/bench_bus.py                        # all rows, five rounds
    python tools/bench_bus.py tcp-counter unix-counter --rounds 3 --messages 100000
    python tools/bench_bus.py --json bench.json      # the same for machines; `--json` alone prints it
    python tools/bench_bus.py --markdown bench.json --into docs/performance.md
    python tools/bench_bus.py connections --help     # what 10,000 idle ones cost: memory, CPU, how fast they come
    python tools/bench_bus.py --growth --json growth.json    # payloads and subscribers; tools/plot_bench.py draws them

In a round each contender of a row runs once, and who begins is another one each round, so that whatever else the
machine does hits all of them. A ratio is the median of the rounds' ratios. Servers are started on free ports of
loopback, and stopped again. A peer that is not here is said to be missing; losses are said with the figures.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import connections
from mycelium.bench.claims import judge
from mycelium.bench.figures import alternate
from mycelium.bench.machine import machine_facts
from mycelium.bench.process import interrupt_on_sigterm
from mycelium.bench.table import VERDICT_HEAD, figure_lines, figure_objects, grid, verdict_cells
from peers.markdown import as_markdown, put_into
from peers.rows import CLAIMS, GROWTH, ROWS, Amounts, runs_of


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", metavar="ROW", nargs="*", help=f"of {', '.join(ROWS)} (default all)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    parser.add_argument("--messages", type=int, default=300_000, help="of the fast rows (default 300,000)")
    parser.add_argument("--quick", action="store_true", help="one round of few messages: does it run?")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    parser.add_argument("--uvloop", action="store_true", help="uvloop in all client processes that use asyncio")
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="figures for machines, in FILE or else printed alone",
    )
    parser.add_argument("--growth", action="store_true", help="how cost grows with payloads and subscribers instead")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="print such a file as Markdown; measures nothing")
    parser.add_argument("--into", metavar="PAGE", type=Path, help="put that Markdown into its place of a page")
    parser.add_argument("--list", action="store_true", help="say what the rows are")
    args = parser.parse_args()
    known = GROWTH if args.growth else ROWS
    unknown = set(args.rows) - set(known)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    there = dict.fromkeys(
        one.name for name, row in known.items() if not args.rows or name in args.rows for one in row.contenders
    )
    strangers = set(args.only or ()) - set(there)
    if strangers:
        parser.error(f"nobody in these rows is called {', '.join(sorted(strangers))}; there are {', '.join(there)}")
    if args.uvloop and importlib.util.find_spec("uvloop") is None:
        parser.error("uvloop cannot be imported; install the `bench` extra")
    if args.quick:
        args.rounds, args.messages = 1, min(args.messages, 20_000)
    return args


def say(text: str) -> None:
    """What goes on."""
    print(text, file=sys.stderr, flush=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the rows; the figures for people and machines."""
    amounts = Amounts(args.messages, uvloop=args.uvloop)
    missing: dict[str, str] = {}
    known = GROWTH if args.growth else ROWS
    chosen = {name: row for name, row in known.items() if not args.rows or name in args.rows}
    runs = {name: runs_of(row, amounts, args.only, missing) for name, row in chosen.items()}
    results, failures = alternate(runs, args.rounds, say)
    verdicts = list(judge(CLAIMS, results))
    return {
        **machine_facts(),
        "rounds": args.rounds,
        "messages": args.messages,
        "uvloop": args.uvloop,
        "titles": {name: row.title for name, row in chosen.items()},
        "missing": missing,
        "failures": failures,
        "verdicts": verdicts,
        "results": results,
    }


def as_plain(measured: dict[str, Any]) -> dict[str, Any]:
    """For JSON."""
    verdicts = [each.to_plain() for each in measured["verdicts"]]
    return {**measured, "verdicts": verdicts, "results": list(figure_objects(measured["results"]))}


def show(measured: dict[str, Any]) -> None:
    """For people."""
    print(f"Python {measured['python']}, {measured['rounds']} alternating rounds\n")
    for line in figure_lines(measured["results"]):
        print(line)
    print()
    for line in grid(VERDICT_HEAD, [verdict_cells(each) for each in measured["verdicts"]]):
        print(line)
    for name, why in measured["missing"].items():
        print(f"\n{name} is missing: {why}")
    for failure in measured["failures"]:
        print(f"\nfailed: {failure}")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["connections"]:
        sys.exit(connections.main(sys.argv[2:]))
    args = parse()
    if args.list:
        for name, row in {**ROWS, **GROWTH}.items():
            print(f"{name:<20}{row.title}")
        return
    if args.markdown:
        text = as_markdown(json.loads(args.markdown.read_text(encoding="utf-8")))
        if args.into:
            put_into(args.into, "figures", text)
        else:
            print(text, end="")
        return
    interrupt_on_sigterm()
    try:
        measured = measure(args)
    except KeyboardInterrupt:
        sys.exit(130)
    text = json.dumps(as_plain(measured), indent=1)
    if args.json == "-":
        print(text)
        return
    if args.json:
        Path(args.json).write_text(text + "\n", encoding="utf-8")
    show(measured)


if __name__ == "__main__":
    main()
