"""Many messages, published one after the other in a single call."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final, TypeAlias, final

from mycelium.bus.errors import UsageError
from mycelium.bus.outlet import TURN_BYTES, Outlet
from mycelium.schema.classes import Message
from mycelium.wire.frames import HEADER

__all__ = ["Many", "iterator_of", "note"]

_Put: TypeAlias = Callable[[Message], Awaitable[object]]
_Rest: TypeAlias = Callable[[], Awaitable[object]]
_FEW: Final = 64
"""Messages that are published one by one before it is tried again whether many of a class follow each other."""


@final
class Many:
    """One call of `publish_many`.

    Args:
        put: Publishes a message, and waits for nothing behind it.
        rest: Gives the others a turn, if it is time.
        outlet: Where messages that follow one go at once, as long as none has to wait; None: each by `put`.

    Attributes:
        done: How many are published.
    """

    def __init__(self, put: _Put, rest: _Rest, outlet: Outlet | None = None) -> None:
        self.done = 0
        self._put = put
        self._rest = rest
        self._outlet = outlet

    def __repr__(self) -> str:
        return f"<Many, {self.done} published>"

    async def run(self, messages: Iterable[Message]) -> int:
        """Publish messages in their order; whatever is raised carries a note that says how many were published before.

        Returns:
            `done`.

        Raises:
            UsageError: `messages` cannot be iterated over.
        """
        source, outlet = iterator_of(messages), self._outlet
        try:
            for message in source:
                await self._put(message)
                self.done += 1
                if outlet is not None and outlet.is_free and self._post(outlet, message, source):
                    break
                await self._rest()
        except BaseException as error:
            error.add_note(note(self.done))
            raise
        return self.done

    def _post(self, outlet: Outlet, last: Message, messages: Iterator[Message]) -> bool:
        """Publish messages up to the end of a turn: in one call those of a class, and where they vary one by one.

        Args:
            outlet: Where they go.
            last: The message before.
            messages: What comes behind it.

        Returns:
            Whether there are no more of them.
        """
        post, latest = outlet.post, last
        while outlet.turn_bytes < TURN_BYTES:
            left = self._run(outlet, latest, messages)
            if left is None:
                return True
            if outlet.turn_bytes >= TURN_BYTES:
                break
            before = self.done
            for message in chain(left, islice(messages, _FEW)):
                post(message)
                self.done += 1
                if outlet.turn_bytes >= TURN_BYTES:
                    return False
                latest = message
            if self.done - before < len(left) + _FEW:
                return True
        return False

    def _run(self, outlet: Outlet, last: Message, messages: Iterator[Message]) -> tuple[Message, ...] | None:
        """Publish messages of the same class as the last one, and return what `Codec.publish_run` does."""
        publisher = outlet.publisher
        run = publisher.runner(last)
        if run is None:
            return ()

        def done(count: int, size: int) -> None:
            self.done += count
            outlet.count(size)

        room, most = TURN_BYTES - outlet.turn_bytes, publisher.max_payload + HEADER.size
        return run(messages, outlet.buffer.put, done, room, most, publisher.lineage, publisher.registry)


def note(done: int) -> str:
    """What an error says of the messages before it."""
    return f"publish_many() had published {done} before this"


def iterator_of(messages: object) -> Iterator[Message]:
    """An iterator over messages.

    Raises:
        UsageError: They cannot be iterated over.
    """
    if isinstance(messages, Iterable):
        return iter(messages)
    if hasattr(messages, "__aiter__"):
        raise UsageError(
            "publish_many() takes no async iterator; write `async for message in …: await publish(message)`"
        )
    kind = type(messages).__name__
    raise UsageError(f"publish_many() takes an iterable of messages, not {kind}; publish() takes a single one")
