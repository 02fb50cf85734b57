"""Frames out of a byte stream that may be cut anywhere."""

from collections.abc import Callable, Sequence
from typing import Final, final

from attrs import frozen

from mycelium.wire.errors import ErrorCode, ProtocolError
from mycelium.wire.frames import DEFAULT_MAX_PAYLOAD, HEADER, LENGTH_SIZE, TYPE_ID_SIZE

__all__ = ["NATIVE", "Batch", "FrameBuffer", "Framing"]

_ALL: Final = 1 << 62
_SLACK: Final = 4
"""How many times its own size a batch that waits may keep alive."""
_GLANCE: Final = 8
"""Frames with one and the same header, after which it is worth looking how far that goes on."""
_SHORT: Final = 64
"""Frames of which all are looked at without a glance at the first ones before."""
_FEW: Final = 16
"""Frames that are taken one by one before another look; where that was in vain, more and more of them."""


@frozen
class Framing:
    """How the six bytes in front of a payload are read."""

    header_at: Callable[[bytes, int], tuple[int, ...]]
    """`header_at(data, position)`: the length, which counts the type id and the payload, and the type id."""
    length_first: bool
    """Whether the length alone can be read before the rest is there."""


NATIVE: Final = Framing(HEADER.unpack_from, length_first=True)
"""What wire protocol, section "Frame", says."""


@final
class Batch:
    """Consecutive whole frames as they arrived. Nobody changes one.

    Frame `i` is `data[bounds[i]:bounds[i + 1]]`; its payload begins `HEADER.size` further on, and `type_ids[i]` is its
    type. Parts of a batch share its bytes. Bounds that are a `range` say that all frames have the same header: the same
    type and the same length.
    """

    __slots__ = ("_types", "bounds", "data", "size", "type_ids")

    def __init__(self, data: bytes, type_ids: list[int], bounds: Sequence[int]) -> None:
        self.data = data
        self.type_ids = type_ids
        self.bounds = bounds
        self.size: int = bounds[-1] - bounds[0]
        """Bytes of all frames together."""
        self._types: frozenset[int] | None = None

    def __len__(self) -> int:
        return len(self.type_ids)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} frames, {self.size} bytes>"

    @property
    def is_even(self) -> bool:
        """Whether all frames are known to have the same type and the same length."""
        return isinstance(self.bounds, range)

    @property
    def types(self) -> frozenset[int]:
        """The types that occur in it."""
        if self._types is None:
            self._types = frozenset(self.type_ids[:1] if self.is_even else self.type_ids)
        return self._types

    def frame(self, index: int) -> bytes:
        """The bytes of one frame."""
        return self.data[self.bounds[index] : self.bounds[index + 1]]

    def payload(self, index: int) -> bytes:
        """The payload of one frame."""
        return self.data[self.bounds[index] + HEADER.size : self.bounds[index + 1]]

    def to_bytes(self) -> bytes:
        """All frames, one after the other."""
        return self.data[self.bounds[0] : self.bounds[-1]]

    def part(self, start: int, stop: int) -> "Batch":
        """The frames from `start` up to `stop`, over the same bytes."""
        if stop - start == len(self.type_ids):
            return self
        return Batch(self.data, self.type_ids[start:stop], self.bounds[start : stop + 1])

    def compact(self) -> "Batch":
        """The same frames, with bytes of their own where they would keep a much larger chunk alive."""
        if len(self.data) <= _SLACK * self.size:
            return self
        start, bounds = self.bounds[0], self.bounds
        if isinstance(bounds, range):
            return Batch(self.to_bytes(), self.type_ids, range(0, bounds.stop - start, bounds.step))
        return Batch(self.to_bytes(), self.type_ids, [bound - start for bound in bounds])


@final
class FrameBuffer:
    """Holds what has arrived of a frame until the rest comes.

    It grows with the bytes that arrive, never with what a header declares, and a large frame is copied once when it is
    whole, however small the pieces are that it comes in.

    Attributes:
        max_payload: Bytes; a frame that declares more is refused as soon as its header is there.
    """

    def __init__(self, max_payload: int = DEFAULT_MAX_PAYLOAD, framing: Framing = NATIVE) -> None:
        self.max_payload = max_payload
        self._header_at: Final = framing.header_at
        self._length_first: Final = framing.length_first
        self._data = b""
        self._position = 0
        self._pending = bytearray()
        """A frame that is not whole yet; while there is one `_data` is empty."""
        self._missing = 0
        """Bytes that have to come before looking again is worth it."""
        self._few = _FEW

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._data) - self._position + len(self._pending)

    def __repr__(self) -> str:
        return f"<FrameBuffer of {len(self)} bytes>"

    def feed(self, data: bytes) -> None:
        """Add bytes to the end."""
        if self._position == len(self._data) and not self._pending:
            self._data, self._position, self._missing = data, 0, 0
            return
        if not self._pending:
            self._pending += memoryview(self._data)[self._position :]
            self._data, self._position = b"", 0
        self._pending += data
        self._missing -= len(data)
        if self._missing <= 0:
            self._data, self._pending = bytes(self._pending), bytearray()

    def pass_whole(self, data: bytes) -> Batch | None:
        """Bytes that are one whole frame behind nothing that waits; for others None, and they have to be fed.

        What comes one frame at a time need not be put here and taken again.
        """
        if self._position != len(self._data) or self._pending or len(data) < HEADER.size:
            return None
        length, type_id = self._header_at(data, 0)
        if LENGTH_SIZE + length != len(data) or not TYPE_ID_SIZE <= length <= self.max_payload + TYPE_ID_SIZE:
            return None
        return Batch(data, [type_id], [0, len(data)])

    def clear(self) -> None:
        """Forget what waits."""
        self._data, self._position, self._pending = b"", 0, bytearray()

    def take(self, most: int = _ALL) -> Batch | None:
        """The next whole frames, at most that many, or None where more bytes are needed.

        Raises:
            ProtocolError: A length under 2 (code protocol) or over `max_payload` (code limit); whole frames before it
                are given first.
        """
        data, position = self._data, self._position
        left = len(data) - position
        if not left:
            return None
        if left < HEADER.size:
            self._look_at_start(data[position:], after_others=False)
            return None
        length, type_id = self._header_at(data, position)
        if not TYPE_ID_SIZE <= length <= self.max_payload + TYPE_ID_SIZE:
            raise _bad_length(length, self.max_payload)
        size = LENGTH_SIZE + length
        if left > size:
            return self._several(type_id, size, most)
        if left < size:
            self._missing = size - left
            return None
        self._missing = 0
        self._position = end = position + size
        return Batch(data, [type_id], [position, end])

    def _several(self, type_id: int, size: int, most: int) -> Batch:
        """A whole frame of this type and size, and those behind it."""
        if most == _ALL:
            if (runs := self._runs(type_id, size)) is not None:
                self._few = _FEW
                return runs
            most = self._few
            self._few = min(4 * most, _ALL)
        data, position = self._data, self._position + size
        type_ids, bounds = [type_id], [self._position, position]
        end, largest = len(data), self.max_payload + TYPE_ID_SIZE
        last = end - HEADER.size
        unpack, add_type, add_bound = self._header_at, type_ids.append, bounds.append
        self._missing = 0
        for _ in range(most - 1):
            if position > last:
                self._look_at_start(data[position:], after_others=True)
                break
            length, type_id = unpack(data, position)
            if not TYPE_ID_SIZE <= length <= largest:
                break
            position += LENGTH_SIZE + length
            if position > end:
                self._missing = position - end
                break
            add_type(type_id)
            add_bound(position)
        self._position = bounds[-1]
        return Batch(data, type_ids, bounds)

    def _runs(self, type_id: int, size: int) -> Batch | None:
        """Runs of frames of one length, with one of the same type but another length between two; None for no run.

        Such a one carries metadata, as one message of many does where traces are sampled.

        Args:
            type_id: Of the first frame.
            size: Of the first frame.
        """
        start = self._position
        stop = start + self._run(start, size) * size
        bounds: Sequence[int] = range(start, stop + 1, size)
        while (single := self._same(type_id, stop)) and (next_size := self._same(type_id, stop + single)):
            count = self._run(stop + single, next_size)
            if not count:
                break
            run = range(stop + single, stop + single + count * next_size + 1, next_size)
            bounds = [*bounds, *run]
            stop = run[-1]
        if stop == start:
            return None
        self._position, self._missing = stop, 0
        return Batch(self._data, [type_id] * (len(bounds) - 1), bounds)

    def _same(self, type_id: int, position: int) -> int:
        """The size of the frame at a position; 0 unless it is whole, and of that type."""
        if position > len(self._data) - HEADER.size:
            return 0
        length, found = self._header_at(self._data, position)
        size = int(LENGTH_SIZE + length)
        is_fine = TYPE_ID_SIZE <= length <= self.max_payload + TYPE_ID_SIZE and position + size <= len(self._data)
        return size if is_fine and found == type_id else 0

    def _run(self, position: int, size: int) -> int:
        """How many frames from a position on have the header of the first one; 0 where it is few.

        One strided slice per byte of the header compares all of them.

        Args:
            position: Of the first one.
            size: Of the first one.
        """
        data = self._data
        count = (len(data) - position) // size
        header = data[position : position + HEADER.size]
        for most in (count,) if count <= _SHORT else (_GLANCE, count):
            count = most
            for column in range(HEADER.size):
                found = data[position + column : position + count * size : size]
                count -= len(found.lstrip(header[column : column + 1]))
            if count < _GLANCE:
                return 0
        return count

    def _look_at_start(self, start: bytes, *, after_others: bool) -> None:
        """Decide about less than a header: a length alone can be wrong, and nothing else may ever follow it."""
        if not self._length_first:
            self._missing = HEADER.size - len(start)
            return
        if len(start) < LENGTH_SIZE:
            self._missing = LENGTH_SIZE - len(start)
            return
        self._missing = HEADER.size - len(start)
        length = int.from_bytes(start[:LENGTH_SIZE], "little")
        if not after_others and not TYPE_ID_SIZE <= length <= self.max_payload + TYPE_ID_SIZE:
            raise _bad_length(length, self.max_payload)


def _bad_length(length: int, max_payload: int) -> ProtocolError:
    if length < TYPE_ID_SIZE:
        return ProtocolError(ErrorCode.PROTOCOL, f"a frame of length {length}; the least is {TYPE_ID_SIZE}")
    payload = length - TYPE_ID_SIZE
    return ProtocolError(ErrorCode.LIMIT, f"a payload of {payload} bytes; at most {max_payload} are taken")
