"""OpenTelemetry's SDK for tests: what was traced, by name."""

import contextlib

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import mycelium
from mycelium.tracing import Tracing
from peers import until


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


@contextlib.asynccontextmanager
async def three(contracts, tracing, listen="tcp://127.0.0.1:0", **options):
    """A traced bus with a bridge, a publisher and a subscriber."""
    bus = mycelium.MessageBus(contracts, tracing=tracing)
    async with bus.serve(listen) as bridge:
        url = bridge.urls[0]
        async with (
            mycelium.connect(url, contracts, name="publisher", tracing=tracing, **options) as publisher,
            mycelium.connect(url, contracts, name="subscriber", tracing=tracing) as subscriber,
        ):
            yield bus, publisher, subscriber
    await bus.close()


async def seen(recorder, name, count=1):
    await until(lambda: len(recorder.named(name)) >= count)
    return recorder.named(name)
