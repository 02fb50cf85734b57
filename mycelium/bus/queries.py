"""What a client may ask about the bridge, and change: the core messages Query and Answer (wire protocol, "Query")."""

import asyncio
import json
import os
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import asdict, frozen

from mycelium._version import __version__
from mycelium.bus.figures import Figures
from mycelium.bus.handshake import PROTOCOL_VERSION
from mycelium.bus.moments import rfc3339
from mycelium.bus.ranking import MOST_ROWS, SORTS, ranked
from mycelium.bus.reload import Reloader
from mycelium.schema.document import document
from mycelium.wire.errors import ErrorCode

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge
    from mycelium.bus.session import Session

__all__ = ["Refusal", "answer"]

_ROWS: Final = 500
"""Rows in one body."""
_ROW_BYTES: Final = 1024 * 1024
"""Bytes of the rows in one body, which has to fit a frame; a subscription with 65,536 types takes half of that."""
Body: TypeAlias = dict[str, Any]
Ask: TypeAlias = "Callable[[Bridge, Body, Session], Awaitable[list[Body]]]"
"""A function of the bridge, of what was said with the question, and of who asks."""


class Refusal(Exception):
    """A query that is not answered."""

    def __init__(self, code: ErrorCode, problem: str) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem


@frozen
class _Query:
    """A question.

    Attributes:
        ask: Makes the bodies of its answers.
        trusted: Whether only those may ask who could stop the bridge just as well.
    """

    ask: Ask
    trusted: bool = False


async def answer(bridge: "Bridge", what: str, body: bytes | None, asker: "Session") -> list[bytes]:
    """The bodies of the answers to a query, UTF-8 JSON.

    Args:
        bridge: Who is asked.
        what: The question.
        body: More about it, a JSON object.
        asker: The client.

    Raises:
        Refusal: There is no such question, or not for this client.
    """
    query = _QUERIES.get(what)
    if query is None:
        raise Refusal(ErrorCode.PROTOCOL, f"no query {what!r}; there are {', '.join(_QUERIES)}")
    if query.trusted and not bridge.admission.trusts(asker):
        raise Refusal(ErrorCode.DENIED, f"{what} is for the bridge's own user, and for principals with `admin: true`")
    bodies = await query.ask(bridge, _options(body), asker)
    return [json.dumps(each, ensure_ascii=False).encode() for each in bodies]


def _options(body: bytes | None) -> Body:
    try:
        options = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(ErrorCode.PROTOCOL, f"the query's body is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise Refusal(ErrorCode.PROTOCOL, "the query's body is no JSON object")
    return options


def _last_reload(bridge: "Bridge") -> Body | None:
    """What became of the last reading of the contracts file; None where there was none since the start."""
    last = bridge.reading
    if last is None:
        return None
    return {
        "at": rfc3339(last.at),
        "ago_s": round(time.time() - last.at, 3),
        "outcome": last.outcome,
        "refused": last.refused,
        "reasons": list(last.reasons),
    }


async def _info(bridge: "Bridge", _options: Body, _asker: "Session") -> list[Body]:
    """What a bridge is: of which version and age, where it listens, on which contracts, within which limits."""
    schema = bridge.registry.schema
    facts = {
        "server": bridge.name,
        "version": __version__,
        "protocol": PROTOCOL_VERSION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "pid": os.getpid(),
        "started_at": bridge.started_at,
        "uptime_s": round(time.time() - bridge.started_at, 3),
        "listen": bridge.urls,
        "sessions": len(bridge.sessions),
        "schema": {
            "id": schema.id,
            "version": schema.version,
            "min_compatible": schema.min_compatible,
            "digest": schema.digest,
            "messages": len(schema.messages),
            "source": schema.source,
            "reload": _last_reload(bridge),
        },
        "limits": asdict(bridge.limits),
        "security": {"asks": bridge.admission.guard.asks, "acl": bridge.admission.guard.has_acl},
    }
    return [facts]


async def _stats(bridge: "Bridge", options: Body, asker: "Session") -> list[Body]:
    """One body with the counters of the bus; with `messages`, a limit, one with the busiest types; then subscriptions.

    Rows of subscriptions name clients: they are for those who may see them, and are left out with `{"subscriptions":
    false}`. Others are told of no type that they may neither publish nor receive. Rates are differences of two answers
    over the difference of their `clock_s`.
    """
    bodies = [{"clock_s": asyncio.get_running_loop().time(), **asdict(bridge.stats())}]
    trusted = bridge.admission.trusts(asker)
    if "messages" in options:
        hidden = frozenset[int]() if trusted else bridge.admission.permits(asker.identity).hidden
        bodies.append({"messages": _busiest(bridge, _limit(options["messages"], "types"), hidden)})
    if trusted and options.get("subscriptions") is not False:
        bodies += _subscriptions(bridge)
    return bodies


def _busiest(bridge: "Bridge", limit: int, hidden: Set[int]) -> list[Body]:
    """The types of which most has come and gone; they are counted from the first time on that somebody asks."""
    exchange = bridge.exchange
    figures = Figures(exchange, exchange.measure())
    shown = (one for one in exchange.registry.schema.messages.values() if one.type_id not in hidden)
    return [figures.row(one) for one in figures.busiest(shown, limit)]


def _subscriptions(bridge: "Bridge") -> list[Body]:
    rows = [
        {
            "session": session.number,
            "client": session.client,
            "subscription": one.number,
            "types": sorted(one.type_ids),
            "on_lag": None if one.on_lag is None else one.on_lag.word,
            "group": one.group,
            **asdict(one.outbox.stats()),
        }
        for session in bridge.sessions
        for one in session.subscriptions
    ]
    return [{"subscriptions": some} for some in _chunks(rows)]


def _chunks(rows: Iterable[Body]) -> list[list[Body]]:
    """Rows in pieces that fit into one body each."""
    chunks, room = list[list[Body]](), 0
    for row in rows:
        size = len(json.dumps(row))  # never shorter than what is sent
        if not chunks or size > room or len(chunks[-1]) == _ROWS:
            chunks.append([])
            room = _ROW_BYTES
        chunks[-1].append(row)
        room -= size + 2  # for the comma
    return chunks


async def _sessions(bridge: "Bridge", options: Body, _asker: "Session") -> list[Body]:
    """With a `limit` the connections that matter most by `sort`; else everybody and their contracts documents."""
    if "limit" in options or "sort" in options:
        return [await _first_sessions(bridge, options)]
    rows, documents = [], {}
    for session in bridge.sessions:
        if session.is_open:
            schema = session.terms.contracts or bridge.registry.schema
            documents[schema.digest] = schema
            facts = {"version": schema.version, "digest": schema.digest, "follows": session.terms.follows}
            who = {"principal": session.identity.shown, "transport": session.peer.transport}
            rows.append({"session": session.number, "name": session.client, **who, **facts})
    own = bridge.registry.schema
    documents[own.digest] = own
    first, *more = _chunks(rows) or [[]]
    return [
        {"sessions": first, "digest": own.digest, "closed": [one._asdict() for one in bridge.closed]},
        *({"sessions": some} for some in more),
        *({"digest": digest, "contracts": document(schema)} for digest, schema in documents.items()),
    ]


async def _first_sessions(bridge: "Bridge", options: Body) -> Body:
    limit, sort = _limit(options.get("limit", MOST_ROWS), "connections"), options.get("sort", "lag")
    if not isinstance(sort, str) or sort not in SORTS:
        raise Refusal(ErrorCode.PROTOCOL, f"connections cannot be sorted by {sort!r}; there are {', '.join(SORTS)}")
    rows = await ranked(bridge.connections, sort, limit, bridge.registry.schema)
    return {"open": len(bridge.connections), "sort": sort, "sessions": rows}


def _limit(number: object, what: str) -> int:
    if type(number) is not int or not 1 <= number <= MOST_ROWS:
        raise Refusal(ErrorCode.PROTOCOL, f"a limit of {number!r} {what}; give a number from 1 to {MOST_ROWS}")
    return number


async def _reload(bridge: "Bridge", options: Body, _asker: "Session") -> list[Body]:
    """Read the contracts file again; with `force` it is applied whatever it breaks."""
    reloader = bridge.reloader
    if reloader is None:
        if bridge.contracts.origin is None:
            raise Refusal(ErrorCode.PROTOCOL, "the bridge's contracts are from no file")
        reloader = bridge.reloader = Reloader(bridge.contracts)
        if bridge.traces is not None:
            reloader.around = bridge.traces.reload
    change = await reloader.reload(force=options.get("force") is True)
    applied = change.outcome == "applied"
    hurt = {} if change.current is None else await bridge.hurt_by(change.current, pinned=applied)
    found = change.report.issues if change.report is not None else ()
    return [
        {
            "outcome": change.outcome,
            "source": change.source,
            "reasons": list(change.reasons),
            "findings": [{"rule": one.rule, "path": one.path, "message": one.message} for one in found],
            "hurt": {client: list(standing.causes) for client, standing in hurt.items()},
        }
    ]


_QUERIES: Final[Mapping[str, _Query]] = {
    "info": _Query(_info),
    "stats": _Query(_stats),
    "sessions": _Query(_sessions, trusted=True),
    "reload": _Query(_reload, trusted=True),
}
