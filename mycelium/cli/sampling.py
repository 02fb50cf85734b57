"""What a bridge does, from two looks at its counters: the pictures that `mycelium top` shows."""

from collections.abc import Hashable, Mapping
from typing import Any, Final, TypeAlias, final

from attrs import frozen

from mycelium.bus.client import MyceliumClient
from mycelium.bus.errors import Refused
from mycelium.wire.errors import ErrorCode

__all__ = ["Picture", "Sampler"]

Row: TypeAlias = dict[str, Any]
_WITHHELD: Final = "shown to the bridge's own user, and to clients with admin: true"


@frozen
class Picture:
    """A bridge at one moment. Rows are what the bridge said of things, with a `rates` beside it.

    Attributes:
        url: Where it is.
        seconds: Between the two looks; None where there was one.
        bridge: The answer to `info`.
        totals: The sums of `stats`.
        messages: A row for each type, the busiest first.
        connections: A row for each of the first connections; None where they are withheld.
        missing: What is withheld, and from whom; empty for nothing.
    """

    url: str
    seconds: float | None
    bridge: Row
    totals: Row
    messages: list[Row]
    connections: list[Row] | None
    missing: str = ""

    def as_object(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "url": self.url,
            "interval_s": self.seconds,
            "bridge": self.bridge,
            "totals": self.totals,
            "messages": self.messages,
            "connections": self.connections,
            "missing": self.missing or None,
        }


@final
class Sampler:
    """Looks at one bridge again and again.

    Args:
        client: Connected.
        url: Where it is, as people know it.
        sort: What puts a connection first.
        limit: Connections that are looked at, and types.
    """

    def __init__(self, client: MyceliumClient, url: str, sort: str, limit: int) -> None:
        self._client = client
        self._url = url
        self._sort = sort
        self._limit = limit
        self._clock: float | None = None
        self._seen: dict[Hashable, Row] = {}
        """What was counted at the last look."""
        self._missing = ""

    def __repr__(self) -> str:
        return f"<Sampler of {self._url}>"

    async def look(self) -> Picture:
        """The picture of now, with rates since the last one.

        Raises:
            TimeoutError: The bridge does not answer.
            ConnectionLost: The connection ended meanwhile.
            Refused: The bridge does not know these questions.
        """
        (info,) = await self._client.query("info")
        (totals, *more) = await self._client.query("stats", subscriptions=False, messages=self._limit)
        messages = more[0]["messages"] if more else []
        connections = await self._connections()
        clock = totals.pop("clock_s")
        seconds = None if self._clock is None else clock - self._clock
        rated = _Rated(self._seen, seconds)
        picture = Picture(
            self._url,
            None if seconds is None else round(seconds, 6),
            info,
            rated.row("bus", 0, totals),
            sorted((rated.row("message", row["name"], row) for row in messages), key=_busy, reverse=True),
            None if connections is None else [rated.row("connection", row["session"], row) for row in connections],
            self._missing,
        )
        self._seen, self._clock = rated.seen, clock
        return picture

    async def _connections(self) -> list[Row] | None:
        """The first connections but for this one; None where they are withheld, which is found out once."""
        if self._missing:
            return None
        try:
            (answer,) = await self._client.query("sessions", sort=self._sort, limit=self._limit)
        except Refused as refused:
            if refused.code != ErrorCode.DENIED:
                raise
            self._missing = _WITHHELD
            return None
        return [row for row in answer["sessions"] if row["session"] != self._client.session]


@final
class _Rated:
    """Rows with what has come, gone and been dropped a second.

    Args:
        before: What was seen before.
        seconds: How long ago; None for never.

    Attributes:
        seen: What was seen now.
    """

    def __init__(self, before: Mapping[Hashable, Row], seconds: float | None) -> None:
        self._before = before
        self._seconds = seconds
        self.seen: dict[Hashable, Row] = {}

    def row(self, kind: str, key: Hashable, row: Row) -> Row:
        """The row with its rates; None for what cannot be known yet.

        Args:
            kind: Of `_COUNTERS`.
            key: Its own among those of a kind.
            row: What the bridge says.
        """
        self.seen[kind, key] = row
        before, seconds = self._before.get((kind, key)), self._seconds
        if before is None or not seconds:
            return {**row, "rates": dict.fromkeys(_RATES)}
        came, went = _COUNTERS[kind]
        # What an ended subscription has counted is not its connection's any more: a sum may shrink.
        gained = (
            row[came] - before[came],
            row[went] - before[went],
            *(one(row) - one(before) for one in (_dropped, _lost)),
        )
        return {**row, "rates": {name: max(one, 0) / seconds for name, one in zip(_RATES, gained, strict=True)}}


_RATES: Final = ("in", "out", "dropped", "lost")
_ON_PURPOSE: Final = frozenset({"conflated", "disconnected"})
"""Reasons of drops by which nobody misses anything: the policy `latest` at work, and clients that have left."""
_COUNTERS: Final = {
    "bus": ("published", "delivered"),
    "message": ("received", "delivered"),
    "connection": ("received_messages", "sent_messages"),
}
"""What is counted of what has come, and of what has gone."""


def _dropped(row: Row) -> int:
    return sum(row["dropped"].values())


def _lost(row: Row) -> int:
    return sum(number for reason, number in row["dropped"].items() if reason not in _ON_PURPOSE)


def _busy(row: Row) -> tuple[float, float]:
    """What moves most comes first; where nothing does, what has moved most."""
    rates = row["rates"]
    return (rates["in"] or 0) + (rates["out"] or 0), row["received"] + row["delivered"]
