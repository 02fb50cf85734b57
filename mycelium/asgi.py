"""The HTTP side of a bus as an ASGI application, to be mounted in one of your own.

    app = FastAPI(lifespan=…)
    app.mount("/bus", mycelium.asgi.app(bus))

A page for people at `/`, health at `/healthz` and `/readyz`, metrics at `/metrics`, tables as JSON at `/varz`,
`/connz`, `/subsz`, `/queuez`, `/messagez` and `/schemaz`. It belongs into the event loop of the bus. It asks nobody who
they are, so whoever may reach it sees who is connected and what flows, and values of messages whose contract says
`log_payload: true`. Needs the extra `http`.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mycelium.bus.extras import required

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from mycelium.bus.bridge import Bridge
    from mycelium.bus.bus import MessageBus

__all__ = ["app"]


def app(served: "MessageBus | Bridge", *, hosts: Collection[str] | None = None) -> "Starlette":
    """The application. From now on the bus counts by type of message, and takes times.

    Args:
        served: A bus with all its bridges, or one bridge.
        hosts: Names under which it may be asked for, beside addresses and localhost; None where the application that
            it is mounted in looks after that. It keeps scripts of other sites out (DNS rebinding).

    Raises:
        UsageError: The extra `http` is not installed.
    """
    required("http")
    from mycelium.bus.observe.http import make_app
    from mycelium.bus.observe.observed import Observed

    return make_app(Observed(served), hosts)
