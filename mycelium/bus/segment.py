"""What a send buffer consists of, in order: runs of frames, single parcels, and notes for the bridge."""

from collections.abc import Callable
from typing import TypeAlias, final

from mycelium.bus.parcel import Parcel

__all__ = ["Note", "Run", "Segment"]


@final
class Run:
    """Frames of messages that came about the same time."""

    __slots__ = ("frames", "since", "size")

    def __init__(self, since: float) -> None:
        self.frames: list[bytes] = []
        self.size = 0
        self.since = since


@final
class Note:
    """Something that is said to this bridge, over this connection.

    Args:
        frame: The frame; empty for a mark in the order.
        is_barrier: Whether it must stay behind the messages before it.
        is_last: Whether no message may follow it through this connection.
        on_handed: Called when everything up to it has been handed to the socket.
    """

    __slots__ = ("frame", "is_barrier", "is_last", "on_handed")

    def __init__(
        self,
        frame: bytes = b"",
        *,
        is_barrier: bool = False,
        is_last: bool = False,
        on_handed: Callable[[], object] | None = None,
    ) -> None:
        self.frame = frame
        self.is_barrier = is_barrier
        self.is_last = is_last
        self.on_handed = on_handed


Segment: TypeAlias = Run | Parcel | Note
