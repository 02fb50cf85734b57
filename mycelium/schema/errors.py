"""What can be wrong with a contracts file, and with a message of it. The whole tree is in `mycelium.errors`."""

from collections.abc import Sequence
from pathlib import PurePath

from attrs import frozen

from mycelium.errors import MyceliumError
from mycelium.schema.model import Location

__all__ = [
    "ContractError",
    "ContractNotFound",
    "ContractWarning",
    "Fault",
    "JsonError",
    "LayoutError",
    "MessageError",
    "NoLayout",
    "RuleError",
    "SchemaError",
    "UnknownTypeError",
]

REDACTED = "[REDACTED]"


class SchemaError(MyceliumError):
    """A contracts file cannot be used."""


@frozen
class Fault:
    """One thing that is wrong with a contracts file."""

    location: Location
    path: str
    """Of the node, such as `messages.Order.fields.side.type`; empty for the whole file."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.location}: {where}{self.problem}; {self.remedy}"


class ContractError(SchemaError):
    """A contracts file has faults; `faults` holds every one of them, in file order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class ContractNotFound(SchemaError):
    """There is no contracts file where one was looked for; `searched` names the places."""

    def __init__(self, searched: Sequence[PurePath]) -> None:
        super().__init__(searched)
        self.searched = tuple(searched)

    def __str__(self) -> str:
        places = ", ".join(str(place) for place in self.searched)
        return f"no contracts file at {places}; give a path, or set MYCELIUM_CONTRACTS"


class ContractWarning(UserWarning):
    """A contract that works, but not as its author may think: a custom rule that nobody has registered."""


class UnknownTypeError(SchemaError):
    """The contracts have no message of that name or type id; `close` holds the nearest names."""

    def __init__(self, wanted: str | int, close: Sequence[str] = ()) -> None:
        super().__init__(wanted, close)
        self.wanted = wanted
        self.close = tuple(close)

    def __str__(self) -> str:
        hint = (
            f"did you mean {' or '.join(map(repr, self.close))}?" if self.close else "`mycelium schema show` lists them"
        )
        what = f"type id {self.wanted}" if isinstance(self.wanted, int) else f"type {self.wanted!r}"
        return f"the contracts have no {what}; {hint}"


class ContractMismatch(SchemaError):
    """A class body given to `@contracts.bind` is not what the contract says; `differences` holds a line each."""

    def __init__(self, name: str, source: str, differences: Sequence[str]) -> None:
        super().__init__(name, source, differences)
        self.name = name
        self.source = source
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return f"class {self.name} is not what {self.source} says: {'; '.join(self.differences)}; change one of them"


@frozen
class NoLayout:
    """Why a message has no layout."""

    message: str
    field: str | None
    """None where it is the message as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"{self.message}.{self.field}: {self.reason}" if self.field else f"{self.message}: {self.reason}"


class LayoutError(SchemaError):
    """Messages that cannot be spoken in the Rust dialect; `problems` holds every one of them, in file order."""

    def __init__(self, problems: Sequence[NoLayout]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        what = "; ".join(str(problem) for problem in self.problems)
        return f"no layout in the Rust dialect: {what}; use other types, or put these messages into another file"


class MessageError(MyceliumError, ValueError):
    """A message that does not fit its contract; names the message and the field, where it is one field's fault."""

    def __init__(self, message: str, field: str | None, problem: str) -> None:
        super().__init__(message, field, problem)
        self.message = message
        self.field = field
        """A dotted path for a value inside: `legs[2].price`."""
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.message}.{self.field}: {self.problem}" if self.field else f"{self.message}: {self.problem}"


class RuleError(MessageError):
    """A value breaks a rule of its contract.

    Attributes:
        rule: The rule's name, such as `max_length`.
        limit: The rule's argument.
        value: What broke it; the word REDACTED where the contract keeps values out of sight.
    """

    def __init__(self, message: str, field: str, rule: str, limit: object, value: object) -> None:
        shown = value if value == REDACTED else f"{value!r}"
        super().__init__(message, field, f"{shown} breaks the rule {rule}: {limit}")
        self.args = (message, field, rule, limit, value)
        self.rule = rule
        self.limit = limit
        self.value = value


class JsonError(MessageError):
    """JSON that is no such message; the text names every field that does not fit."""
