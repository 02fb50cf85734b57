"""`/varz`: what this bus is, its limits and sums; `/healthz` and `/readyz`: whether it lives, and wants messages."""

import asyncio
import platform
import sys
import time

from attrs import asdict

from mycelium._version import __version__
from mycelium.bus.bridge import Bridge
from mycelium.bus.handshake import PROTOCOL_VERSION
from mycelium.bus.moments import rfc3339
from mycelium.bus.observe.observed import Observed, state_of
from mycelium.bus.observe.paging import Json

__all__ = ["build", "healthz", "readyz", "varz"]


def build() -> dict[str, str]:
    """What runs here. To be called inside the loop."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "codec": "python",
    }


def healthz() -> Json:
    """The loop turns, or nobody would say so."""
    return {"status": "alive"}


def readyz(observed: Observed) -> Json:
    """Whether messages should be sent here."""
    problems = observed.problems
    return {"status": "not ready" if problems else "ready", "reasons": problems}


def varz(observed: Observed) -> Json:
    """Everything about the whole."""
    return {
        **build(),
        "protocol": PROTOCOL_VERSION,
        "now": rfc3339(time.time()),
        "observed_since": rfc3339(observed.began),
        "bridges": [_bridge(one) for one in observed.bridges],
        "stats": asdict(observed.stats(), recurse=False),
    }


def _bridge(one: Bridge) -> Json:
    return {
        "name": one.name,
        "listen": one.urls,
        "state": state_of(one),
        "connections": len(one.connections),
        "limits": asdict(one.limits),
    }
