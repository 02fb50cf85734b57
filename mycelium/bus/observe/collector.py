"""Metrics for registries of Prometheus' client library: a collector over the plain counters of a bus."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar, final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from mycelium.bus.histogram import Histogram
from mycelium.bus.observe.connection_metrics import CONNECTION_METRICS
from mycelium.bus.observe.family import Family
from mycelium.bus.observe.message_metrics import MESSAGE_METRICS
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.schema_metrics import SCHEMA_METRICS
from mycelium.bus.observe.scrape import Scrape

__all__ = ["FAMILIES", "BusCollector", "Metric", "described", "filled"]

FAMILIES: Final[Sequence[Family[Scrape]]] = (*SCHEMA_METRICS, *CONNECTION_METRICS, *MESSAGE_METRICS)
"""Every metric of a bus."""
Metric = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
S = TypeVar("S")


@final
class BusCollector(Collector):
    """Of one bus. It looks at what belongs to the loop, so it is to be asked in the loop.

    Args:
        observed: The bus.
    """

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def describe(self) -> list[Metric]:
        """Names without figures, so that nothing is asked for when it is registered."""
        return described(FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """All metrics as they stand."""
        return filled(FAMILIES, Scrape(self._observed))


def described(families: Iterable[Family[S]]) -> list[Metric]:
    """Metrics without figures."""
    return [_empty(one) for one in families]


def filled(families: Iterable[Family[S]], scrape: S) -> Iterator[Metric]:
    """Metrics with the figures of a scrape."""
    for family in families:
        made = _empty(family)
        for labels, value in family.samples(scrape):
            if isinstance(made, HistogramMetricFamily):
                assert isinstance(value, Histogram)  # noqa: S101  a family's samples are of its kind
                made.add_metric(labels, _buckets(value), value.total)
            else:
                made.add_metric(labels, value)  # type: ignore[arg-type]  # the same
        yield made


def _empty(family: Family[S]) -> Metric:
    match family.kind:
        case "counter":
            return CounterMetricFamily(family.name, family.help, labels=family.labels)
        case "gauge":
            return GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case "histogram":
            return HistogramMetricFamily(family.name, family.help, labels=family.labels)


def _buckets(one: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """The buckets as Prometheus wants them, with the trace of a value where one is known."""
    found: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    bounds = [*map(floatToGoString, one.bounds), "+Inf"]
    for place, (bound, number) in enumerate(zip(bounds, one.cumulative, strict=True)):
        example = one.examples.get(place)
        if example is None:
            found.append((bound, number))
        else:
            trace, value, at = example
            found.append((bound, number, Exemplar({"trace_id": trace}, value, at)))
    return found
