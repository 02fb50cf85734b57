"""Why a connection failed before a word was said: OpenSSL's reasons, and first bytes of other protocols, in words."""

import ssl
from collections.abc import Mapping
from typing import Final

from mycelium.wire.errors import ErrorCode

__all__ = ["bridge_trouble", "client_trouble", "is_refusal", "stranger"]

_NO_CERTIFICATE: Final = frozenset({"PEER_DID_NOT_RETURN_A_CERTIFICATE", "TLSV13_ALERT_CERTIFICATE_REQUIRED"})
_TOO_OLD: Final = frozenset(
    {"UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW"}
)
_NOT_BELIEVED: Final[Mapping[str, str]] = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it calls it bad",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not believe it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is of a kind that is not taken",
    "TLSV1_ALERT_ACCESS_DENIED": "it denies access",
}
"""Alerts about one's own certificate, in the other side's words."""
_NO_TLS: Final = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "UNEXPECTED_MESSAGE",
        "BAD_PROTOCOL_VERSION_NUMBER",
        "PACKET_LENGTH_TOO_LONG",
    }
)
_BY_TCP: Final = "connect by tcp://, with a client of Mycelium"
_HANDSHAKE: Final = b"\x16"
"""What every TLS connection begins with (RFC 8446, section 5.1), before 3 and a minor version from 1 on.

So does a frame of 790 bytes, but those of a Hello go on with two zeros.
"""
_GREETINGS: Final[Mapping[bytes, str]] = {
    **{bytes((0x16, 3, minor)): "TLS" for minor in (1, 2, 3, 4)},
    b"GET ": "HTTP",
    b"HEAD ": "HTTP",
    b"POST ": "HTTP",
    b"PUT ": "HTTP",
    b"OPTIONS ": "HTTP",
    b"CONNECT ": "HTTP",
    b"PRI * ": "HTTP/2",
    b"SSH-": "SSH",
}


def stranger(data: bytes, *, secure: bool) -> str | None:
    """What is wrong with the first bytes of a connection where something else is spoken; None where nothing is.

    Args:
        data: The first bytes that came.
        secure: Whether TLS is spoken here.
    """
    spoken = next((name for start, name in _GREETINGS.items() if data.startswith(start)), None)
    if secure:
        is_tls = data[:1] == _HANDSHAKE
        return None if is_tls else f"this port speaks TLS, and what came is {spoken or 'plain'}; connect by tls://"
    return None if spoken is None else f"this port speaks plain Mycelium frames, and what came is {spoken}; {_BY_TCP}"


def client_trouble(error: ssl.SSLError) -> tuple[ErrorCode, str]:
    """Why a bridge cannot talk to a client: the reason's code, and its text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ErrorCode.AUTH_REFUSED, f"the client's certificate is not accepted: {_verified(error)}"
    reason = error.reason or ""
    if reason in _NO_CERTIFICATE:
        return ErrorCode.AUTH_REQUIRED, "the client has no certificate, and has to have one here"
    if reason in _NOT_BELIEVED:
        return ErrorCode.PROTOCOL, f"the client does not accept this bridge's certificate: {_NOT_BELIEVED[reason]}"
    if reason in _TOO_OLD:
        return ErrorCode.PROTOCOL, "the client speaks no TLS from version 1.2 on, or no cipher of this bridge"
    return ErrorCode.PROTOCOL, f"TLS fails: {_plain(error)}"


def bridge_trouble(error: ssl.SSLError) -> str:
    """Why a client cannot talk to a bridge, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "name the authority that signed it as tls_ca (--tls-ca), and the bridge as its certificate does"
        return f"the bridge's certificate is not accepted: {_verified(error)}; {remedy}"
    reason = error.reason or ""
    if reason in _NO_CERTIFICATE:
        return "the bridge asks for a certificate of this client; give tls_cert and tls_key (--tls-cert, --tls-key)"
    if reason in _NOT_BELIEVED:
        return f"the bridge does not accept this client's certificate: {_NOT_BELIEVED[reason]}"
    if reason in _TOO_OLD:
        return "the bridge speaks no TLS from version 1.2 on"
    if reason in _NO_TLS:
        return "it speaks no TLS; connect by tcp://, or to its tls:// port"
    return f"TLS fails: {_plain(error)}"


def is_refusal(error: ssl.SSLError) -> bool:
    """Whether a bridge has said that it misses this client's certificate, or does not accept it."""
    return error.reason in _NO_CERTIFICATE or error.reason in _NOT_BELIEVED


def _verified(error: ssl.SSLCertVerificationError) -> str:
    text: str = error.verify_message or _plain(error)
    return text.rstrip(".")


def _plain(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
