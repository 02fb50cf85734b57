"""A client that traces: its calls in place of the untraced ones, so that those cost nothing where nobody traces."""

from collections.abc import Callable, Coroutine, Mapping
from threading import get_ident
from typing import Any, Final, final

from opentelemetry import trace as otel

from mycelium.bus.clientparts import Parts
from mycelium.bus.confirming import confirmed
from mycelium.bus.correspondence import LetterSpan
from mycelium.bus.lifeline import Lifeline
from mycelium.bus.observe import names
from mycelium.bus.observe.consuming import Consumer
from mycelium.bus.observe.facts import Attributes
from mycelium.bus.observe.publishing import Publications
from mycelium.bus.observe.tracer import Spans, current, failed, span_context, wire_context
from mycelium.bus.observe.tracing import Tracing
from mycelium.bus.options import Options
from mycelium.bus.outlet import TURN_BYTES, Outlet
from mycelium.bus.receipt import Receipt
from mycelium.bus.urls import Address
from mycelium.handle import Contracts
from mycelium.schema.classes import M, Message
from mycelium.wire.tracecontext import body_size

__all__ = ["ClientTraces"]

_TRANSPORTS: Final = {"unix": "unix"}
"""Of a URL's scheme what it is for the network; of others it is TCP."""


@final
class ClientTraces:
    """The traces of one client.

    Args:
        tracing: What the user wants.
        life: The client's connections.
        parts: What they serve.
        confirm_seconds: How long a Receipt is waited for.
        refuse: Raises where nothing may be published.
    """

    def __init__(
        self, tracing: Tracing, life: Lifeline, parts: Parts, confirm_seconds: float, refuse: Callable[[], None]
    ) -> None:
        self._spans = Spans(tracing)
        self._life = life
        self._parts = parts
        self._confirm_seconds = confirm_seconds
        self._refuse = refuse
        self._epoch = -1
        self._place: dict[str, Any] = {}
        self._publications = Publications(self._spans, self._contracts, self.place)
        parts.correspondence.current_trace = _current_trace

    def __repr__(self) -> str:
        return f"<ClientTraces of {self._life!r}>"

    def consumer(self, options: Options, topic: str | None) -> Consumer:
        """The spans of a subscription's messages."""
        return Consumer(self._spans, self._contracts, self.place, group=options.group, topic=topic)

    def place(self) -> Attributes:
        """Who this client is, and whom it is connected to."""
        life = self._life
        if life.epoch != self._epoch:
            peer = None if life.conversation is None else life.conversation.peer
            self._place = {names.CLIENT_ID: life.settings.name, **_place_of(life.address, peer)}
            self._epoch = life.epoch
        return self._place

    def calls(self) -> Mapping[str, Any]:
        """What publishes, of the client, by name, with spans around it."""
        turns = _Turns(self._publications)

        async def request(message: Message, reply: type[M], timeout: float = 2.0) -> M:
            self._refuse()
            span = turns.begin("request", message)
            ask = self._parts.correspondence.request
            if span is None:
                return await ask(message, reply, timeout)
            return await _requested(ask, message, reply, timeout, span)

        outlet, life = self._parts.outlet, self._life
        publish = _publish(turns, outlet, life, self._refuse, self._confirm_seconds)
        return {
            "publish": publish,
            "_put": _put(turns, outlet, self._refuse, self._confirm_seconds),
            "publish_nowait": _publish_nowait(turns, outlet, life, self._refuse),
            "request": request,
        }

    def _contracts(self) -> Contracts:
        contracts = self._parts.accord.contracts
        assert contracts is not None  # noqa: S101  there was a connection
        return contracts


@final
class _Turns:
    """Which publishes are offered to OpenTelemetry.

    Attributes:
        left: Publishes outside of any span up to the next one that is; 0: to be drawn.
    """

    __slots__ = ("_publications", "left")

    def __init__(self, publications: Publications) -> None:
        self.left = 0
        self._publications = publications

    def begin(self, operation: str, message: Message) -> otel.Span | None:
        """Count a publish; the span of one that is kept."""
        if not current():
            self.left = (self.left or self._publications.draw()) - 1
            if self.left:
                return None
        return self._publications.begin(operation, message)


def _publish(
    turns: _Turns, outlet: Outlet, life: Lifeline, refuse: Callable[[], None], seconds: float
) -> Callable[..., Coroutine[Any, Any, Receipt | None]]:
    """What `MyceliumClient.publish` does, and tracing.

    It is a closure that goes the untraced way by itself, since all that a message costs that is not sampled is here.
    """

    async def publish(message: Message, confirm: bool = False, mandatory: bool = False) -> Receipt | None:
        if not life.is_steady or get_ident() != life.thread:
            refuse()
        if turns.left > 1 and not current():
            turns.left -= 1
        elif (span := turns.begin("publish", message)) is not None:
            receipt = await _published(outlet, message, span, seconds, confirm=confirm, mandatory=mandatory)
            if receipt is None:
                await outlet.rest()
            return receipt
        if confirm or mandatory:
            return await confirmed(outlet, message, seconds, mandatory=mandatory)
        if outlet.is_free:
            post = outlet.post
            post(message)
            if outlet.turn_bytes >= TURN_BYTES:
                await outlet.rest()
        else:
            await outlet.publish(message)
        return None

    return publish


def _put(
    turns: _Turns, outlet: Outlet, refuse: Callable[[], None], seconds: float
) -> Callable[[Message], Coroutine[Any, Any, None]]:
    """The same of what `MyceliumClient.publish_many` does with each message."""

    async def put(message: Message) -> None:
        refuse()
        span = turns.begin("publish", message)
        if span is None:
            await outlet.put(message)
        else:
            await _published(outlet, message, span, seconds, confirm=False, mandatory=False)

    return put


def _publish_nowait(
    turns: _Turns, outlet: Outlet, life: Lifeline, refuse: Callable[[], None]
) -> Callable[[Message], None]:
    """The same of `MyceliumClient.publish_nowait`."""

    def publish_nowait(message: Message) -> None:
        if not life.is_steady or get_ident() != life.thread:
            refuse()
        span = turns.begin("publish", message)
        if span is not None:
            _published_now(outlet, message, span)
        elif outlet.is_free:
            outlet.post(message)
        else:
            outlet.publish_nowait(message)

    return publish_nowait


async def _published(
    outlet: Outlet, message: Message, span: otel.Span, seconds: float, *, confirm: bool, mandatory: bool
) -> Receipt | None:
    trace = wire_context(span)
    try:
        if confirm or mandatory:
            return await confirmed(outlet, message, seconds, mandatory=mandatory, trace=trace)
        is_free = outlet.is_free
        frame = outlet.publisher.frame(message, trace) if is_free else await outlet.admit(message, trace=trace)
        outlet.enter(frame)
        span.set_attribute(names.BODY_SIZE, body_size(frame, trace))
    except BaseException as error:
        failed(span, error)
        raise
    finally:
        span.end()
    return None


def _published_now(outlet: Outlet, message: Message, span: otel.Span) -> None:
    trace = wire_context(span)
    try:
        is_free = outlet.is_free
        frame = outlet.publisher.frame(message, trace) if is_free else outlet.admit_nowait(message, trace=trace)
        outlet.enter(frame)
        span.set_attribute(names.BODY_SIZE, body_size(frame, trace))
    except BaseException as error:
        failed(span, error)
        raise
    finally:
        span.end()


async def _requested(request: Any, message: Message, reply: type[M], timeout: float, span: otel.Span) -> M:
    letter = LetterSpan(
        wire_context(span),
        on_sent=lambda correlation: span.set_attribute(names.CONVERSATION, correlation.hex()),
        on_reply=lambda trace: _link(span, trace),
    )
    try:
        answer: M = await request(message, reply, timeout, letter)
    except BaseException as error:
        failed(span, error)
        raise
    finally:
        span.end()
    return answer


def _link(span: otel.Span, trace: bytes) -> None:
    """The reply came out of another span."""
    context = span_context(trace)
    if context is not None:
        span.add_link(context)


def _current_trace() -> bytes | None:
    return wire_context(otel.get_current_span())


def _place_of(address: Address | None, peer: object) -> dict[str, Any]:
    """Attributes of a bridge's address, and of the socket's other end."""
    if address is None:
        return {}
    network = _TRANSPORTS.get(address.scheme, "tcp")
    place: dict[str, Any] = {names.TRANSPORT: "rust" if address.is_rust else address.scheme, names.NETWORK: network}
    if network == "unix":
        return {**place, names.SERVER_ADDRESS: address.path}
    place |= {names.SERVER_ADDRESS: address.host, names.SERVER_PORT: address.port}
    if isinstance(peer, tuple):
        place |= {names.PEER_ADDRESS: peer[0], names.PEER_PORT: peer[1]}
    return place
