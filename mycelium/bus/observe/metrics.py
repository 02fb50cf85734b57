"""`/metrics`: what Prometheus asks for, in the form that it asks for."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mycelium.bus.observe.collector import FAMILIES
from mycelium.bus.observe.exposition import exposition
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.scrape import Scrape

__all__ = ["metrics"]

_OPEN: Final = "application/openmetrics-text"


def metrics(observed: Observed) -> Sequence[BaseRoute]:
    """`/metrics`, as OpenMetrics for whoever accepts that, else as text; the metrics of the process come last."""
    process = CollectorRegistry()
    ProcessCollector(registry=process)
    GCCollector(registry=process)
    PlatformCollector(registry=process)

    async def scrape(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        ours = exposition(FAMILIES, Scrape(observed), is_open=content_type.startswith(_OPEN))
        return Response(ours.encode() + encode(process), headers={"content-type": content_type})

    return [Route("/metrics", scrape)]
