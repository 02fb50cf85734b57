"""The trace context of a message: 26 bytes in its metadata, a `traceparent` where it crosses into another system.

From W3C Trace Context, "traceparent Header", and the wire protocol, "Envelope metadata".
"""

import re
from contextlib import suppress
from struct import Struct
from typing import Final, Self, final

from attrs import frozen

from mycelium.wire.errors import Misfit
from mycelium.wire.frames import HEADER, LENGTH_SIZE
from mycelium.wire.metadata import METADATA_SIZES, TRACE
from mycelium.wire.tlv import FIRST_METADATA_TAG, walk

__all__ = ["TRACE_FIELD", "TraceContext", "body_size", "metadata_in", "trace_in", "with_trace"]

_LAYOUT: Final = Struct(">B16s8sB")
_HEADER: Final = Struct("<HI")
TRACE_FIELD: Final = _HEADER.pack(TRACE, METADATA_SIZES[TRACE])
"""What the bytes begin with that carry a context in a frame."""
_TEXT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION: Final = 0xFF
_SAMPLED: Final = 1


@final
@frozen
class TraceContext:
    """Which trace a message belongs to, and the span that it was published in."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes."""
    flags: int
    version: int = 0

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace keeps it."""
        return bool(self.flags & _SAMPLED)

    def to_bytes(self) -> bytes:
        """The value of the metadata."""
        return _LAYOUT.pack(self.version, self.trace_id, self.span_id, self.flags)

    def to_text(self) -> str:
        """The text of a `traceparent` header; of a newer version what this one knows."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{self.flags:02x}"

    def to_fields(self) -> dict[str, str]:
        """The fields of a log line."""
        return {"trace_id": self.trace_id.hex(), "span_id": self.span_id.hex(), "trace_flags": f"{self.flags:02x}"}

    @classmethod
    def from_bytes(cls, value: bytes) -> Self | None:
        """What `to_bytes` made; None for bytes that are no context."""
        if len(value) != _LAYOUT.size:
            return None
        version, trace_id, span_id, flags = _LAYOUT.unpack(value)
        return cls._checked(trace_id, span_id, flags, version)

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """The context of a `traceparent` header; None for text that is none."""
        found = _TEXT.fullmatch(text.strip())
        if found is None or (found[5] and found[1] == "00"):
            return None
        return cls._checked(bytes.fromhex(found[2]), bytes.fromhex(found[3]), int(found[4], 16), 0)

    @classmethod
    def _checked(cls, trace_id: bytes, span_id: bytes, flags: int, version: int) -> Self | None:
        """A context, unless W3C says that it is invalid."""
        if version == _INVALID_VERSION or not any(trace_id) or not any(span_id):
            return None
        return cls(trace_id, span_id, flags, version)


def with_trace(frame: bytes, trace: bytes) -> bytes:
    """A frame without metadata that carries a trace context too; what comes behind it has greater tags."""
    _, type_id = HEADER.unpack_from(frame)
    length = len(frame) - LENGTH_SIZE + len(TRACE_FIELD) + len(trace)
    return b"".join((HEADER.pack(length, type_id), frame[HEADER.size :], TRACE_FIELD, trace))


def body_size(frame: bytes, trace: bytes | None) -> int:
    """Bytes of a frame's fields, that carries no metadata but a trace context, or not even that."""
    return len(frame) - HEADER.size - (0 if trace is None else len(TRACE_FIELD) + len(trace))


def trace_in(payload: bytes) -> bytes | None:
    """The trace context that a payload carries, which need not be a valid one otherwise; None where there is none."""
    return metadata_in(payload).get(TRACE) if TRACE_FIELD in payload else None


def metadata_in(payload: bytes) -> dict[int, bytes]:
    """The metadata of a payload by tag, as far as it can be read."""
    found: dict[int, bytes] = {}
    with suppress(Misfit):
        for tag, start, stop in walk(payload, 0, len(payload)):
            if tag >= FIRST_METADATA_TAG:
                found[tag] = payload[start:stop]
    return found
