"""Traces of a bridge process: whose provider it uses, and how the last spans leave."""

import argparse
import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mycelium.bus.errors import UsageError

__all__ = ["TRACES", "traces", "tracing"]

TRACES: Final = ("off", "otlp", "global")
_SHUTDOWN_SECONDS: Final = 5.0
"""How long the last spans may take to leave."""
_EXPORTERS: Final = {"http/protobuf": "http", "grpc": "grpc"}
"""By OTEL_EXPORTER_OTLP_PROTOCOL which of OpenTelemetry's exporters."""


def traces(text: str) -> str:
    """One of `TRACES`."""
    if text not in TRACES:
        raise argparse.ArgumentTypeError(f"{text!r} is no way to trace; take one of {', '.join(TRACES)}")
    return text


@contextmanager
def tracing(choice: str, service: str) -> Iterator[Any]:
    """What a bus takes as `tracing`, inside a block whose end sends the last spans.

    Args:
        choice: One of `TRACES`.
        service: What the process is called, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say it.

    Raises:
        UsageError: What it takes is not installed.
    """
    if choice == "off":
        yield None
        return
    from mycelium.bus.observe.tracing import Tracing

    if choice == "global":
        yield Tracing()
        return
    provider = _otlp(service)
    try:
        yield Tracing(provider)
    finally:
        # In a thread, since a collector that does not answer must not keep the process from ending.
        ending = threading.Thread(target=provider.shutdown, name="mycelium traces", daemon=True)
        ending.start()
        ending.join(_SHUTDOWN_SECONDS)


def _otlp(service: str) -> Any:
    """A provider that sends spans to a collector; where and how is said by OpenTelemetry's own variables."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    kind = _EXPORTERS.get(protocol or "", "http")
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        otlp = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{kind}.trace_exporter")
    except ImportError as error:
        raise UsageError(
            f"--traces otlp needs an SDK and an exporter ({error.name} is missing); "
            f"`pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-{kind}`"
        ) from error
    resource = resources.Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(resources.Resource({"service.name": service}))
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return provider
