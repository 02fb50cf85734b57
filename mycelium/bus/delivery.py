"""What a handler can know about a message beside its fields."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, final

from attrs import evolve, field, frozen

from mycelium.bus.errors import UsageError
from mycelium.schema.classes import Message
from mycelium.wire.metadata import Metadata
from mycelium.wire.tracecontext import TraceContext

__all__ = ["LOCAL", "Delivery", "Processing"]


@final
class Processing:
    """The time in which a message is processed, as a block: `with delivery.process():`, or with `async with`.

    Args:
        span: What begins and ends with it; None where nobody traces.
    """

    __slots__ = ("_span",)

    def __init__(self, span: AbstractContextManager[Any] | None = None) -> None:
        self._span = span

    def __enter__(self) -> None:
        if self._span is not None:
            self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None:
            self._span.__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


@frozen
class Delivery:
    """The context of one delivered message, for handlers that take a second parameter.

    Over a socket `publisher`, `sequence` and `published_at` are None unless the publisher's client stamps its messages.
    """

    publisher: int | None = None
    """The publisher's session; 0 is the bridge's own process."""
    sequence: int | None = None
    """The message's number among those of its publisher's connection, from 1; of the bridge's own process one that is
    larger than that of every message before."""
    published_at: int | None = None
    """Nanoseconds since the Unix epoch, by the publisher's clock."""
    trace: bytes | None = None
    """W3C trace context, 26 bytes: version u8, trace id 16, parent span id 8, flags u8."""
    retained: bool = False
    """Whether this is a last value from before the subscription."""
    send_reply: Callable[[Message], object] | None = field(default=None, eq=False, repr=False)
    """Sends an answer to whoever asked; None for a message that is no request."""
    correlation: bytes | None = field(default=None, repr=False)
    """What ties a request to its reply, 16 bytes; None for a message that is no request."""
    _processing: Callable[[], Processing] | None = field(default=None, eq=False, repr=False)

    @property
    def is_request(self) -> bool:
        """Whether somebody waits for a reply."""
        return self.send_reply is not None

    @property
    def traceparent(self) -> str | None:
        """The trace context as a `traceparent` header, for where the message crosses into another system."""
        context = None if self.trace is None else TraceContext.from_bytes(self.trace)
        return None if context is None else context.to_text()

    def process(self) -> Processing:
        """A block in which the message is processed, a span of its own where somebody traces.

        For what an iterator gave out with its delivery; a handler is in such a block already, and gets one that does
        nothing.
        """
        return Processing() if self._processing is None else self._processing()

    def with_processing(self, processing: Callable[[], Processing]) -> "Delivery":
        """The same, with what `process` gives."""
        return evolve(self, processing=processing)

    async def reply(self, message: Message) -> None:
        """Answer a request. The requester takes the first answer; one that comes too late is dropped and counted.

        Raises:
            UsageError: The message was no request.
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
            BufferFull: The send buffer is full.
            ConnectionLost: The connection to the bridge is gone, and there is no buffer to wait in for another one.
            ClosedError: The client is closed.
        """
        if self.send_reply is None:
            raise UsageError("nobody waits for a reply to this message; it was published, not requested")
        self.send_reply(message)

    def as_retained(self) -> "Delivery":
        """The same of a last value; nobody waits for a reply to it."""
        return evolve(self, retained=True, send_reply=None, correlation=None)

    @classmethod
    def now(
        cls,
        publisher: int,
        sequence: int,
        send_reply: Callable[[Message], object] | None = None,
        *,
        trace: bytes | None = None,
        correlation: bytes | None = None,
    ) -> "Delivery":
        """The context of a message that is published in this process at this moment."""
        return cls(publisher, sequence, time.time_ns(), trace, send_reply=send_reply, correlation=correlation)

    @classmethod
    def of(cls, metadata: Metadata, send_reply: Callable[[Message], object] | None = None) -> "Delivery":
        """The context that a payload's envelope metadata describes."""
        session, sequence = metadata.origin or (None, None)
        return cls(
            session,
            sequence,
            metadata.published_at,
            metadata.trace,
            send_reply=send_reply,
            correlation=metadata.correlation,
        )


LOCAL = Delivery()
"""Of a message that carries no metadata."""
