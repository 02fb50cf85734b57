"""What can go wrong with delivery and connections. The whole tree is in `mycelium.errors`.

BusError
├── UsageError                  called wrongly: no type to subscribe to, an unknown option, the wrong loop
├── BindError                   a socket cannot be listened on
├── ConnectError                no bridge there, or it did not answer
├── ConnectionLost              the connection ended under a call
├── ClosedError                 the bus or client is closed
├── QueueFull                   a subscriber's queue refuses the message
│   └── BufferFull              the send buffer does
└── Refused                     the bridge said no
    ├── SchemaMismatch          contracts that cannot talk to each other
    ├── AuthError               who you are, or may not do
    └── VersionError            another protocol version
"""

from typing import Final

from mycelium.errors import MyceliumError
from mycelium.wire.errors import ErrorCode

__all__ = [
    "AuthError",
    "BindError",
    "BufferFull",
    "BusError",
    "ClosedError",
    "ConnectError",
    "ConnectionLost",
    "QueueFull",
    "Refused",
    "SchemaMismatch",
    "UsageError",
    "VersionError",
    "refusal",
]


class BusError(MyceliumError):
    """The base of errors of delivery and connections."""


class UsageError(BusError, TypeError):
    """A call that cannot mean anything; the text says what would."""


class BindError(BusError):
    """A listener cannot be opened."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url = url
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"cannot listen on {self.url}: {self.reason}; {self.remedy}"


class ConnectError(BusError):
    """There is no bridge at a URL, or it did not answer in time."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no bridge at {self.url}: {self.reason}; is `mycelium serve` running there?"


class ConnectionLost(BusError):
    """The connection ended before the call had its answer, so its outcome is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection to the bridge ended: {self.reason}"


class ClosedError(BusError):
    """Used after it was closed, or before it was connected."""


class QueueFull(BusError):
    """A queue takes no more messages now.

    Attributes:
        enqueued: How many subscribers had taken the message already.
    """

    def __init__(self, problem: str, enqueued: int = 0) -> None:
        super().__init__(problem, enqueued)
        self.problem = problem
        self.enqueued = enqueued

    def __str__(self) -> str:
        return self.problem


class BufferFull(QueueFull):
    """The send buffer is full; `await publish(...)` waits for room instead."""


_CODES: Final = frozenset(ErrorCode)


class Refused(BusError):
    """The bridge refused a request or the connection.

    Attributes:
        code: The wire protocol's error code.
        text: What the bridge said.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"the bridge refused ({self.name}): {self.text}"

    @property
    def name(self) -> str:
        """The code's name, as logs and metrics have it."""
        return ErrorCode(self.code).reason if self.code in _CODES else str(self.code)


class SchemaMismatch(Refused):
    """The client's contracts and the bridge's cannot talk to each other; the text lists why."""


class AuthError(Refused):
    """The bridge wants to know who this is, or does not let it in."""


class VersionError(Refused):
    """The bridge speaks another version of the protocol."""


_REFUSALS: Final[dict[int, type[Refused]]] = {
    ErrorCode.VERSION: VersionError,
    ErrorCode.AUTH_REQUIRED: AuthError,
    ErrorCode.AUTH_REFUSED: AuthError,
    ErrorCode.DENIED: AuthError,
    ErrorCode.SCHEMA_INCOMPATIBLE: SchemaMismatch,
}


def refusal(code: int, text: str) -> Refused:
    """The exception for an Error of the bridge."""
    return _REFUSALS.get(code, Refused)(code, text)
