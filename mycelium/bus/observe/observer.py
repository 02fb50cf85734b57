"""Metrics of clients in a registry of Prometheus' client library."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final
from weakref import WeakKeyDictionary, WeakValueDictionary

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector

from mycelium.bus.clientmeter import ClientMeter
from mycelium.bus.clientstate import ClientState
from mycelium.bus.errors import UsageError
from mycelium.bus.observe.client_metrics import CLIENT_METRICS, ClientScrape
from mycelium.bus.observe.collector import Metric, described, filled

if TYPE_CHECKING:
    from mycelium.bus.client import MyceliumClient

__all__ = ["MetricsObserver"]


@final
class MetricsObserver:
    """Counts what one client does: `MyceliumClient(observer=MetricsObserver("orders"))`.

    Args:
        name: The label `client` of its metrics: what it is, not which of many it is.
        registry: Where the metrics are; None for the library's own.

    Raises:
        UsageError: The name is empty.
    """

    def __init__(self, name: str, registry: CollectorRegistry | None = None) -> None:
        if not name:
            raise UsageError("metrics of a client need its name; give one, such as MetricsObserver('orders')")
        self.name = name
        self._registry = REGISTRY if registry is None else registry

    def __repr__(self) -> str:
        return f"<MetricsObserver {self.name!r}>"

    def observe(self, client: "MyceliumClient") -> ClientMeter:
        """A client was made; where it is to count.

        Raises:
            UsageError: Another client, which is not closed, has this name.
        """
        meter = ClientMeter(client)
        _clients_in(self._registry).add(self.name, meter)
        return meter


@final
class _Clients(Collector):
    """All clients whose metrics are in one registry, until they are gone, or another has the name of a closed one."""

    def __init__(self) -> None:
        self._meters: WeakValueDictionary[str, ClientMeter] = WeakValueDictionary()

    def add(self, name: str, meter: ClientMeter) -> None:
        older = self._meters.get(name)
        if older is not None and older.state is not ClientState.CLOSED:
            raise UsageError(f"another client is observed as {name!r}; give each a name of its own")
        self._meters[name] = meter

    def describe(self) -> list[Metric]:
        return described(CLIENT_METRICS)

    def collect(self) -> Iterator[Metric]:
        return filled(CLIENT_METRICS, ClientScrape(dict(self._meters)))


_collectors: Final[WeakKeyDictionary[CollectorRegistry, _Clients]] = WeakKeyDictionary()


def _clients_in(registry: CollectorRegistry) -> _Clients:
    found = _collectors.get(registry)
    if found is None:
        found = _collectors[registry] = _Clients()
        registry.register(found)
    return found
