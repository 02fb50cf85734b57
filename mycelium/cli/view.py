"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["Shown", "summary", "watching"]

_LINE_SECONDS = 1.0


class Shown(Protocol):
    """What there is to show."""

    url: str
    sent: int
    received: int
    counts: dict[str, int]
    last: dict[str, str]
    percentiles: dict[str, float]


@contextlib.contextmanager
def watching(facts: Shown, seconds: float) -> Iterator[Callable[[], None]]:
    """Show the facts; what the block gets is to be called when they have changed."""
    console = Console()
    start = time.perf_counter()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=10, get_renderable=lambda: _picture(facts, seconds, start)):
            yield lambda: None
        return
    console.print(f"bridge on {facts.url}; publishing for {seconds:g} s", highlight=False)
    yield _lines(console, facts, start)


def summary(facts: Shown) -> None:
    """Print what came out."""
    lost = facts.sent - facts.received
    figures = facts.percentiles
    style = "green" if lost == 0 and facts.received else "red"
    latency = f", latency p50 {figures['p50']:.2f} ms, p99 {figures['p99']:.2f} ms" if figures else ""
    text = f"sent {facts.sent}, received {facts.received}, lost {lost}{latency}"
    Console().print(Text(text, style=style), soft_wrap=True)


def _lines(console: Console, facts: Shown, start: float) -> Callable[[], None]:
    """A function that prints a line if the last one is a second old."""
    last = start

    def show() -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _LINE_SECONDS:
            last = now
            console.print(f"{now - start:4.1f} s  sent {facts.sent}  received {facts.received}", highlight=False)

    return show


def _picture(facts: Shown, seconds: float, start: float) -> Group:
    elapsed = min(time.perf_counter() - start, seconds)
    table = Table(title=f"publisher → bridge ({escape(facts.url)}) → subscriber", title_justify="left", expand=True)
    table.add_column("message", no_wrap=True)
    table.add_column("received", justify="right")
    table.add_column("per second", justify="right")
    table.add_column("the last one", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, count in sorted(facts.counts.items()):
        table.add_row(name, str(count), f"{count / max(elapsed, 0.2):.0f}", Text(facts.last.get(name, "")))
    line = Text(f"sent {facts.sent}   received {facts.received}   under way {facts.sent - facts.received}")
    return Group(table, line, ProgressBar(total=seconds, completed=elapsed))
