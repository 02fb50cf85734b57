"""A picture of a bridge, laid out for people: as much of it as the terminal has room for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, final

from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mycelium.cli.figures import age, count, rate, share, size
from mycelium.cli.info import reload_lines, schema_line
from mycelium.cli.watching import View
from mycelium.schema.printable import printable

__all__ = ["TopView"]

Row: TypeAlias = dict[str, Any]
_TABLE_LINES: Final = 2
"""An empty line and the head of a table."""


@frozen
class _Column:
    """One column of a table.

    Attributes:
        head: What stands above it.
        cell: What it says of a row.
        width: Of the narrowest terminal that shows it.
        justify: Numbers stand to the right.
        style: Of a cell, by the row.
    """

    head: str
    cell: Callable[[Row], str]
    width: int = 0
    justify: Literal["left", "right"] = "right"
    style: Callable[[Row], str] = lambda _: ""


@final
class TopView:
    """Rich's way to show a view.

    Args:
        view: What is shown.
        footer: The last line of the screen, which the view fills then; empty for a view as long as it is.
    """

    def __init__(self, view: View, footer: str = "") -> None:
        self._view = view
        self._picture = view.picture
        self._footer = footer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's interface."""
        width, height = options.max_width, console.height if self._footer else None
        head = list(self._head())
        rooms = _rooms(None if height is None else height - len(head), *map(len, self._rows()))
        lines = len(head)
        yield from head
        for columns, rows, room in zip((_MESSAGES, _CONNECTIONS), self._rows(), rooms, strict=True):
            if rows[:room]:
                yield ""
                yield _table(columns, rows[:room], width)
                lines += _TABLE_LINES + len(rows[:room])
        if not self._picture.connections:
            yield ""
            missing = self._picture.missing
            yield _line((f"connections: {missing}", "yellow") if missing else ("nobody else is connected", "dim"))
            lines += 2
        if self._footer:
            yield from [""] * (console.height - lines - 1)
            yield Text(self._footer, "dim", no_wrap=True, overflow="ellipsis")

    def _rows(self) -> tuple[list[Row], list[Row]]:
        return self._picture.messages, self._picture.connections or []

    def _head(self) -> Iterator[Text]:
        """The bridge, its contracts, and its sums, a line each."""
        bridge, totals = self._picture.bridge, self._picture.totals
        yield _line(("mycelium", "bold"), (self._picture.url, ""), (f"up {age(bridge['uptime_s'])}", ""))
        if self._view.note:
            yield _line((f"the bridge is {self._view.note}", _BAD if self._view.is_away else "bold yellow"))
        yield _line(*self._banner(bridge["schema"]))
        yield _line(
            (f"in {rate(totals['rates']['in'])}/s", ""),
            (f"out {rate(totals['rates']['out'])}/s", ""),
            (f"dropped {rate(totals['rates']['dropped'])}/s", _BAD if totals["rates"]["lost"] else ""),
            (_reasons(totals["dropped"]), "dim"),
        )
        limits = bridge["limits"]
        yield _line(
            (f"{count(totals['sessions'])} of {count(limits['connections'])} connections", ""),
            (f"{count(totals['subscriptions'])} subscriptions", ""),
            (f"{count(totals['queued'])} queued", ""),
            (f"{count(totals['in_flight'])} in flight", ""),
            (f"memory {size(totals['memory_used'])} of {size(totals['memory_limit'])}", ""),
        )

    @staticmethod
    def _banner(schema: Row) -> Iterator[tuple[str, str]]:
        """The contracts in force, and what became of their last edit."""
        yield f"schema {schema_line(dict(schema))}", ""
        first, *reasons = [*reload_lines(schema.get("reload")), ""]
        refused = first.startswith("refused")
        yield first and f"edit {first}", _BAD if refused else "green"
        if refused and reasons:
            yield reasons[0].strip(), _BAD


def _rooms(lines: int | None, messages: int, connections: int) -> tuple[int, int]:
    """How many rows either table may have: what one does not need is the other's, and messages get a third at least.

    Args:
        lines: That there are for both and for the footer; None for no end of them.
        messages: Rows that there are.
        connections: Rows that there are.
    """
    if lines is None:
        return messages, connections
    left = max(lines - 2 * _TABLE_LINES - 1, 2)
    first = min(messages, max(left // 3, left - connections, 1))
    return first, max(left - first, 1)


def _line(*parts: tuple[str, str]) -> Text:
    """Parts with a space between them, cut where the terminal ends."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for words, style in parts:
        if words:
            text.append("  " if text else "").append(printable(words), style)
    return text


def _table(columns: Sequence[_Column], rows: Sequence[Row], width: int) -> Table:
    shown = [column for column in columns if column.width <= width]
    table = Table(box=None, pad_edge=False, expand=False, header_style="dim")
    cells = [[Text(printable(column.cell(row)), column.style(row)) for row in rows] for column in shown]
    for column, texts in zip(shown, cells, strict=True):
        whole = max([len(column.head), *(text.cell_len for text in texts)]) if column.justify == "right" else None
        table.add_column(column.head, justify=column.justify, min_width=whole, no_wrap=True, overflow="ellipsis")
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _reasons(dropped: Mapping[str, int]) -> str:
    """Drops by reason, most first."""
    ordered = sorted(dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count(number)}" for reason, number in ordered if number)


def _drops_style(row: Row) -> str:
    return _BAD if row["rates"]["lost"] else ""


def _slow_style(row: Row) -> str:
    return _BAD if row["slow"] else ""


_BAD: Final = "bold red"
_RATES: Final = (
    _Column("in/s", lambda row: rate(row["rates"]["in"])),
    _Column("out/s", lambda row: rate(row["rates"]["out"])),
)
_DROPS: Final = (
    _Column("drop/s", lambda row: rate(row["rates"]["dropped"]), style=_drops_style),
    _Column("dropped", lambda row: count(sum(row["dropped"].values())), 72),
    _Column("reasons", lambda row: _reasons(row["dropped"]), 110, "left", lambda _: "dim"),
)
_MESSAGES: Final = (
    _Column("message", lambda row: row["name"], justify="left"),
    _Column("topic", lambda row: row["topic"], 100, "left"),
    _Column("subs", lambda row: count(row["subscriptions"])),
    *_RATES,
    *_DROPS,
)
_CONNECTIONS: Final = (
    _Column("client", lambda row: row["client"] or "?", justify="left", style=_slow_style),
    _Column("session", lambda row: str(row["session"]), 80),
    _Column("from", lambda row: row["peer"], 100, "left"),
    _Column("age", lambda row: age(row["connected_seconds"]), 130),
    *_RATES,
    _Column("lag", lambda row: count(row["lag_messages"]), style=_slow_style),
    _Column("queue", lambda row: share(row["queued_messages"], row["capacity_messages"]), style=_slow_style),
    _Column("in flight", lambda row: count(row["in_flight_messages"]), 90),
    *_DROPS,
)
