"""Frames: `length u32 | type_id u16 | payload`, little-endian; length counts what follows it.

From the wire protocol, section "Frame".
"""

from struct import Struct
from typing import Final

__all__ = [
    "CONTRACTS_MAX_FRAME",
    "DEFAULT_MAX_PAYLOAD",
    "FIRST_APPLICATION_ID",
    "HANDSHAKE_MAX_FRAME",
    "HARD_MAX_PAYLOAD",
    "HEADER",
    "LENGTH_SIZE",
    "TYPE_ID_SIZE",
    "encode_frame",
]

HEADER: Final = Struct("<IH")
"""Six bytes: length and type id."""
LENGTH_SIZE: Final = 4
TYPE_ID_SIZE: Final = 2
FIRST_APPLICATION_ID: Final = 1000
"""Type ids below it belong to the core protocol."""
DEFAULT_MAX_PAYLOAD: Final = 4_194_304
"""Bytes."""
HARD_MAX_PAYLOAD: Final = 64 * 1024 * 1024
"""The most that `max_payload` may be set to: the top four bits of `length` are reserved."""
HANDSHAKE_MAX_FRAME: Final = 4096
"""Bytes of the largest frame, header included, before Welcome."""
CONTRACTS_MAX_FRAME: Final = 1024 * 1024
"""The same for the second Hello, which carries the client's contracts."""


def encode_frame(type_id: int, payload: bytes) -> bytes:
    """A frame around a payload, which is not held against any limit here."""
    return HEADER.pack(TYPE_ID_SIZE + len(payload), type_id) + payload
