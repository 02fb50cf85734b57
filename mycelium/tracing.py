"""Traces: OpenTelemetry spans of what is published, routed and processed, and the way into and out of other systems.

    client = mycelium.MyceliumClient(tracing=True)
    async for order, delivery in stream.deliveries():
        with delivery.process():                        # a span, in the trace of whoever published the order
            headers["traceparent"] = delivery.traceparent
    with mycelium.tracing.continued(headers.get("traceparent")):
        await client.publish(order)                     # in the trace that the header names

`docs/tracing.md` has the names of spans and attributes. Nothing of OpenTelemetry is imported before it is asked for.
"""

import contextlib
from collections.abc import Iterator

from mycelium.bus.delivery import Delivery
from mycelium.bus.observe.tracing import Tracing, require_opentelemetry
from mycelium.wire.tracecontext import TraceContext

__all__ = ["Tracing", "continued", "traceparent"]


def traceparent(delivery: Delivery) -> str | None:
    """The trace context of a message as a `traceparent` header, for where it crosses into another system."""
    return delivery.traceparent


@contextlib.contextmanager
def continued(header: str | None) -> Iterator[bool]:
    """A block in which the span of a `traceparent` header from elsewhere is current: what is published is its child.

    A header that is missing or broken changes nothing, as W3C has it.

    Args:
        header: The header.

    Yields:
        Whether there is such a span.

    Raises:
        UsageError: OpenTelemetry is not installed.
    """
    context = None if header is None else TraceContext.from_text(header)
    if context is None:
        yield False
        return
    require_opentelemetry()
    from mycelium.bus.observe.tracer import Within, non_recording

    with Within(non_recording(context.to_bytes())):
        yield True
