"""A message on its way out that is not just a frame: parts of it are known only when it is handed to the socket."""

from collections.abc import Callable
from struct import Struct
from typing import Final, final

from attrs import evolve

from mycelium.wire.frames import HEADER, TYPE_ID_SIZE
from mycelium.wire.metadata import Metadata

__all__ = ["Parcel", "Stamp"]

_STAMP: Final = Struct("<HIQHIQQ")
_PUBLISHED_AT: Final = 0xFF02
_ORIGIN: Final = 0xFF03
_NUMBERED: Final = (1 << 64) - 1
"""Stands for numbers that are not known yet; all have the same length."""


@final
class Stamp:
    """What a frame carries beside its message.

    Session and sequence belong to the connection that a frame goes through, which may be another one than there was
    when it was published.

    Args:
        published_at: Nanoseconds since the Unix epoch, for a client that stamps its messages; None for others.
        correlation: Of a request or a reply.
        asks: Whether it is a request.
        deliver_to: The session that has asked, for a reply.
    """

    __slots__ = ("_metadata", "_published_at", "asks", "deliver_to", "size")

    def __init__(
        self,
        published_at: int | None = None,
        correlation: bytes | None = None,
        *,
        asks: bool = False,
        deliver_to: int | None = None,
    ) -> None:
        self.asks = asks
        self.deliver_to = deliver_to
        self._published_at = published_at
        self._metadata = (
            None
            if correlation is None
            else Metadata(published_at=published_at, correlation=correlation, deliver_to=deliver_to)
        )
        self.size = len(self.encode(_NUMBERED, _NUMBERED))

    def encode(self, session: int, sequence: int) -> bytes:
        """The metadata of a frame that is the connection's `sequence`-th."""
        if self._metadata is None:
            if self._published_at is None:
                return b""
            return _STAMP.pack(_PUBLISHED_AT, 8, self._published_at, _ORIGIN, 16, session, sequence)
        origin = None if self._published_at is None else (session, sequence)
        return evolve(self._metadata, origin=origin, reply_to=session if self.asks else None).encode()


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
    """

    __slots__ = ("frame", "is_confirmed", "on_dropped", "on_handed", "since", "size", "stamp")

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
        metadata = self.stamp.encode(session, sequence)
        if not metadata:
            return self.frame
        _, type_id = HEADER.unpack_from(self.frame)
        length = TYPE_ID_SIZE + self.size - HEADER.size
        return b"".join((HEADER.pack(length, type_id), self.frame[HEADER.size :], metadata))
