"""Messages as an async iterator: `async for message in bus.messages(Pong)`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar, final

from mycelium.bus.errors import ClosedError
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.subscription import LocalSubscription
from mycelium.schema.classes import Message

__all__ = ["Stream"]

M = TypeVar("M", bound=Message)


@final
class Stream(AsyncIterator[M], Generic[M]):
    """Messages of a subscription that begins with the `async with` block, or with the first message asked for.

    The end of the block unsubscribes; without one, the subscription ends when the stream is thrown away.
    """

    def __init__(self, begin: Callable[[], Awaitable[LocalSubscription]]) -> None:
        self._begin = begin
        self._subscription: LocalSubscription | None = None

    def __repr__(self) -> str:
        return f"<Stream of {self._subscription!r}>"

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
        return await self.next()

    def __del__(self) -> None:
        if self._subscription is not None:
            self._subscription.close()

    async def next(self, timeout: float | None = None) -> M:
        """Take one message; a timeout or a cancelled call takes none.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            StopAsyncIteration: The subscription has ended, and everything it got has been given out.
        """
        return await (await self._begun()).next(timeout)  # type: ignore[return-value]  # it has messages of these types only

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
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def _begun(self) -> LocalSubscription:
        if self._subscription is None:
            self._subscription = await self._begin()
        return self._subscription
