"""Many messages, published one after the other in a single call."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias, final

from mycelium.bus.errors import UsageError
from mycelium.bus.outlet import TURN_BYTES, Outlet
from mycelium.schema.classes import Message

__all__ = ["Many", "iterator_of", "note"]

_Put: TypeAlias = Callable[[Message], Awaitable[object]]
_Rest: TypeAlias = Callable[[], Awaitable[object]]


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
                if outlet is not None and outlet.is_free and self._post(outlet, source):
                    break
                await self._rest()
        except BaseException as error:
            error.add_note(note(self.done))
            raise
        return self.done

    def _post(self, outlet: Outlet, messages: Iterator[Message]) -> bool:
        """What `Outlet.post` does, written out for all messages up to the end of a turn: each call would be felt.

        Returns:
            Whether there are no more of them.
        """
        publisher, put, most = outlet.publisher, outlet.buffer.put, TURN_BYTES - outlet.turn_bytes
        lineage, framers, max_payload = publisher.lineage, publisher.framers, publisher.max_payload
        count = size = 0
        try:
            for message in messages:
                if lineage.current is not publisher.registry:
                    publisher.keep_up()
                try:
                    make = framers[message.__class__]
                except KeyError:
                    make = publisher.framer(message)
                frame = make(message)
                length = len(frame)
                if length > max_payload:
                    publisher.refuse_large(frame, message.__class__.__name__)
                put(frame)
                count += 1
                size += length
                if size >= most:
                    return False
        finally:
            self.done += count
            outlet.count(size)
        return True


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
