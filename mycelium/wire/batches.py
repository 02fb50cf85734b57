"""All frames of a batch at once, for whoever need not know more of them than their fields."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mycelium.schema.registry import Entry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import HEADER

__all__ = ["decode_batch", "verify_batch"]

_RUN: Final = 4
"""Frames of one type from which on looking at them together is worth it."""


def decode_batch(batch: Batch, entries: Mapping[int, Entry[Codec]]) -> list[Any] | None:
    """The messages of all frames; None where one cannot be read, or has metadata, or is of no known type.

    Args:
        batch: The frames.
        entries: The types by id.
    """
    codecs = _codecs(batch, entries)
    if codecs is None:
        return None
    if len(codecs) == 1 and len(batch) >= _RUN:
        return codecs[batch.type_ids[0]].decode_run(batch.data, batch.bounds)
    decoders = {type_id: codec.decode for type_id, codec in codecs.items()}
    metadata: dict[int, bytes] = {}
    try:
        messages = [decode(payload, metadata) for decode, payload in _payloads(batch, decoders)]
    except DecodeError:
        return None
    return None if metadata else messages


def verify_batch(batch: Batch, entries: Mapping[int, Entry[Codec]]) -> bool:
    """Whether `decode_batch` would give messages, without making any."""
    codecs = _codecs(batch, entries)
    if codecs is None:
        return False
    if len(codecs) == 1 and len(batch) >= _RUN:
        return codecs[batch.type_ids[0]].verify_run(batch.data, batch.bounds)
    verifiers = {type_id: codec.verify for type_id, codec in codecs.items()}
    try:
        return not any(verify(payload) for verify, payload in _payloads(batch, verifiers))
    except DecodeError:
        return False


def _codecs(batch: Batch, entries: Mapping[int, Entry[Codec]]) -> dict[int, Codec] | None:
    found = {type_id: entries[type_id].codec for type_id in batch.types if type_id in entries}
    return found if len(found) == len(batch.types) else None


def _payloads(batch: Batch, functions: Mapping[int, Callable[..., Any]]) -> Iterator[tuple[Callable[..., Any], bytes]]:
    """For each frame the function of its type, and its payload."""
    data, bounds, header = batch.data, batch.bounds, HEADER.size
    for type_id, start, stop in zip(batch.type_ids, bounds, bounds[1:], strict=False):
        yield functions[type_id], data[start + header : stop]
