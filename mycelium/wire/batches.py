"""All frames of a batch at once, for whoever need not know more of them than their fields."""

from collections.abc import Mapping
from typing import Any, Final

from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import HEADER

__all__ = ["decode_batch", "verify_batch"]

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
