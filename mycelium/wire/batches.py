"""All frames of a batch at once, for whoever need not know more of them than their fields."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import HEADER
from mycelium.wire.tracecontext import TRACE_FIELD

__all__ = ["apart", "carrying_trace", "decode_batch", "verify_batch"]

_HEADER: Final = HEADER.size
_RUN: Final = 4
"""Frames of one type from which on looking at them together is worth it."""


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
