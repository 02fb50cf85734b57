"""What the page shows but for the tail, as one JSON object: of bounded size, however much there is."""

import asyncio
import json
import os
import time
from typing import Any, Final

from attrs import asdict

from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.varz import build
from mycelium.bus.ranking import ranked

__all__ = ["frame", "state"]

_MOST_MESSAGES: Final = 200
_MOST_CONNECTIONS: Final = 100
_MOST_REASONS: Final = 20


def frame(observed: Observed) -> dict[str, str]:
    """What the frame says before any state has come."""
    schema = observed.exchange.registry.schema
    return {
        "name": _name(observed),
        "version": build()["version"],
        "schema": f"Contracts {schema.id:#010x}, version {schema.version}",
        "source": schema.source,
    }


async def state(observed: Observed) -> bytes:
    """Everything as it stands now."""
    schema, figures, connections = observed.exchange.registry.schema, observed.figures, observed.connections
    busiest = figures.busiest(schema.messages.values(), _MOST_MESSAGES)
    shown = {
        "clock_s": asyncio.get_running_loop().time(),
        "bridge": _bridge(observed),
        "schema": _schema(observed),
        "totals": asdict(observed.stats(), recurse=False),
        "types": list(schema.messages),
        "messages": [figures.row(one) for one in busiest],
        "connections": {
            "open": len(connections),
            "limit": sum(one.limits.connections for one in observed.bridges),
            "rows": await ranked(connections, "lag", _MOST_CONNECTIONS, schema),
        },
    }
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


def _bridge(observed: Observed) -> dict[str, Any]:
    return {
        "name": _name(observed),
        **build(),
        "pid": os.getpid(),
        "began_at": observed.began,
        "up_s": round(time.time() - observed.began, 3),
        "listen": [url for bridge in observed.bridges for url in bridge.urls],
        "problems": observed.problems,
    }


def _schema(observed: Observed) -> dict[str, Any]:
    schema, reloads = observed.exchange.registry.schema, observed.history.reloads
    last = reloads[-1] if reloads else None
    return {
        "id": schema.id,
        "version": schema.version,
        "digest": schema.digest,
        "source": schema.source,
        "is_good": observed.history.is_good,
        "reload": None
        if last is None
        else {
            "outcome": last.outcome,
            "ago_s": round(time.time() - last.at, 3),
            "reasons": list(last.reasons[:_MOST_REASONS]),
            "more": max(len(last.reasons) - _MOST_REASONS, 0),
        },
    }


def _name(observed: Observed) -> str:
    return ", ".join(bridge.name for bridge in observed.bridges) or "mycelium"
