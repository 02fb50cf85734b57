"""The stream of Mycelium's own dialect: `type_id u16 | length u32 | payload`, where length counts the payload only.

A client may say the digest of its contracts file's text first, unasked and without an answer: `32 u16 | 32 bytes`.
That is no frame, since 32 is a core id and never an application's type (wire protocol, last section).
"""

from struct import Struct
from typing import Final, final

from mycelium.wire.buffer import Batch, FrameBuffer, Framing
from mycelium.wire.errors import ErrorCode, ProtocolError
from mycelium.wire.frames import DEFAULT_MAX_PAYLOAD, FIRST_APPLICATION_ID, TYPE_ID_SIZE

__all__ = ["PREAMBLE_MARK", "PREAMBLE_SIZE", "RUST_HEADER", "RustFrames", "encode_rust_frame", "preamble"]

RUST_HEADER: Final = Struct("<HI")
"""Six bytes: type id and length of the payload."""
_DIGEST_SIZE: Final = 32
_PREAMBLE: Final = Struct(f"<H{_DIGEST_SIZE}s")
PREAMBLE_SIZE: Final = _PREAMBLE.size
PREAMBLE_MARK: Final = _DIGEST_SIZE.to_bytes(2, "little")
"""What a preamble starts with, and no frame."""
_HELLO_AS_LENGTH: Final = 0x1_0000
"""What the upper half of a native Hello's length, which is 0, and its type id, which is 1, are when read as a length;
the lower half is then a type id, and less than any application's."""


def encode_rust_frame(type_id: int, payload: bytes) -> bytes:
    """A frame around a payload, which is not held against any limit here."""
    return RUST_HEADER.pack(type_id, len(payload)) + payload


def preamble(digest: bytes) -> bytes:
    """What a client says first where the other side wants it.

    Args:
        digest: SHA-256 of the contracts file's bytes.
    """
    if len(digest) != _DIGEST_SIZE:
        raise ValueError(f"a digest has {_DIGEST_SIZE} bytes, not {len(digest)}; give the SHA-256 as bytes, not as hex")
    return _PREAMBLE.pack(_DIGEST_SIZE, digest)


def _header_at(data: bytes, position: int) -> tuple[int, int]:
    type_id, length = RUST_HEADER.unpack_from(data, position)
    return length + TYPE_ID_SIZE, type_id


_FRAMING: Final = Framing(_header_at, length_first=False)


@final
class RustFrames:
    """What arrives on one connection: perhaps a preamble, then frames.

    The batches are like those of a native connection, but for the order of what is in the header: `payload`, `type_ids`
    and `bounds` mean the same, and frames of an unknown type are simply passed over.

    Args:
        max_payload: Bytes; a frame that declares more is refused as soon as its header is there.

    Attributes:
        digest: What the preamble says, as soon as it has been fed; None as long as there was none.
    """

    def __init__(self, max_payload: int = DEFAULT_MAX_PAYLOAD) -> None:
        self.digest: bytes | None = None
        self._buffer: Final = FrameBuffer(max_payload, _FRAMING)
        self._head: bytes | None = b""
        """What has arrived, as long as that is too little to tell a preamble from a frame."""

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._head or b"") + len(self._buffer)

    def __repr__(self) -> str:
        return f"<RustFrames of {len(self)} bytes>"

    def feed(self, data: bytes) -> None:
        """Add bytes to the end."""
        if self._head is None:
            self._buffer.feed(data)
            return
        self._head = head = self._head + data
        is_marked = head.startswith(PREAMBLE_MARK)
        needed = PREAMBLE_SIZE if is_marked else RUST_HEADER.size
        if len(head) < needed or _is_hello(head):
            return
        if is_marked:
            self.digest, head = head[len(PREAMBLE_MARK) : needed], head[needed:]
        self._head = None
        self._buffer.feed(head)

    def take(self) -> Batch | None:
        """The next whole frames, or None where more bytes are needed.

        Raises:
            ProtocolError: A length over `max_payload` (code limit), or a native client (code protocol); whole frames
                before it are given first.
        """
        if self._head is not None and _is_hello(self._head):
            raise ProtocolError(
                ErrorCode.PROTOCOL, "a native Hello where the Rust dialect is spoken; connect to a native listener"
            )
        return self._buffer.take()


def _is_hello(head: bytes) -> bool:
    """Whether a native client speaks; its Hello is shorter than the lowest id of an application's type."""
    if len(head) < RUST_HEADER.size or head.startswith(PREAMBLE_MARK):
        return False
    length, type_id = _header_at(head, 0)
    return type_id < FIRST_APPLICATION_ID and length - TYPE_ID_SIZE == _HELLO_AS_LENGTH
