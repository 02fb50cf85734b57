"""What a user wants of traces: which provider, and whose child the processing of a message is."""

import importlib
from typing import Any, Final, Literal, TypeAlias

import attrs
from attrs import frozen

from mycelium.bus.errors import UsageError

__all__ = ["Parent", "Tracing", "require_opentelemetry"]

Parent: TypeAlias = Literal["auto", "always", "never"]
_PARENTS: Final = ("auto", "always", "never")


def _known(_: Any, __: "attrs.Attribute[Any]", value: Any) -> None:
    if value not in _PARENTS:
        raise UsageError(f"a parent of {value!r} makes no sense; take one of {', '.join(_PARENTS)}")


def _positive(_: Any, __: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and not value > 0:
        raise UsageError(f"{value!r} traces a second make no sense; give more than 0, or None for no limit")


def require_opentelemetry() -> None:
    """Raise where nobody can trace.

    Raises:
        UsageError: OpenTelemetry's API is not installed.
    """
    try:
        importlib.import_module("opentelemetry.trace")
    except ImportError as error:
        raise UsageError("traces need opentelemetry-api; `pip install 'mycelium-py[otel]'`") from error


@frozen
class Tracing:
    """How a bus or a client traces; `tracing=True` is `Tracing()`.

    Attributes:
        provider: A TracerProvider of OpenTelemetry; None for the one that is configured for the process.
        parent: Whose child a process span is. `auto`: of the span that is current around `delivery.process()`, else of
            the publish span; `always`: of the publish span; `never`: of the current span or nobody. It has a link to
            the publish span in any case.
        receive: Whether a `next` of an iterator that has to wait makes a span of its own.
        most_per_second: Traces that a client or bus begins in a second, where the sampler keeps a share of them: a
            share of hundreds of thousands of messages is more than anybody looks at, and costs more than the messages.
            None for as many as the sampler says, which also holds where it keeps all.

    Raises:
        UsageError: There is no such `parent`, or `most_per_second` is not above 0.
    """

    provider: Any = None
    parent: Parent = attrs.field(default="auto", validator=_known)
    receive: bool = False
    most_per_second: float | None = attrs.field(default=100.0, validator=_positive)
