"""Many messages, published one after the other in a single call."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias, final

from mycelium.bus.errors import UsageError
from mycelium.bus.outlet import TURN_BYTES, Outlet
from mycelium.schema.classes import Message

__all__ = ["Many", "several"]

_Publish: TypeAlias = Callable[[Message], Awaitable[object]]


@final
class Many:
    """One call of `publish_many`.

    Args:
        publish: Publishes a message, and waits where it has to.
        outlet: Where those that follow one go at once, as long as none has to wait; None: each is published by itself.
        done: How many were published before.

    Attributes:
        done: How many are published.
    """

    def __init__(self, publish: _Publish, outlet: Outlet | None = None, done: int = 0) -> None:
        self.done = done
        self._publish = publish
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
        source, outlet = several(messages), self._outlet
        try:
            for message in source:
                await self._publish(message)
                self.done += 1
                if outlet is not None and outlet.is_free:
                    self._post(outlet, source)
                    await outlet.rest()
        except BaseException as error:
            error.add_note(f"{self.done} messages of publish_many() were published before that")
            raise
        return self.done

    def _post(self, outlet: Outlet, messages: Iterator[Message]) -> None:
        """What `Outlet.post` does, written out for all messages up to the end of a turn: each call would be felt."""
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
                    break
        finally:
            self.done += count
            outlet.posted(size)


def several(messages: object) -> Iterator[Message]:
    """An iterator over messages.

    Raises:
        UsageError: They cannot be iterated over.
    """
    if isinstance(messages, Iterable):
        return iter(messages)
    kind = type(messages).__name__
    raise UsageError(f"publish_many() takes an iterable of messages, not {kind}; publish() takes a single one")
