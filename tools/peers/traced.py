"""Mycelium with OpenTelemetry's SDK in all three processes: `python -m peers.traced SPEC`, or `serve …` for the bridge.

$TRACED_RATE is the share of traces that is sampled. Spans are batched, and thrown away: what an exporter costs is not
the bus's.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from attrs import evolve

from mycelium.bench.ours import MYCELIUM, serve
from peers.here import ENVIRONMENT, MODULE_COMMAND

__all__ = ["INSTALLED", "SAMPLED", "UNLIMITED"]

_RATE: Final = "TRACED_RATE"
_ENV: Final = {**ENVIRONMENT, _RATE: "0.01"}
_serve: Final = partial(serve, module="peers.traced", env=_ENV)
INSTALLED: Final = evolve(
    MYCELIUM,
    name="installed",
    command=(*MODULE_COMMAND, "peers.traced"),
    modules=("opentelemetry.sdk",),
    env=_ENV,
    serve=_serve,
)
"""An SDK is there and configured, and nobody has asked for traces."""
SAMPLED: Final = evolve(
    INSTALLED, name="sampled", way="traced", serve=partial(_serve, options=("--http", "off", "--traces", "global"))
)
"""All three trace; of a hundred messages one is sampled, up to the limit that there is by default."""
UNLIMITED: Final = evolve(SAMPLED, name="unlimited", way="unlimited")
"""The same without a limit."""


def _configure() -> None:
    """What an application does at its start."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(float(os.environ[_RATE])))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)


def main() -> None:
    """Be a client process or a bridge."""
    _configure()
    if sys.argv[1] == "serve":
        from mycelium.cli.main import main as command

        sys.exit(command(sys.argv[1:]))
    from mycelium.bench.role import ROLES
    from mycelium.bench.stage import perform

    perform(ROLES)


if __name__ == "__main__":
    main()
