"""What a client may ask about the bridge, and change: the core messages Query and Answer (wire protocol, "Query")."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import asdict, frozen

from mycelium._version import __version__
from mycelium.bus.handshake import PROTOCOL_VERSION
from mycelium.bus.reload import Reloader
from mycelium.schema.document import document
from mycelium.wire.errors import ErrorCode

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge

__all__ = ["Asker", "Refusal", "answer"]

_ROWS: Final = 500
"""Subscriptions in one body."""
Body: TypeAlias = dict[str, Any]
Ask: TypeAlias = "Callable[[Bridge, Asker, Body], Awaitable[list[Body]]]"


class Refusal(Exception):
    """A query that is not answered."""

    def __init__(self, code: ErrorCode, problem: str) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem


@frozen
class Asker:
    """Who asks.

    Attributes:
        session: Its session's number.
        trusted: Whether it may see other clients and change contracts.
    """

    session: int
    trusted: bool


@frozen
class _Query:
    """A question.

    Attributes:
        ask: Makes the bodies of its answers.
        trusted: Whether only those may ask who could stop the bridge just as well.
    """

    ask: Ask
    trusted: bool = False


async def answer(bridge: "Bridge", what: str, body: bytes | None, asker: Asker) -> list[bytes]:
    """The bodies of the answers to a query, UTF-8 JSON.

    Args:
        bridge: Who is asked.
        what: The question.
        body: More about it, a JSON object.
        asker: Who asks.

    Raises:
        Refusal: There is no such question, or not for this client.
    """
    query = _QUERIES.get(what)
    if query is None:
        raise Refusal(ErrorCode.PROTOCOL, f"no query {what!r}; there are {', '.join(_QUERIES)}")
    if query.trusted and not asker.trusted:
        raise Refusal(ErrorCode.DENIED, f"{what} is for the bridge's own user, and for principals with `admin: true`")
    bodies = await query.ask(bridge, asker, _options(body))
    return [json.dumps(each, ensure_ascii=False).encode() for each in bodies]


def _options(body: bytes | None) -> Body:
    try:
        options = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(ErrorCode.PROTOCOL, f"the query's body is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise Refusal(ErrorCode.PROTOCOL, "the query's body is no JSON object")
    return options


async def _info(bridge: "Bridge", _: Asker, __: Body) -> list[Body]:
    schema = bridge.registry.schema
    facts = {"id": schema.id, "version": schema.version, "min_compatible": schema.min_compatible}
    return [
        {
            "server": bridge.name,
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "listen": bridge.urls,
            "sessions": len(bridge.sessions),
            "schema": {**facts, "digest": schema.digest, "messages": len(schema.messages), "source": schema.source},
            "limits": asdict(bridge.limits),
            "security": {"asks": bridge.admission.guard.asks, "acl": bridge.admission.guard.has_acl},
        }
    ]


async def _stats(bridge: "Bridge", asker: Asker, _: Body) -> list[Body]:
    """One body with the counters of the bus, then some with those of each socket subscription that may be seen."""
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
        if asker.trusted or session.number == asker.session
        for one in session.subscriptions
    ]
    chunks = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    return [asdict(bridge.stats()), *({"subscriptions": chunk} for chunk in chunks)]


async def _sessions(bridge: "Bridge", _: Asker, __: Body) -> list[Body]:
    """One body with the sessions, then one for each contracts document that they go by."""
    rows, documents = [], {}
    for session in bridge.sessions:
        if session.is_open:
            schema = session.terms.contracts or bridge.registry.schema
            documents[schema.digest] = schema
            facts = {"version": schema.version, "digest": schema.digest, "follows": session.terms.follows}
            who = {"principal": session.identity.principal, "transport": session.peer.transport}
            rows.append({"session": session.number, "name": session.client, **who, **facts})
    own = bridge.registry.schema
    documents[own.digest] = own
    return [
        {"sessions": rows, "digest": own.digest, "closed": [one._asdict() for one in bridge.closed]},
        *({"digest": digest, "contracts": document(schema)} for digest, schema in documents.items()),
    ]


async def _reload(bridge: "Bridge", _: Asker, options: Body) -> list[Body]:
    """Read the contracts file again; with `force` it is applied whatever it breaks."""
    reloader = bridge.reloader
    if reloader is None:
        if bridge.contracts.origin is None:
            raise Refusal(ErrorCode.PROTOCOL, "the bridge's contracts are from no file")
        reloader = bridge.reloader = Reloader(bridge.contracts)
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
