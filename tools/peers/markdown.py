"""The tables of `docs/performance.md`, from the JSON of a run."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mycelium.bench.table import number

__all__ = ["as_markdown", "put_into"]


def as_markdown(run: Mapping[str, Any]) -> str:
    """Where it ran, the ratios, and all figures."""
    return "\n".join([*_machine(run), "", *_ratios(run), "", *_figures(run), "", *_absent(run)]).rstrip() + "\n"


def put_into(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end NAME -->` of a file.

    Raises:
        ValueError: The file has no such place.
    """
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    before = path.read_text(encoding="utf-8")
    if not place.search(before):
        raise ValueError(f"{path} has no place for {name}; write `<!-- {name} -->` and `<!-- end {name} -->` into it")
    path.write_text(place.sub(lambda found: found[1] + text + found[2], before), encoding="utf-8")


def _machine(run: Mapping[str, Any]) -> Iterator[str]:
    loop = "uvloop in all client processes" if run["uvloop"] else "plain asyncio in all client processes"
    yield (
        f"Mycelium {run['mycelium']}, Python {run['python']}, {run['system']}, {run['machine']}, {run['cores']} cores; "
        f"{run['rounds']} alternating rounds, {run['messages']:,} messages where a row does not take fewer; {loop}."
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _side(side: Mapping[str, Any]) -> str:
    return f"{number(side['median'])} {side['unit']}".replace(" /", "/")


def _ratios(run: Mapping[str, Any]) -> Iterator[str]:
    yield _line(["what", "number", "Mycelium", "against", "its", "ratio (min to max)", "must", "aim", ""])
    yield _line(["---"] * 9)
    for each in run["verdicts"]:
        unit = f" {each['ours']['unit']}" if each["absolute"] else "x"
        ratio, note = each["ratio"], f" ({each['note']})" if each["note"] else ""
        spread = f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"
        wanted = ["" if value is None else f"{value:,g}{unit}" for value in (each["must"], each["aim"])]
        lost = f"; {each['lost']:,.0f} lost" if each["lost"] else ""
        peer = f"{each['theirs']['name']}{note}"
        what = f"`{each['row']}`: {run['titles'][each['row']]}"
        sides = [_side(each["ours"]), peer, _side(each["theirs"])]
        yield _line([what, each["number"], *sides, spread, *wanted, f"{each['verdict']}{lost}"])


def _figures(run: Mapping[str, Any]) -> Iterator[str]:
    yield _line(["row", "contender", "number", "median", "min", "max", "unit"])
    yield _line(["---"] * 7)
    for each in run["results"]:
        if each["number"] != "lost" or each["max"]:
            figures = [number(each[name]) for name in ("median", "min", "max")]
            yield _line([each["row"], each["contender"], each["number"], *figures, each["unit"]])


def _absent(run: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name} was missing: {why}.\n" for name, why in run["missing"].items())
    yield from (f"Failed: {failure}.\n" for failure in run["failures"])
