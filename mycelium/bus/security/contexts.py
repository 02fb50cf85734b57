"""TLS contexts of bridges and clients, made of their files."""

import ssl
from pathlib import Path
from typing import Final

from mycelium.bus.errors import SecurityError
from mycelium.bus.security.secretfile import read_secret, read_setting
from mycelium.bus.security.settings import Security

__all__ = ["bridge_context", "client_context"]

_OPTIONS: Final = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET


def bridge_context(security: Security) -> ssl.SSLContext | None:
    """What `tls://` listeners use; None where there is no certificate. TLS 1.2 or newer, and no sessions to resume.

    Raises:
        SecurityError: A file of it cannot be used.
    """
    if security.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a client that resumed a session would not be asked for its certificate again
    _harden(context, security.tls_cert, security.tls_key)
    if security.tls_ca is not None:
        _believe(context, security.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """What a client uses: the bridge's certificate and its name are always verified.

    Args:
        ca: Who signs certificates of bridges; None: whom the system believes.
        cert: The client's own certificate chain; None for none.
        key: Its key; None: it is in the same file.

    Raises:
        SecurityError: A file of it cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _believe(context, ca)
    if cert is None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= _OPTIONS
    else:
        _harden(context, cert, key)
    return context


def _harden(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    read_setting(cert)
    read_secret(key or cert)
    asked = _Asked()
    try:
        context.load_cert_chain(cert, key, password=asked)
    except ssl.SSLError as error:
        pair = f"{cert} and {key}" if key is not None else f"{cert}, without a file for its key"
        if asked.was_asked:
            raise SecurityError.about(
                str(key or cert), "the key is encrypted", "give it without a passphrase"
            ) from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SecurityError.about(pair, "they do not belong together", "give a certificate and its key") from None
        raise SecurityError.about(pair, "this is no certificate chain with its key", _PEM) from None


class _Asked:
    """Stands for a passphrase: OpenSSL would ask the terminal, which a service does not have."""

    def __init__(self) -> None:
        self.was_asked = False

    def __call__(self) -> str:
        self.was_asked = True
        return ""


def _believe(context: ssl.SSLContext, ca: Path) -> None:
    read_setting(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        problem = f"no certificates of authorities ({getattr(error, 'reason', None) or error})"
        raise SecurityError.about(str(ca), problem, _PEM) from error


_PEM: Final = "give files in PEM, one's own certificate first, then those that lead to its authority"
