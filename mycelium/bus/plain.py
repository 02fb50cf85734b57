"""Plain functions as handlers of a client whose event loop runs in another thread."""

import functools
import inspect
from typing import Any, Self, final

from attrs import field, frozen

from mycelium.bus.delivery import Delivery, Processing
from mycelium.bus.errors import UsageError
from mycelium.bus.handlers import Handler, HandlerFunction, describe
from mycelium.bus.hands import Hands
from mycelium.bus.loopthread import LoopThread
from mycelium.schema.classes import Message

__all__ = ["SyncDelivery", "plain_handler"]


@final
@frozen
class SyncDelivery:
    """What a handler can know about a message beside its fields: `mycelium.Delivery` with a reply that blocks."""

    publisher: int | None
    """The publisher's session; 0 is the bridge's own process; None unless the publisher's client stamps its messages,
    and so for the next two."""
    sequence: int | None
    """The message's number among those of its publisher's connection, from 1."""
    published_at: int | None
    """Nanoseconds since the Unix epoch, by the publisher's clock."""
    trace: bytes | None
    """W3C trace context, 26 bytes: version u8, trace id 16, parent span id 8, flags u8."""
    traceparent: str | None
    """The same as a `traceparent` header, for where the message crosses into another system."""
    retained: bool
    """Whether this is a last value from before the subscription."""
    is_request: bool
    """Whether somebody waits for a reply."""
    _delivery: Delivery = field(repr=False)
    _thread: LoopThread = field(repr=False)

    @classmethod
    def of(cls, delivery: Delivery, thread: LoopThread) -> Self:
        """The same for a thread that is not the loop's."""
        return cls(
            delivery.publisher,
            delivery.sequence,
            delivery.published_at,
            delivery.trace,
            delivery.traceparent,
            delivery.retained,
            delivery.is_request,
            delivery,
            thread,
        )

    def process(self) -> Processing:
        """A block in which the message is processed, a span of its own where somebody traces.

        For what an iterator gave out with its delivery; a handler is in such a block already, and gets one that does
        nothing.
        """
        return self._delivery.process()

    def reply(self, message: Message) -> None:
        """Answer a request. The requester takes the first answer; one that comes too late is dropped and counted.

        Raises:
            UsageError: The message was no request.
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
            BufferFull: The send buffer is full.
            ConnectionLost: The connection to the bridge is gone, and there is no buffer to wait in for another one.
            ClosedError: The client is closed.
        """
        self._thread.run(lambda: self._delivery.reply(message))


def plain_handler(function: HandlerFunction, hands: Hands, thread: LoopThread) -> HandlerFunction:
    """An async handler, with the name and the annotations of a plain function, that calls it in another thread.

    Raises:
        UsageError: The function is async, or takes no message.
    """
    handler = describe(function)
    if handler.is_async:
        raise UsageError(
            f"{handler.name} is async, and a synchronous client has no loop to run it in; write it with plain `def`, "
            "or use mycelium.MyceliumClient"
        )

    async def call(message: Message, *delivery: Delivery) -> Any:
        return await hands.call(_called, handler, message, *(SyncDelivery.of(one, thread) for one in delivery))

    functools.update_wrapper(call, function, assigned=(), updated=())
    call.__qualname__ = handler.name
    return call


def _called(handler: Handler, *args: Any) -> Any:
    result = handler.function(*args)
    if inspect.iscoroutine(result):
        result.close()
        raise UsageError(f"{handler.name} gave a coroutine, which nobody awaits here; use mycelium.MyceliumClient")
    return result
