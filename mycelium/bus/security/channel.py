"""TLS on one connection as a state machine without I/O: ciphertext in, plaintext out, and back.

asyncio's own TLS transport keeps 256 KiB for each connection, which says nothing for most of its life; here bytes come
from the buffer that all connections of a thread share, and go through OpenSSL in pieces of one record.
"""

import contextlib
import ssl
from typing import Any, Final, final

from mycelium.bus.security.peer import Certificate

__all__ = ["Channel"]

_RECORD: Final = 16 * 1024
"""Bytes that go through at a time, so that OpenSSL's own buffers, which never shrink, stay small."""


@final
class Channel:
    """One side of a TLS connection.

    Args:
        context: Certificates and what is believed.
        hostname: Whom the certificate of the other side has to be of; None for the side of the bridge.

    Attributes:
        is_secure: Whether the handshake is done.
        has_ended: Whether the other side has said that nothing more comes.
    """

    def __init__(self, context: ssl.SSLContext, hostname: str | None = None) -> None:
        self.is_secure = self.has_ended = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=hostname is None, server_hostname=hostname
        )

    def __repr__(self) -> str:
        return f"<Channel {self._object.version() if self.is_secure else 'in its handshake'}>"

    @property
    def certificate(self) -> Certificate | None:
        """What the other side has proved that it is; None where it was not asked."""
        facts: dict[str, Any] | None = self._object.getpeercert()
        return Certificate.of(facts) if facts else None

    def start(self) -> None:
        """Begin the handshake; there is something to send then."""
        self._shake()

    def receive_data(self, data: bytes) -> bytes:
        """Take what the socket gave; the plaintext of it, which may be none. Afterwards there may be something to send.

        Raises:
            ssl.SSLError: The other side is not believed, or speaks no TLS; what is to be sent tells it.
        """
        pieces: list[bytes] = []
        for start in range(0, len(data), _RECORD):
            self._incoming.write(data[start : start + _RECORD])
            if self.is_secure or self._shake():
                self._read(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> bytes:
        """Ciphertext for the socket.

        Raises:
            ssl.SSLError: Nothing can be said any more.
        """
        if len(data) <= _RECORD:
            self._object.write(data)
            return self._outgoing.read()
        pieces, view, start = [], memoryview(data), 0
        while start < len(data):
            start += self._object.write(view[start : start + _RECORD])
            pieces.append(self._outgoing.read())
        return b"".join(pieces)

    def take_output(self) -> bytes:
        """What the handshake, or its failure, has to say."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """What tells the other side that nothing more comes."""
        if self.is_secure:
            with contextlib.suppress(ssl.SSLError):  # it has not said the same yet, and need not
                self._object.unwrap()
        return self._outgoing.read()

    def _shake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_secure = True
        return True

    def _read(self, pieces: list[bytes]) -> None:
        incoming, tls = self._incoming, self._object
        try:
            while incoming.pending or tls.pending():  # to read where there is nothing costs an exception
                piece = tls.read(_RECORD)
                if not piece:
                    self.has_ended = True
                    return
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.has_ended = True
