"""All frames of a batch at once, for whoever need not know more of them than their fields."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, final

from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import HEADER
from mycelium.wire.tracecontext import TRACE_FIELD

__all__ = ["Sieve", "apart", "carrying_trace", "decode_batch", "verify_batch"]

_HEADER: Final = HEADER.size
_RUN: Final = 4
"""Frames of one type from which on looking at them together is worth it."""
_WARY: Final = 64
"""Batches of a stream after a traced message in which the next one is expected."""


def decode_batch(batch: Batch, codecs: Mapping[int, Codec]) -> list[Any] | None:
    """The messages of all frames; None where one cannot be read, or has metadata.

    Args:
        batch: The frames.
        codecs: Of each of their types.
    """
    if len(codecs) == 1 and len(batch) >= _RUN:
        return codecs[batch.type_ids[0]].decode_run(batch.data, batch.bounds)
    decode = {type_id: codec.decode for type_id, codec in codecs.items()}
    data, frames = batch.data, zip(batch.type_ids, batch.bounds, batch.bounds[1:], strict=False)
    metadata: dict[int, bytes] = {}
    messages: list[Any] = []
    try:
        for type_id, start, stop in frames:
            messages.append(decode[type_id](data[start + _HEADER : stop], metadata))
            if metadata:
                return None
    except DecodeError:
        return None
    return messages


def verify_batch(batch: Batch, codecs: Mapping[int, Codec]) -> bool:
    """Whether `decode_batch` would give messages, without making any."""
    if len(codecs) == 1 and len(batch) >= _RUN:
        return codecs[batch.type_ids[0]].verify_run(batch.data, batch.bounds)
    verify = {type_id: codec.verify for type_id, codec in codecs.items()}
    data, frames = batch.data, zip(batch.type_ids, batch.bounds, batch.bounds[1:], strict=False)
    try:
        return not any(verify[type_id](data[start + _HEADER : stop]) for type_id, start, stop in frames)
    except DecodeError:
        return False


def carrying_trace(batch: Batch) -> list[int]:
    """Indices of the frames that may carry a trace context: those in which stands what one begins with."""
    data, bounds = batch.data, batch.bounds
    found: list[int] = []
    at = data.rfind(TRACE_FIELD, bounds[0], bounds[-1])  # from behind, since that is twice as fast
    while at >= 0:
        index = bisect_right(bounds, at) - 1
        found.append(index)
        at = data.rfind(TRACE_FIELD, bounds[0], bounds[index])
    return found[::-1]


def apart(batch: Batch) -> Iterator[tuple[int, int]]:
    """Runs of frames, as start and stop, with each frame by itself that may carry a trace context; all of the batch.

    Few messages are traced, and the others are to be looked at together as if those were not there.
    """
    start = 0
    for index in carrying_trace(batch):
        if start < index:
            yield start, index
        yield index, index + 1
        start = index + 1
    if start < len(batch):
        yield start, len(batch)


@final
class Sieve:
    """Takes the batches of one stream together as far as that goes, around the frames that may carry a trace context.

    To try it with a batch that has such a frame is in vain, and costs as much as where it is not. So where there was
    one lately, they are looked for first.
    """

    __slots__ = ("_wary",)

    def __init__(self) -> None:
        self._wary = 0

    def __repr__(self) -> str:
        return f"<Sieve, wary for {self._wary} batches>"

    def left_over(self, batch: Batch, together: Callable[[Batch], bool]) -> Iterator[tuple[int, int]]:
        """Have runs of frames taken; those that were not, as start and stop, each before what follows it is tried.

        Args:
            batch: The next one of the stream.
            together: Takes all frames of a run, or none of them.
        """
        if not self._wary and together(batch):
            return
        runs = list(apart(batch))
        is_untried = self._wary > 0 or len(runs) > 1
        self._wary = _WARY if len(runs) > 1 else max(self._wary - 1, 0)
        for start, stop in runs:
            if stop - start == 1 or not (is_untried and together(batch.part(start, stop))):
                yield start, stop
