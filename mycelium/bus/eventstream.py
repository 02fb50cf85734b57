"""Events to whoever asks for them: a bounded queue each, so that nobody who does not read costs anything."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Self, TypeAlias, final
from weakref import WeakSet

from mycelium.events import Event

__all__ = ["EventStream", "Events"]

_MOST: Final = 1024
"""Events that wait for a reader; over it the oldest is dropped."""
Listener: TypeAlias = Callable[[Event], object]


@final
class Events:
    """Where events are told, and from where readers get them.

    Attributes:
        listener: Who is told each event at once; None for nobody.
    """

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._streams: WeakSet[EventStream] = WeakSet()

    def tell(self, event: Event) -> None:
        """Give an event to every reader."""
        if self.listener is not None:
            self.listener(event)
        for stream in list(self._streams):
            stream.put(event)

    def stream(self) -> "EventStream":
        """A reader that gets every event from now on."""
        stream = EventStream()
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Let every reader come to its end."""
        for stream in list(self._streams):
            stream.close()


@final
class EventStream(AsyncIterator[Event]):
    """Events as an async iterator; it ends when what they are about is closed."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MOST)
        self._there = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self.next()

    async def next(self, timeout: float | None = None) -> Event:
        """Take one event.

        Raises:
            TimeoutError: None came within `timeout` seconds.
            StopAsyncIteration: There will be no more.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._events:
                    if self._closed:
                        raise StopAsyncIteration
                    self._there.clear()
                    await self._there.wait()
        except TimeoutError:
            raise TimeoutError(f"no event came within {timeout or 0:g} s") from None
        return self._events.popleft()

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        self._there.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._there.set()
