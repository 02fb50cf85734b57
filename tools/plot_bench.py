"""Two pictures of how cost grows, from the benchmark's own figures.

    python tools/bench_bus.py --growth --rounds 5 --json growth.json
    python tools/plot_bench.py growth.json           # docs/payload.png and docs/subscribers.png

Needs matplotlib, which the `bench` extra has. A point is the median of the rounds; the band goes from the least to the
greatest.
"""

import argparse
import importlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_PICTURES: Final[Mapping[str, tuple[str, str, str]]] = {
    "payload": ("bytes of payload", "messages per second", "Throughput against the size of messages"),
    "subscribers": ("subscriber connections", "deliveries per second", "Deliveries against subscribers"),
}
"""Name of the rows to label of the x axis, label of the y axis, and title."""
_COLOURS: Final = {"mycelium": "#1b7837", "nats": "#7b3294"}
_RATE: Final = "rate"


def series_of(run: Mapping[str, Any]) -> dict[str, dict[str, list[tuple[int, float, float, float]]]]:
    """Picture to contender to points: x, median, least and greatest."""
    found: dict[str, dict[str, list[tuple[int, float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    for each in run["results"]:
        picture, _, place = each["row"].partition("/")
        if each["number"] == _RATE and picture in _PICTURES:
            found[picture][each["contender"]].append((int(place), each["median"], each["min"], each["max"]))
    return {picture: {name: sorted(points) for name, points in lines.items()} for picture, lines in found.items()}


def draw(picture: str, lines: Mapping[str, list[tuple[int, float, float, float]]], path: Path) -> None:
    """Write one picture."""
    library = importlib.import_module("matplotlib")
    library.use("Agg")
    plots = importlib.import_module("matplotlib.pyplot")
    x_label, y_label, title = _PICTURES[picture]
    figure, axes = plots.subplots(figsize=(7, 4.2), dpi=144)
    for name, points in lines.items():
        at, medians, least, greatest = zip(*points, strict=True)
        colour = _COLOURS.get(name)
        axes.plot(at, medians, marker="o", markersize=4, label=name, color=colour)
        axes.fill_between(at, least, greatest, alpha=0.15, color=colour, linewidth=0)
    places = sorted({point[0] for points in lines.values() for point in points})
    axes.set(xscale="log", xlabel=f"{x_label} (log)", ylabel=y_label, title=title, ylim=(0, None))
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plots.close(figure)


def main() -> None:
    """Draw what a file has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="written by bench_bus.py --growth --json")
    parser.add_argument("--into", type=Path, default=_DOCS, metavar="DIR", help="where pictures go (default docs)")
    args = parser.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        parser.exit(1, "matplotlib cannot be imported; install the `bench` extra\n")
    lines = series_of(json.loads(args.figures.read_text(encoding="utf-8")))
    if not lines:
        parser.exit(1, f"{args.figures} has no figures of growth; measure them with bench_bus.py --growth\n")
    for picture, each in lines.items():
        path = args.into / f"{picture}.png"
        draw(picture, each, path)
        print(path)


if __name__ == "__main__":
    main()
