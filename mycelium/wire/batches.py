"""All frames of a batch at once, for whoever need not know more of them than their fields."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import HEADER

__all__ = ["decode_batch", "verify_batch"]

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
    decoders = {type_id: codec.decode for type_id, codec in codecs.items()}
    metadata: dict[int, bytes] = {}
    try:
        messages = [decode(payload, metadata) for decode, payload in _payloads(batch, decoders)]
    except DecodeError:
        return None
    return None if metadata else messages


def verify_batch(batch: Batch, codecs: Mapping[int, Codec]) -> bool:
    """Whether `decode_batch` would give messages, without making any."""
    if len(codecs) == 1 and len(batch) >= _RUN:
        return codecs[batch.type_ids[0]].verify_run(batch.data, batch.bounds)
    verifiers = {type_id: codec.verify for type_id, codec in codecs.items()}
    try:
        return not any(verify(payload) for verify, payload in _payloads(batch, verifiers))
    except DecodeError:
        return False


def _payloads(batch: Batch, functions: Mapping[int, Callable[..., Any]]) -> Iterator[tuple[Callable[..., Any], bytes]]:
    """For each frame the function of its type, and its payload."""
    data, bounds, header = batch.data, batch.bounds, HEADER.size
    for type_id, start, stop in zip(batch.type_ids, bounds, bounds[1:], strict=False):
        yield functions[type_id], data[start + header : stop]
