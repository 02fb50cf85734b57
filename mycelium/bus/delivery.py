"""What a handler can know about a message beside its fields."""

from attrs import frozen

from mycelium.wire.metadata import Metadata

__all__ = ["LOCAL", "Delivery"]


@frozen
class Delivery:
    """The context of one delivered message, for handlers that take a second parameter.

    Over a socket everything but `retained` is None unless the publisher asked for it to be sent along.
    """

    publisher: int | None = None
    """The publisher's session; 0 is the bridge's own process."""
    sequence: int | None = None
    """The message's number among those of its publisher's connection, from 1."""
    published_at: int | None = None
    """Nanoseconds since the Unix epoch, by the publisher's clock."""
    trace: bytes | None = None
    """W3C trace context, 26 bytes: version u8, trace id 16, parent span id 8, flags u8."""
    retained: bool = False
    """Whether this is a last value from before the subscription."""

    @classmethod
    def of(cls, tags: dict[int, bytes]) -> "Delivery":
        """The context that a payload's envelope metadata describes."""
        metadata = Metadata.from_tags(tags)
        session, sequence = metadata.origin or (None, None)
        return cls(session, sequence, metadata.published_at, metadata.trace)


LOCAL = Delivery()
"""Of a message that carries no metadata."""
