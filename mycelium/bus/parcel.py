"""A message on its way out that is not just a frame: parts of it are known only when it is handed to the socket."""

from collections.abc import Callable
from struct import Struct
from typing import Final, final

from mycelium.wire.frames import HEADER, TYPE_ID_SIZE
from mycelium.wire.metadata import CORRELATION, DELIVER_TO, ORIGIN, PUBLISHED_AT, REPLY_TO

__all__ = ["LETTER_BYTES", "PLAIN", "STAMP_BYTES", "Parcel", "Stamp"]

_STAMP: Final = Struct("<HIQHIQQ")
_LETTER: Final = Struct("<HI16sHIQ")
STAMP_BYTES: Final = _STAMP.size
"""What a stamped message carries more: time of publication, session and sequence."""
LETTER_BYTES: Final = _LETTER.size
"""What a request or a reply carries more: what ties them, and the session that asks."""


@final
class Stamp:
    """What a frame carries beside its message.

    Session and sequence belong to the connection that a frame goes through, which may be another one than there was
    when it was published.

    Args:
        published_at: Nanoseconds since the Unix epoch, for a client that stamps its messages; None for others.
        correlation: Of a request or a reply.
        asks: Whether it is a request; else it is a reply, if there is a correlation id.
        deliver_to: The session that has asked, for a reply.
    """

    __slots__ = ("_asks", "_correlation", "_published_at", "deliver_to", "size")

    def __init__(
        self,
        published_at: int | None = None,
        correlation: bytes | None = None,
        *,
        asks: bool = False,
        deliver_to: int | None = None,
    ) -> None:
        self.deliver_to = deliver_to
        self._asks = asks
        self._published_at = published_at
        self._correlation = correlation
        self.size = (0 if published_at is None else STAMP_BYTES) + (0 if correlation is None else LETTER_BYTES)

    def encode(self, session: int, sequence: int) -> bytes:
        """The metadata of a frame that is the connection's `sequence`-th."""
        metadata, at = b"", self._published_at
        if at is not None:
            metadata = _STAMP.pack(PUBLISHED_AT, 8, at, ORIGIN, 16, session, sequence)
        if self._correlation is not None:
            whose = (REPLY_TO, 8, session) if self._asks else (DELIVER_TO, 8, self.deliver_to)
            metadata += _LETTER.pack(CORRELATION, 16, self._correlation, *whose)
        return metadata


PLAIN: Final = Stamp()
"""Of a message that carries nothing beside its fields."""


@final
class Parcel:
    """A frame that waits to be handed to the socket, and who is told of what becomes of it.

    Args:
        frame: The frame without its metadata.
        stamp: What it carries beside.
        is_confirmed: Whether somebody waits for its Receipt.
        on_handed: Called when it has been handed to the socket, with its number among the confirmed.
        on_dropped: Called with the reason when it is dropped, and so will never be sent.

    Attributes:
        frame: See above.
        size: Bytes, metadata included.
        since: When it began to wait, in seconds of a monotonic clock.
        is_confirmed: See above.
        on_handed: See above.
        on_dropped: See above.
        is_handed: Whether it has been handed to the socket, and is none of the client's business any more.
    """

    __slots__ = ("frame", "is_confirmed", "is_handed", "on_dropped", "on_handed", "since", "size", "stamp")

    def __init__(
        self,
        frame: bytes,
        stamp: Stamp,
        *,
        is_confirmed: bool = False,
        on_handed: Callable[[int], object] | None = None,
        on_dropped: Callable[[str], object] | None = None,
    ) -> None:
        self.frame = frame
        self.stamp = stamp
        self.size = len(frame) + stamp.size
        self.since = 0.0
        self.is_handed = False
        self.is_confirmed = is_confirmed
        self.on_handed = on_handed
        self.on_dropped = on_dropped

    def __repr__(self) -> str:
        return f"<Parcel of {self.size} bytes>"

    @property
    def is_reply(self) -> bool:
        """Whether it passes no queue, so that no Flow holds it up."""
        return self.stamp.deliver_to is not None

    def seal(self, session: int, sequence: int) -> bytes:
        """The whole frame, for the connection that it goes through."""
        if not self.stamp.size:
            return self.frame
        metadata = self.stamp.encode(session, sequence)
        _, type_id = HEADER.unpack_from(self.frame)
        length = TYPE_ID_SIZE + self.size - HEADER.size
        return b"".join((HEADER.pack(length, type_id), self.frame[HEADER.size :], metadata))
