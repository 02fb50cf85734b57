"""A bus and its bridge that trace: what is published here, what is routed for socket clients, and reloads."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

from opentelemetry import trace as otel

from mycelium.bus.exchange import Exchange, Published
from mycelium.bus.fate import Fate
from mycelium.bus.holds import Hold
from mycelium.bus.observe import names
from mycelium.bus.observe.consuming import Consumer
from mycelium.bus.observe.facts import Attributes, Facts
from mycelium.bus.observe.publishing import Publications
from mycelium.bus.observe.tracer import (
    Spans,
    child_of,
    current,
    failed,
    span_context,
    wire_context,
)
from mycelium.bus.observe.tracing import Tracing
from mycelium.bus.offering import Origin
from mycelium.bus.options import Options
from mycelium.bus.plan import Plan
from mycelium.bus.receipts import decision_of
from mycelium.bus.reload import Change
from mycelium.bus.routing import asked
from mycelium.handle import Contracts
from mycelium.schema.classes import M, Message
from mycelium.wire.batches import carrying_trace
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import DecodeError
from mycelium.wire.metadata import ORIGIN, TRACE, Metadata

__all__ = ["BusTraces"]

_HERE: Final[Attributes] = {names.TRANSPORT: "local"}
_NOWHERE: Final[Attributes] = {}


@final
class BusTraces:
    """The traces of one bus.

    Args:
        tracing: What the user wants.
        exchange: Where its messages are routed.
    """

    def __init__(self, tracing: Tracing, exchange: Exchange) -> None:
        self._spans = Spans(tracing)
        self._exchange = exchange
        self._publications = Publications(self._spans, self._contracts, _here)
        self._facts = Facts("route", self._contracts, _nowhere)
        self._route_batch = exchange.publish_batch
        vars(exchange).update(publish_batch=self._routed)  # in its place, so that those who do not trace pay nothing
        exchange.answers.current_trace = _current_trace

    def __repr__(self) -> str:
        return f"<BusTraces of {self._exchange!r}>"

    def consumer(self, options: Options, topic: str | None) -> Consumer:
        """The spans of a subscription's messages."""
        return Consumer(self._spans, self._contracts, _here, group=options.group, topic=topic)

    @contextmanager
    def reload(self) -> Iterator[Callable[[Change], object]]:
        """The span of a reload, which is told what became of it."""
        with self._spans.reload() as span:

            def tell(change: Change) -> None:
                schema = self._exchange.registry.schema
                facts = {names.SCHEMA_ID: schema.id, names.SCHEMA_VERSION: schema.version}
                span.set_attributes({**facts, names.SCHEMA_DIGEST: schema.digest})
                if change.refused:
                    span.set_attribute(names.ERROR_TYPE, change.outcome)
                    span.set_status(otel.StatusCode.ERROR)

            yield tell

    # --- what is published here ---

    def plan(self, plain: Plan, traced: Callable[[Message, float | None, bytes | None], Published]) -> Plan:
        """A plan that makes spans.

        Args:
            plain: What is done with a message that nobody keeps a span of.
            traced: What is done with the others, whose context comes with them.
        """
        publications = self._publications
        left = 0

        def publish(message: Message, seconds: float | None) -> Published | None:
            nonlocal left
            if not current():
                left = (left or publications.draw()) - 1
                if left:
                    return plain(message, seconds)
            span = publications.begin("publish", message)
            if span is None:
                return plain(message, seconds)
            return _published(span, lambda: traced(message, seconds, wire_context(span)))

        return publish

    async def request(self, message: Message, reply: type[M], timeout: float) -> M:
        """Publish a request, and wait for the first reply, as `MessageBus.request` does."""
        span = self._publications.begin("request", message)
        if span is None:
            return await asked(self._exchange, message, reply, timeout)
        try:
            return await asked(self._exchange, message, reply, timeout, wire_context(span))
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            span.end()

    # --- what is routed ---

    def _routed(self, batch: Batch, origin: Origin, deadline: float | None, *, exactly: bool = False) -> list[Fate]:
        """What `Exchange.publish_batch` does, with a span for each frame whose publisher has sampled it."""
        traced = carrying_trace(batch)
        if not traced:
            return self._route_batch(batch, origin, deadline, exactly=exactly)
        began = time.time_ns()
        fates = self._route_batch(batch, origin, deadline, exactly=exactly)
        for index in traced:
            tags = self._tags(batch, index)
            creation = span_context(tags.get(TRACE))
            if creation is not None and creation.trace_flags.sampled:
                attributes = self._route_facts(batch.type_ids[index], tags, origin, _fate_of(fates, index))
                destination, context = attributes[names.DESTINATION], child_of(creation)
                self._spans.start("route", destination, attributes, context, start_time=began).end()
        return fates

    def _tags(self, batch: Batch, index: int) -> Mapping[int, bytes]:
        """The metadata of a frame, which its session has checked just now."""
        try:
            return self._exchange.registry.by_id[batch.type_ids[index]].codec.verify(batch.payload(index))
        except (KeyError, DecodeError):  # by contracts that have been replaced since
            return {}

    def _route_facts(
        self, type_id: int, tags: Mapping[int, bytes], origin: Origin, fate: Fate | None
    ) -> dict[str, Any]:
        attributes = {**self._facts.of(self._exchange.registry.by_id[type_id].cls), **_place_of(origin)}
        if ORIGIN in tags and (whose := Metadata.from_tags({ORIGIN: tags[ORIGIN]}).origin) is not None:
            attributes[names.MESSAGE_ID] = f"{whose[0]}-{whose[1]}"
        if fate is not None:  # else it waits behind the delivery that it was published from
            decision = decision_of(0, 0, fate.matched, fate.troubles)
            attributes |= {names.RECEIVERS: decision.enqueued, names.DROPPED: decision.dropped}
        return attributes

    def _contracts(self) -> Contracts:
        return self._exchange.contracts


def _published(span: otel.Span, publish: Callable[[], Published]) -> Published:
    """Publish, and end the span when everybody has taken the message or not."""
    try:
        matched, troubles = publish()
    except BaseException as error:
        failed(span, error)
        span.end()
        raise
    undecided = sum(isinstance(one, Hold) for one in troubles)

    def settle() -> None:
        nonlocal undecided
        undecided -= 1
        if undecided <= 0:
            decision = decision_of(0, 0, matched, tuple(troubles))
            span.set_attributes({names.RECEIVERS: decision.enqueued, names.DROPPED: decision.dropped})
            if decision.code is not None:
                span.set_attribute(names.ERROR_TYPE, decision.code.reason)
                span.set_status(otel.StatusCode.ERROR)
            span.end()

    if not undecided:
        settle()
    for one in troubles:
        if isinstance(one, Hold):
            one.when_decided(settle)
    return matched, troubles


def _fate_of(fates: list[Fate], index: int) -> Fate | None:
    return next((one for one in fates if one.start <= index < one.stop), None)


def _place_of(origin: Origin) -> dict[str, Any]:
    """Attributes of the client that a frame is from."""
    transport, peer = origin.log.place
    place: dict[str, Any] = {names.CLIENT_ID: origin.log.client}
    if transport is None or peer is None:
        return place
    place[names.TRANSPORT] = transport
    host, _, port = peer.rpartition(":")
    if not host:  # a user behind a Unix socket
        return {**place, names.NETWORK: "unix"}
    return {**place, names.NETWORK: "tcp", names.PEER_ADDRESS: host.strip("[]"), names.PEER_PORT: int(port)}


def _here() -> Attributes:
    return _HERE


def _nowhere() -> Attributes:
    return _NOWHERE


def _current_trace() -> bytes | None:
    return wire_context(otel.get_current_span())
