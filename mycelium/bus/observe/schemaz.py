"""`/schemaz`: the contracts in force, and what became of their edits."""

from collections.abc import Mapping

from attrs import asdict

from mycelium.bus.moments import rfc3339
from mycelium.bus.observe.history import Reload
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.paging import Json, Page
from mycelium.schema.document import document
from mycelium.schema.model import Message

__all__ = ["message", "schemaz"]


def schemaz(observed: Observed, query: Mapping[str, str]) -> Json:
    """The schema, its messages in file order, and the last hundred reloads, the newest first.

    Raises:
        UsageError: The query makes no sense.
    """
    schema, history = observed.exchange.registry.schema, observed.history
    facts = {
        "id": schema.id,
        "version": schema.version,
        "min_compatible": schema.min_compatible,
        "digest": schema.digest,
        "source": schema.source,
    }
    return {
        "schema": facts,
        "generations": history.generations,
        "last_reload_successful": history.is_good,
        "last_reload_success_at": rfc3339(history.good_at),
        "reloads": [_reload(one) for one in reversed(history.reloads)],
        **Page.of(query).cut("messages", list(schema.messages.values()), _summary),
    }


def message(observed: Observed, name: str) -> Json | None:
    """One message with its fields as the contracts document has them, `None` where there is none of that name."""
    schema = observed.exchange.registry.schema
    model = schema.messages.get(name)
    if model is None:
        return None
    whole: Json = document(schema)
    return {**_summary(model), "document": whole["messages"][name]}


def _summary(one: Message) -> Json:
    return {
        "name": one.name,
        "type_id": one.type_id,
        "topic": one.topic,
        "description": one.description,
        "fields": len(one.fields),
        "key": list(one.key),
        "retain": one.retain,
        "on_lag": one.on_lag,
        "deprecated": one.deprecated,
        "redacted": one.redacted,
    }


def _reload(one: Reload) -> Json:
    return {
        "at": rfc3339(one.at),
        "outcome": one.outcome,
        "source": one.source,
        "duration_seconds": round(one.seconds, 6),
        "previous": _edition(one.previous),
        "current": _edition(one.current),
        "reasons": list(one.reasons),
        "findings": [asdict(each) for each in one.findings],
        "more_findings": one.more,
    }


def _edition(one: tuple[int, str] | None) -> Json | None:
    return None if one is None else {"version": one[0], "digest": one[1]}
