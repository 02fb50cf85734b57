"""Spans around what is published, and which messages get one."""

from collections.abc import Callable
from time import monotonic
from typing import final

from opentelemetry import trace as otel

from mycelium.bus.observe.facts import Facts, Place
from mycelium.bus.observe.sampling import ALWAYS_ASK, Pace, Share, share_of
from mycelium.bus.observe.tracer import Spans, current
from mycelium.handle import Contracts
from mycelium.schema.classes import Message

__all__ = ["Publications"]


@final
class Publications:
    """Begins the spans of one publisher.

    Args:
        spans: Makes them.
        contracts: Gives the publisher's contracts.
        place: Who publishes, and where.
    """

    def __init__(self, spans: Spans, contracts: Callable[[], Contracts], place: Place) -> None:
        self._spans = spans
        self._facts = {operation: Facts(operation, contracts, place) for operation in ("publish", "request")}
        most = spans.tracing.most_per_second
        self._pace = None if most is None else Pace(most)
        self._share = ALWAYS_ASK
        self._share_of: object = None

    def __repr__(self) -> str:
        return f"<Publications, {self._share!r}>"

    def draw(self) -> int:
        """How many publishes outside of any span there are up to the next one that `begin` has to be asked of."""
        share = self._current_share()
        return share.draw() if self._pace is None or share.tracer is None else share.draw() * self._pace.stride

    def begin(self, operation: str, message: Message) -> otel.Span | None:
        """The span of a message that is about to be published; None where nobody keeps it.

        Args:
            operation: `publish` or `request`.
            message: The message.
        """
        cls, chosen = type(message), None
        if not current():
            chosen = self._current_share().tracer
            if chosen is not None and self._pace is not None and not self._pace.admit(monotonic()):
                return None
        span = self._spans.start(operation, cls.__name__, self._facts[operation].of(cls), tracer=chosen)
        return span if span.is_recording() else None

    def _current_share(self) -> Share:
        tracer = self._spans.tracer
        if tracer is not self._share_of:
            self._share_of, self._share = tracer, share_of(tracer)
        return self._share
