"""Envelope metadata: fields behind those of the message, for whoever carries it (wire protocol, "Metadata")."""

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from mycelium.wire.errors import DecodeError, Misfit
from mycelium.wire.tlv import field

__all__ = [
    "CORRELATION",
    "DELIVER_TO",
    "KINDS",
    "METADATA_SIZES",
    "ORIGIN",
    "PUBLISHED_AT",
    "REPLY_TO",
    "TRACE",
    "Kind",
    "Metadata",
    "check_shape",
]

TRACE, PUBLISHED_AT, ORIGIN, CORRELATION, REPLY_TO, DELIVER_TO = range(0xFF01, 0xFF07)
"""Tags, ascending; all but the first two decide where a message goes, or say whose it is."""


@frozen
class Kind:
    """One kind of metadata."""

    name: str
    """Of the attribute of `Metadata`."""
    title: str
    size: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_U64: Final = Struct("<Q")
_ORIGIN: Final = Struct("<QQ")


def _raw(name: str, title: str, size: int) -> Kind:
    def encode(value: Any) -> bytes:
        if isinstance(value, bytes) and len(value) == size:
            return value
        raise ValueError(f"{name} takes {size} bytes, got {value!r}")

    return Kind(name, title, size, encode, bytes)


def _number(name: str, title: str) -> Kind:
    return Kind(name, title, _U64.size, _U64.pack, lambda data: _U64.unpack(data)[0])


KINDS: Final[Mapping[int, Kind]] = MappingProxyType(
    {
        TRACE: _raw("trace", "trace context", 26),
        PUBLISHED_AT: _number("published_at", "published at"),
        ORIGIN: Kind("origin", "origin", _ORIGIN.size, lambda value: _ORIGIN.pack(*value), _ORIGIN.unpack),
        CORRELATION: _raw("correlation", "correlation id", 16),
        REPLY_TO: _number("reply_to", "reply to"),
        DELIVER_TO: _number("deliver_to", "deliver to"),
    }
)
"""By tag, ascending: the order on the wire. Other tags from 0xF000 on are skipped."""
METADATA_SIZES: Final = {tag: kind.size for tag, kind in KINDS.items()}
"""Bytes of the value, by tag."""


def check_shape(tag: int, size: int, offset: int | None = None) -> None:
    """Holds a metadata value's size against its kind; unknown tags pass.

    Raises:
        Misfit: It has another size.
    """
    kind = KINDS.get(tag)
    if kind is not None and size != kind.size:
        raise Misfit(_misshapen(kind, tag, size), offset=offset)


def _misshapen(kind: Kind, tag: int, size: int) -> str:
    return f"metadata {kind.title!r} (tag {tag:#06x}) takes {kind.size} bytes, not {size}"


@frozen
class Metadata:
    """What travels with a message and is no part of it; None is absent."""

    trace: bytes | None = None
    """26 bytes: W3C version u8, trace id 16, parent span id 8, flags u8."""
    published_at: int | None = None
    """Nanoseconds since the Unix epoch by the publisher's clock."""
    origin: tuple[int, int] | None = None
    """The publisher's session, and its sequence number, which counts the connection's messages from 1."""
    correlation: bytes | None = None
    """16 bytes that tie a reply to its request."""
    reply_to: int | None = None
    """The session that waits for the reply."""
    deliver_to: int | None = None
    """The only session that gets this frame."""

    def encode(self) -> bytes:
        """The metadata's fields, ascending, as they stand at the end of a payload.

        Raises:
            struct.error: A number is no u64.
            ValueError: `trace` or `correlation` has another length than it must have.
        """
        values = ((tag, kind, getattr(self, kind.name)) for tag, kind in KINDS.items())
        return b"".join(field(tag, kind.encode(value)) for tag, kind, value in values if value is not None)

    @classmethod
    def from_tags(cls, tags: Mapping[int, bytes]) -> "Metadata":
        """The metadata of values by tag, as `Codec.decode` and `Codec.verify` collect them; unknown tags are skipped.

        Raises:
            DecodeError: A value has another length than its kind must have.
        """
        found = {}
        for tag, value in tags.items():
            kind = KINDS.get(tag)
            if kind is not None:
                if len(value) != kind.size:
                    raise DecodeError("metadata", kind.name, _misshapen(kind, tag, len(value)), None)
                found[kind.name] = kind.decode(value)
        return cls(**found)
