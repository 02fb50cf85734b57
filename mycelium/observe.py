"""Metrics in a registry of Prometheus' client library, for applications that have one. Needs the extra `http`.

What a client does, opt-in, with the label `client`:

    client = MyceliumClient(observer=mycelium.observe.MetricsObserver("orders"))

What a bus does, where no `mycelium.asgi.app` shows it:

    prometheus_client.REGISTRY.register(mycelium.observe.BusMetrics(bus))
"""

from typing import TYPE_CHECKING

from mycelium.bus.extras import required

required("http")

from mycelium.bus.observe.collector import BusCollector  # noqa: E402  not before it is known to work
from mycelium.bus.observe.observed import Observed  # noqa: E402
from mycelium.bus.observe.observer import MetricsObserver  # noqa: E402

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge
    from mycelium.bus.bus import MessageBus

__all__ = ["BusMetrics", "MetricsObserver"]


def BusMetrics(served: "MessageBus | Bridge") -> BusCollector:  # noqa: N802  it stands for a class
    """A collector of everything that a bus or one bridge counts, from now on; it is to be asked in the bus's loop."""
    return BusCollector(Observed(served))
