"""Messages as an async iterator: `async for message in bus.messages(Pong)`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Self, final

from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import ClosedError
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.subscription import LocalSubscription
from mycelium.schema.classes import M

__all__ = ["Stream"]


@final
class Stream(AsyncIterator[M], Generic[M]):
    """Messages of a subscription that begins with the `async with` block, or with the first message asked for.

    The end of the block unsubscribes; without one, the subscription ends when the stream is thrown away. Several tasks
    may take messages from one stream; each message goes to one of them.
    """

    def __init__(self, begin: Callable[[], Awaitable[LocalSubscription]]) -> None:
        self._begin = begin
        self._beginning = asyncio.Lock()
        self._subscription: LocalSubscription | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Stream of {self._subscription!r}>" if self._subscription else "<Stream that has not begun>"

    async def __aenter__(self) -> Self:
        await self._begun()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        subscription = self._subscription
        if subscription is not None and (message := subscription.take()) is not None:
            return message  # type: ignore[return-value]  # as below
        try:
            return await self.next()
        except ClosedError:
            raise StopAsyncIteration from None

    def __del__(self) -> None:
        if self._subscription is not None and self._loop is not None and not self._subscription.closed:
            # The garbage collector may come at any moment and in any thread; the loop is told, which may be gone.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._subscription.close)

    async def next(self, timeout: float | None = None) -> M:
        """Take one message; a timeout or a cancelled call takes none.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            ClosedError: The stream has ended, and everything that it got has been given out.
            ConnectionLost: The same, because the connection to the bridge is gone.
        """
        subscription = self._subscription or await self._begun()
        if subscription.traces is not None and subscription.traces.waits:
            return (await self.next_delivery(timeout))[0]
        return await subscription.next(timeout)  # type: ignore[return-value]  # it has messages of these types only

    async def next_delivery(self, timeout: float | None = None) -> tuple[M, Delivery]:
        """Take one message with what can be known about it beside its fields; see `next` for errors."""
        subscription = self._subscription or await self._begun()
        traces = subscription.traces
        taking: Awaitable[Any] = subscription.next_delivery(timeout)
        if traces is not None and traces.waits and not subscription.is_ready:
            taking = traces.receive(" ".join(subscription.types), taking)
        message, delivery = await taking
        return message, delivery if traces is None or delivery.trace is None else traces.given(message, delivery)

    async def deliveries(self) -> AsyncIterator[tuple[M, Delivery]]:
        """Messages, each with what can be known about it: `async for message, delivery in stream.deliveries()`.

        Its body may say that it processes the message, `with delivery.process():`, which is a span where somebody
        traces. With `gaps=True` a Gap comes with a delivery that knows nothing.
        """
        while True:
            try:
                given = await self.next_delivery()
            except ClosedError:
                return
            yield given

    def stats(self) -> SubscriptionStats:
        """The counters of the subscription.

        Raises:
            ClosedError: It has not begun yet.
        """
        if self._subscription is None:
            raise ClosedError("the stream has not begun; enter its block or take a message first")
        return self._subscription.stats()

    async def aclose(self) -> None:
        """End the subscription. May be called twice."""
        self._closed = True
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def _begun(self) -> LocalSubscription:
        async with self._beginning:  # two callers, one subscription
            if self._subscription is None:
                if self._closed:
                    raise ClosedError("the stream is closed; ask for another one")
                self._loop = asyncio.get_running_loop()
                self._subscription = await self._begin()
                await self._end_if_closed(self._subscription)
            return self._subscription

    async def _end_if_closed(self, subscription: LocalSubscription) -> None:
        """Somebody may have closed the stream while it was beginning."""
        if self._closed:
            await subscription.unsubscribe()
