"""OpenTelemetry's SDK for tests: what was traced, by name."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mycelium.tracing import Tracing


class Recorder:
    """A provider of its own, and the spans that it was given."""

    def __init__(self, sampler=None):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def tracing(self, **options):
        return Tracing(self.provider, **options)

    @property
    def spans(self):
        """All that have ended, in that order."""
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [one for one in self.spans if one.name == name]

    def one(self, name):
        (found,) = self.named(name)
        return found


def parent_of(span):
    return None if span.parent is None else span.parent.span_id


def links_of(span):
    return [one.context.span_id for one in span.links]


def id_of(span):
    return span.context.span_id


def trace_of(span):
    return span.context.trace_id
