"""Where bus and client ask for what can be seen of them; what they do not ask for is not imported."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mycelium.bus.clientparts import Parts
    from mycelium.bus.exchange import Exchange
    from mycelium.bus.lifeline import Lifeline
    from mycelium.bus.observe.bridge import BusTraces
    from mycelium.bus.observe.client import ClientTraces
    from mycelium.bus.observe.consuming import Consumer
    from mycelium.bus.observe.tracing import Tracing

__all__ = ["ConsumerTraces", "TracingChoice", "bus_traces", "client_traces"]

ConsumerTraces: TypeAlias = "Consumer"
"""Makes the spans of a subscription's messages."""
TracingChoice: TypeAlias = "Tracing | bool | None"
"""What bus and client take: True for the defaults, None or False for no traces."""


def bus_traces(choice: TracingChoice, exchange: "Exchange") -> "BusTraces | None":
    """What traces a bus; None where nobody traces.

    Raises:
        UsageError: It makes no sense, or OpenTelemetry is not installed.
    """
    tracing = chosen(choice)
    if tracing is None:
        return None
    from mycelium.bus.observe.bridge import BusTraces

    return BusTraces(tracing, exchange)


def client_traces(
    choice: TracingChoice, life: "Lifeline", parts: "Parts", confirm_seconds: float, refuse: Callable[[], None]
) -> "ClientTraces | None":
    """What traces a client; None where nobody traces.

    Raises:
        UsageError: It makes no sense, or OpenTelemetry is not installed.
    """
    tracing = chosen(choice)
    if tracing is None:
        return None
    from mycelium.bus.observe.client import ClientTraces

    return ClientTraces(tracing, life, parts, confirm_seconds, refuse)


def chosen(choice: TracingChoice) -> "Tracing | None":
    """What the user wants of traces; None for none.

    Raises:
        UsageError: It makes no sense, or OpenTelemetry is not installed.
    """
    if choice is None or choice is False:
        return None
    from mycelium.bus.errors import UsageError
    from mycelium.bus.observe.tracing import Tracing, require_opentelemetry

    wanted = Tracing() if choice is True else choice
    if not isinstance(wanted, Tracing):
        raise UsageError(
            f"tracing={choice!r} makes no sense; write tracing=True or tracing=mycelium.tracing.Tracing(…)"
        )
    require_opentelemetry()
    return wanted
