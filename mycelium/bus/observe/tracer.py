"""Spans, by OpenTelemetry's API alone: whoever wants to see them installs an SDK and configures it.

Nothing of this is imported before somebody asks for traces.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from struct import Struct
from types import TracebackType
from typing import Any, Final, final

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context

from mycelium._version import __version__
from mycelium.bus.errors import Refused
from mycelium.bus.observe import names
from mycelium.bus.observe.facts import Attributes
from mycelium.bus.observe.tracing import Tracing
from mycelium.wire.tracecontext import TraceContext

__all__ = [
    "Context",
    "Spans",
    "Within",
    "child_of",
    "current",
    "failed",
    "non_recording",
    "nothing_current",
    "span_context",
    "wire_context",
]

_KINDS: Final = {operation: otel.SpanKind[span.kind] for operation, span in names.SPANS.items()}
_ERROR: Final = otel.StatusCode.ERROR
_SAMPLED: Final = otel.TraceFlags.SAMPLED
_CONTEXT: Final = Struct(">BQQQB")
"""A trace context: version, trace id, span id, flags."""
_HALF: Final = 64
_LOW: Final = (1 << _HALF) - 1


@final
class Spans:
    """Makes spans.

    Args:
        tracing: What the user wants.
    """

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self._tracer: otel.Tracer | None = None

    def __repr__(self) -> str:
        return f"<Spans of {self.tracing!r}>"

    @property
    def tracer(self) -> otel.Tracer:
        """OpenTelemetry's. An application may configure its provider after it has made its client."""
        if self._tracer is not None:
            return self._tracer
        provider = otel.get_tracer_provider() if self.tracing.provider is None else self.tracing.provider
        made: otel.Tracer = provider.get_tracer(names.SCOPE, __version__, schema_url=names.SCHEMA_URL)
        if not isinstance(made, otel.ProxyTracer):
            self._tracer = made
        return made

    def start(
        self,
        operation: str,
        destination: str,
        attributes: Attributes,
        context: Context | None = None,
        *,
        links: Sequence[otel.Link] = (),
        start_time: int | None = None,
        tracer: otel.Tracer | None = None,
    ) -> otel.Span:
        """A span that has begun.

        Args:
            operation: A key of `names.SPANS`.
            destination: The message's name.
            attributes: Of the span.
            context: With its parent; None for what is current.
            links: To other spans.
            start_time: When it began, in nanoseconds since the Unix epoch; None for now.
            tracer: In place of the usual one.
        """
        return (tracer or self.tracer).start_span(
            f"{operation} {destination}",
            context,
            _KINDS[operation],
            attributes,
            links,
            start_time,
            record_exception=False,
        )

    def reload(self) -> "Within":
        """The span of a reload, which has no parent."""
        span = self.tracer.start_span(
            names.SPANS["reload"].name, nothing_current(), _KINDS["reload"], record_exception=False
        )
        return Within(span)


@final
class Within:
    """A span that is current inside a `with` block, ends with it, and says what went wrong in it.

    Attributes:
        span: See above.
    """

    __slots__ = ("_token", "span")

    def __init__(self, span: otel.Span) -> None:
        self.span = span
        self._token: Any = None

    def __enter__(self) -> otel.Span:
        self._token = otel_context.attach(otel.set_span_in_context(self.span))
        return self.span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A coroutine that is thrown away is closed in another context than its own, which has nothing to take back.
        if not isinstance(error, GeneratorExit):
            otel_context.detach(self._token)
            if error is not None:
                failed(self.span, error)
        self.span.end()


def failed(span: otel.Span, error: BaseException) -> None:
    """Say of a span that it failed, and how, without the error's words: they may show values of a message."""
    kind = error.name if isinstance(error, Refused) else type(error).__qualname__
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(_ERROR)


def wire_context(span: otel.Span) -> bytes | None:
    """The trace context that a message carries; None for a span that nobody keeps, which costs no bytes."""
    context = span.get_span_context()
    flags = context.trace_flags
    if not flags & _SAMPLED or not context.is_valid:
        return None
    trace_id = context.trace_id
    return _CONTEXT.pack(0, trace_id >> _HALF, trace_id & _LOW, context.span_id, flags)


def span_context(trace: bytes | None) -> otel.SpanContext | None:
    """The context that a message has brought; None where it has none, or no valid one."""
    found = None if trace is None else TraceContext.from_bytes(trace)
    if found is None:
        return None
    trace_id, span_id = int.from_bytes(found.trace_id), int.from_bytes(found.span_id)
    return otel.SpanContext(trace_id, span_id, is_remote=True, trace_flags=otel.TraceFlags(found.flags))


def non_recording(trace: bytes) -> otel.Span:
    """A span from elsewhere, of which only the context is known."""
    context = span_context(trace)
    return otel.INVALID_SPAN if context is None else otel.NonRecordingSpan(context)


def child_of(parent: otel.SpanContext) -> Context:
    """A context in which a span from elsewhere is current."""
    return otel.set_span_in_context(otel.NonRecordingSpan(parent), nothing_current())


def nothing_current() -> Context:
    """A context without a span."""
    return Context()


def _getter() -> Callable[[], Context]:
    """What says what is current: the variable that OpenTelemetry keeps it in, which takes a third as long to ask."""
    variable = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    return variable.get if isinstance(variable, ContextVar) else otel_context.get_current


current: Final = _getter()
"""What is current here; empty where there is no span, and nothing else."""
