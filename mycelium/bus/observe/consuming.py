"""Spans around what handlers and iterators do with a message."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, final

from opentelemetry import trace as otel

from mycelium.bus.delivery import Delivery, Processing
from mycelium.bus.handlers import Handler
from mycelium.bus.observe import names
from mycelium.bus.observe.facts import Attributes, Facts, Place, message_facts
from mycelium.bus.observe.tracer import (
    Context,
    Spans,
    Within,
    child_of,
    failed,
    nothing_current,
    span_context,
)
from mycelium.handle import Contracts
from mycelium.schema.classes import Message

__all__ = ["Consumer"]


@final
class Consumer:
    """Makes the spans of one subscription's messages.

    A message without a trace context has none: its publisher does not trace, or its trace is not kept.

    Args:
        spans: Makes them.
        contracts: Gives the subscriber's contracts.
        place: Attributes of who subscribes.
        group: Of the subscription.
        topic: What it follows.
    """

    def __init__(
        self, spans: Spans, contracts: Callable[[], Contracts], place: Place, *, group: str | None, topic: str | None
    ) -> None:
        self._spans = spans
        self._contracts = contracts
        given = {names.GROUP: group, names.SUBSCRIPTION: topic}
        more = {name: value for name, value in given.items() if value is not None}
        self._process_facts = Facts("process", contracts, place, more)
        self._receive_facts = Facts("receive", contracts, place, {names.SYSTEM: "mycelium", **more})

    def __repr__(self) -> str:
        return f"<Consumer of {self._spans!r}>"

    @property
    def waits(self) -> bool:
        """Whether `next` of an iterator that has to wait makes a span."""
        return self._spans.tracing.receive

    # --- handlers ---

    def bound(self, handler: Handler) -> Callable[[Delivery], Callable[[Message], Any]]:
        """For a sync handler: of a delivery what is to be called with its messages."""

        def call(delivery: Delivery, message: Message) -> Any:
            with self._process(message, delivery, is_pushed=True):
                return handler.call(message, delivery)

        def bind(delivery: Delivery) -> Callable[[Message], Any]:
            if delivery.trace is not None:
                return partial(call, delivery)
            return partial(_swapped, handler.function, delivery) if handler.takes_delivery else handler.function

        return bind

    def wrapped(self, handler: Handler) -> Handler:
        """An async handler with a span around each call."""

        async def run(message: Message, delivery: Delivery) -> None:
            with self._process(message, delivery, is_pushed=True):
                await handler.call(message, delivery)

        def call(message: Message, delivery: Delivery) -> Awaitable[None]:
            awaited: Awaitable[None] = (
                handler.call(message, delivery) if delivery.trace is None else run(message, delivery)
            )
            return awaited

        return Handler(call, takes_delivery=True, is_async=True, name=handler.name)

    # --- iterators ---

    def given(self, message: Message, delivery: Delivery) -> Delivery:
        """A delivery that an iterator gives out, which can say that its message is being processed."""
        return delivery.with_processing(lambda: Processing(self._process(message, delivery, is_pushed=False)))

    async def receive(self, destination: str, take: Awaitable[tuple[Any, Delivery]]) -> tuple[Any, Delivery]:
        """Wait for a message, in a span of its own.

        Args:
            destination: What is waited for.
            take: The wait.
        """
        span = self._spans.start("receive", destination, self._receive_facts.of(object))
        try:
            message, delivery = await take
            if span.is_recording() and isinstance(message, Message):
                span.set_attributes(message_facts(message.__mycelium__.message, self._contracts().schema))
                found = span_context(delivery.trace)
                if found is not None:
                    span.add_link(found)
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            span.end()
        return message, delivery

    # --- inside ---

    def _process(self, message: Message, delivery: Delivery, *, is_pushed: bool) -> Within:
        creation = span_context(delivery.trace)
        context = self._context(creation, is_pushed=is_pushed, is_old=delivery.retained)
        links = () if creation is None else (otel.Link(creation),)
        attributes = self._attributes(message, delivery)
        return Within(self._spans.start("process", type(message).__name__, attributes, context, links=links))

    def _context(self, creation: otel.SpanContext | None, *, is_pushed: bool, is_old: bool) -> Context | None:
        """Where the parent is from; None for what is current.

        For a handler nothing is current: what was so where it was subscribed, or where somebody publishes in this very
        process, has nothing to do with it. A last value is no part of the trace in which it was published long ago.
        """
        wanted = self._spans.tracing.parent
        is_alone = not is_old and (is_pushed or not otel.get_current_span().get_span_context().is_valid)
        if creation is not None and (wanted == "always" or (wanted == "auto" and is_alone)):
            return child_of(creation)
        return nothing_current() if is_pushed else None

    def _attributes(self, message: Message, delivery: Delivery) -> Attributes:
        attributes = self._process_facts.of(type(message))
        if delivery.publisher is None and delivery.correlation is None:
            return attributes
        more = {}
        if delivery.publisher is not None and delivery.sequence is not None:
            more[names.MESSAGE_ID] = f"{delivery.publisher}-{delivery.sequence}"
        if delivery.correlation is not None:
            more[names.CONVERSATION] = delivery.correlation.hex()
        return {**attributes, **more}


def _swapped(function: Callable[..., Any], delivery: Delivery, message: Message) -> Any:
    return function(message, delivery)
