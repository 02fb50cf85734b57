"""What can go wrong with delivery and connections. The whole tree is in `mycelium.errors`.

BusError
├── UsageError                  called wrongly: no type to subscribe to, an unknown option, the wrong loop
├── BindError                   a socket cannot be listened on
├── SecurityError               a file with tokens, certificates or access rules cannot be used
├── ConnectError                no bridge there, or it did not answer
│   └── TlsError                the two ends cannot talk in private
├── ConnectionLost              the connection ended under a call
├── ClosedError                 the bus or client is closed
│   └── DrainingError           it is being drained
├── DrainTimeout                a drain took too long; everything is closed
├── QueueFull                   a subscriber's queue refuses the message
│   └── BufferFull              the send buffer does
├── BackpressureTimeout         a subscriber's queue had no room in time
├── WouldDeadlock               a handler publishes into its own full queue
├── NoSubscribers               nobody got a message that somebody must get
├── NoResponders                nobody is there to answer a request
├── ConfirmTimeout              no receipt came in time
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
    "BackpressureTimeout",
    "BindError",
    "BufferFull",
    "BusError",
    "ClosedError",
    "ConfirmTimeout",
    "ConnectError",
    "ConnectionLost",
    "DrainTimeout",
    "DrainingError",
    "NoResponders",
    "NoSubscribers",
    "QueueFull",
    "Refused",
    "SchemaMismatch",
    "SecurityError",
    "TlsError",
    "UsageError",
    "VersionError",
    "WouldDeadlock",
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


class SecurityError(BusError):
    """Tokens, certificates or access rules cannot be used as they are; no secret is in the text.

    Attributes:
        lines: What is wrong, and what to do, each with its place.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines

    def __str__(self) -> str:
        return "; ".join(self.lines)

    @classmethod
    def about(cls, source: str, problem: str, remedy: str) -> "SecurityError":
        """One thing that is wrong with one file."""
        return cls(f"{source}: {problem}; {remedy}")


class ConnectError(BusError):
    """There is no bridge at a URL, or it did not answer in time."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no bridge at {self.url}: {self.reason}; is `mycelium serve` running there?"


class TlsError(ConnectError):
    """The bridge was reached, but the connection could not be made private, or one end does not believe the other.

    Attributes:
        is_refusal: Whether it is this client's certificate that the bridge misses, or does not accept.
    """

    def __init__(self, url: str, reason: str, *, is_refusal: bool = False) -> None:
        super().__init__(url, reason)
        self.is_refusal = is_refusal

    def __str__(self) -> str:
        return f"no private connection to {self.url}: {self.reason}"


class ConnectionLost(BusError):
    """The connection ended before the call had its answer, so its outcome is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection to the bridge ended: {self.reason}"


class ClosedError(BusError):
    """Used after it was closed, or before it was connected."""


class DrainingError(ClosedError):
    """Used while it is being drained, for something that is not taken any more."""


class DrainTimeout(BusError, TimeoutError):
    """Handlers, or the bridge, did not finish in time; everything is closed now.

    Attributes:
        undelivered: Messages that waited for handlers.
        unconfirmed: Published messages that the bridge has not confirmed, or that were not sent.
    """

    def __init__(self, undelivered: int, unconfirmed: int) -> None:
        super().__init__(undelivered, unconfirmed)
        self.undelivered = undelivered
        self.unconfirmed = unconfirmed

    def __str__(self) -> str:
        return (
            f"not drained in time: {self.undelivered} messages not handled, {self.unconfirmed} not sent or not "
            "confirmed; give it a longer timeout, or look for a handler that does not return or a bridge that is gone"
        )


class BackpressureTimeout(BusError, TimeoutError):
    """A subscriber with the lag policy `block` had no room in time.

    Attributes:
        enqueued: How many subscriptions have taken the message.
    """

    def __init__(self, seconds: float, enqueued: int = 0) -> None:
        super().__init__(seconds, enqueued)
        self.seconds = seconds
        self.enqueued = enqueued

    def __str__(self) -> str:
        return f"a subscriber had no room within {self.seconds:g} s; {self.enqueued} others have the message"


class WouldDeadlock(BusError):
    """A handler publishes into its own full queue, and would wait for itself."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return (
            f"a handler of {self.message} waits for room in its own queue of {self.message}; "
            "publish from a task of its own, or subscribe with another lag policy"
        )


class NoSubscribers(BusError):
    """Nobody has subscribed to a message that was published with `mandatory=True`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"nobody has subscribed to {self.message}"


class NoResponders(BusError):
    """Nobody has subscribed to a request."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"nobody answers {self.message}; no handler has subscribed to it"


class ConfirmTimeout(BusError, TimeoutError):
    """No receipt came in time: whether the message was routed is unknown."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, seconds)
        self.message = message
        self.seconds = seconds

    def __str__(self) -> str:
        return f"no receipt for {self.message} within {self.seconds:g} s; whether it was routed is unknown"


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
    """The client's contracts and the bridge's cannot talk to each other; the text lists why.

    Attributes:
        types: Names of this client's messages that are concerned; empty where it is the contracts as a whole.
    """

    def __init__(self, code: int, text: str, types: tuple[str, ...] = ()) -> None:
        super().__init__(code, text)
        self.args = (code, text, types)
        self.types = types

    def __str__(self) -> str:
        return f"{super().__str__()}; connect with contracts that both can read, or with none to take the bridge's"


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
