"""What can be wrong with bytes, with values on their way to bytes, and with a peer. The tree is in `mycelium.errors`.

`Misfit` never leaves the package: it carries what is wrong from the value where it was found outwards, through vecs,
maps and nested messages that each add their step of the path, to the message that words it.
"""

import reprlib
from collections.abc import Callable
from enum import Enum, IntEnum, unique
from typing import Final, Literal, Self

from mycelium.errors import MyceliumError
from mycelium.schema.errors import REDACTED, MessageError

__all__ = [
    "NOTHING",
    "DecodeError",
    "EncodeError",
    "ErrorCode",
    "LocalProtocolError",
    "Misfit",
    "ProtocolError",
    "StepKind",
    "shorten",
    "show",
]

_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 3
_LONGEST: Final = 120


class _Nothing(Enum):
    NOTHING = "nothing"

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing.NOTHING
"""No value at hand to show; None is a value."""


def show(value: object) -> str:
    """A value for an error's text: short whatever its size, and with its type where that is not obvious."""
    if isinstance(value, str) and value == REDACTED:
        return REDACTED
    return f"{shorten(_SHORT.repr(value))} ({type(value).__name__})"


def shorten(text: str) -> str:
    """A text that fits a line."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@unique
class ErrorCode(IntEnum):
    """The codes of the core message Error; the names in lower case are the close reasons in logs and metrics."""

    PROTOCOL = 1
    VERSION = 2
    LIMIT = 3
    HANDSHAKE_TIMEOUT = 4
    AUTH_REQUIRED = 5
    AUTH_REFUSED = 6
    SCHEMA_INCOMPATIBLE = 7
    UNKNOWN_TYPE = 8
    INVALID_PAYLOAD = 9
    DENIED = 10
    QUEUE_FULL = 11
    BACKPRESSURE_TIMEOUT = 12
    PAUSED = 13
    SLOW_CONSUMER = 14
    HEARTBEAT = 15
    INTERNAL = 16
    SHUTDOWN = 17

    @property
    def reason(self) -> str:
        """The name as logs, metrics and Goodbye have it."""
        return self.name.lower()

    @property
    def always_fatal(self) -> bool:
        """Whether an Error without `request` and with this code ends the connection, whatever its `fatal` says."""
        return not ErrorCode.SCHEMA_INCOMPATIBLE <= self <= ErrorCode.PAUSED


class EncodeError(MessageError):
    """A value does not fit its type.

    Attributes:
        value: What does not fit; the word REDACTED where the contract keeps values out of sight, `NOTHING` where the
            fault is not one value's.
    """

    def __init__(self, message: str, field: str | None, problem: str, value: object = NOTHING) -> None:
        super().__init__(message, field, problem)
        self.args = (message, field, problem, value)
        self.value = value

    def __str__(self) -> str:
        return super().__str__() if self.value is NOTHING else f"{super().__str__()}, got {show(self.value)}"


class DecodeError(MessageError):
    """Bytes that are no such message.

    Attributes:
        offset: Where in the payload, in bytes from its start; None where no payload was at hand.
        rule: The name of the rule that a value breaks, None where the bytes themselves are wrong.
        value: The value that is not legal or breaks the rule; the word REDACTED where the contract keeps values out
            of sight, `NOTHING` where the fault is not one value's.
    """

    def __init__(  # noqa: PLR0917  an exception is pickled by its positional arguments
        self,
        message: str,
        field: str | None,
        problem: str,
        offset: int | None,
        rule: str | None = None,
        value: object = NOTHING,
    ) -> None:
        super().__init__(message, field, problem)
        self.args = (message, field, problem, offset, rule, value)
        self.offset = offset
        self.rule = rule
        self.value = value

    def __str__(self) -> str:
        got = "" if self.value is NOTHING else f", got {show(self.value)}"
        where = "" if self.offset is None else f" (at byte {self.offset} of the payload)"
        return f"{super().__str__()}{got}{where}"


class ProtocolError(MyceliumError):
    """The peer broke the wire protocol; tell it why, then close, because the stream can no longer be trusted.

    Attributes:
        code: What the Error frame says.
        problem: What happened.
    """

    def __init__(self, code: ErrorCode, problem: str) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.code.reason}: {self.problem}"


class LocalProtocolError(ProtocolError):
    """This side was about to break the wire protocol; nothing was sent."""

    def __init__(self, problem: str) -> None:
        super().__init__(ErrorCode.PROTOCOL, problem)
        self.args = (problem,)


StepKind = Literal["field", "index", "key", "entry"]
_STEPS: Final[dict[StepKind, Callable[[object], str]]] = {
    "field": lambda name: f".{name}",
    "index": lambda index: f"[{index}]",
    "key": lambda key: f"[{key if key == REDACTED else _SHORT.repr(key)}]",
    "entry": lambda index: f"[entry {index}]",
}


class Misfit(Exception):
    """What is wrong, on its way out to the message that words it.

    Attributes:
        problem: A phrase that says what would fit.
        value: What does not, or `NOTHING`.
        offset: In the whole payload; None while encoding.
        rule: The name of the broken rule.
        limit: Its argument.
        tag: Of the field whose header is wrong, else 0.
    """

    def __init__(
        self,
        problem: str,
        value: object = NOTHING,
        offset: int | None = None,
        *,
        rule: str | None = None,
        limit: object = None,
        tag: int = 0,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.value = value
        self.offset = offset
        self.rule = rule
        self.limit = limit
        self.tag = tag
        self._steps: list[tuple[StepKind, object]] = []

    def within(self, kind: StepKind, step: object) -> Self:
        """The same, seen from one step further out."""
        self._steps.append((kind, step))
        return self

    def redacted(self) -> Self:
        """The same without any value of the message, map keys included."""
        if self.value is not NOTHING:
            self.value = REDACTED
        self._steps = [(kind, REDACTED if kind == "key" else step) for kind, step in self._steps]
        return self

    @property
    def path(self) -> str | None:
        """Such as `legs[2].price` or `table['a']`; None for the message itself."""
        text = "".join(_STEPS[kind](step) for kind, step in reversed(self._steps))
        return text.removeprefix(".") or None
