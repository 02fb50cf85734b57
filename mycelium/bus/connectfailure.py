"""What users are told where an attempt to connect has failed."""

from typing import Final

from mycelium.bus.clientparts import Settings
from mycelium.bus.errors import AuthError, ConnectError, ConnectionLost, Refused
from mycelium.bus.reception import Reception
from mycelium.bus.urls import Address
from mycelium.errors import MyceliumError
from mycelium.wire.errors import ErrorCode

__all__ = ["explained"]

_HELD_BACK: Final = "there is one, but others could read it on its way: connect by tls://"
"""Said of a token."""


def explained(error: BaseException, address: Address, settings: Settings, reception: Reception) -> BaseException:
    """An error in the terms of who called `connect`.

    Args:
        error: What has ended the attempt.
        address: Of the bridge.
        settings: How it was tried.
        reception: Knows which message a refusal is about.
    """
    match error:
        case TimeoutError() if not isinstance(error, MyceliumError):
            return ConnectError(str(address), f"no answer within {settings.timeout:g} s")
        case ConnectionLost():
            return ConnectError(str(address), error.reason)
        case AuthError(code=ErrorCode.AUTH_REQUIRED) if settings.credentials.holds_back(address):
            return AuthError(error.code, f"{error.text}; {_HELD_BACK}")
        case Refused():
            return reception.named(error)
    return error
