"""What a user is told when a command fails: one line what, one why, one what to try; and the exit code."""

import sys
import warnings
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from mycelium.bus.errors import (
    BindError,
    BusError,
    ConnectError,
    ConnectionLost,
    Refused,
    SchemaMismatch,
    SecurityError,
    TlsError,
    UsageError,
)
from mycelium.errors import MyceliumError
from mycelium.schema.errors import (
    ContractError,
    ContractNotFound,
    ContractWarning,
    JsonError,
    LayoutError,
    MessageError,
    SchemaError,
    UnknownTypeError,
)
from mycelium.wire.errors import DecodeError

__all__ = ["explain", "fail", "meaning", "say_warnings"]

Told: TypeAlias = tuple[str, str, str]
"""What, why, what to try."""


def fail(code: int, what: str, why: str = "", remedy: str = "") -> int:
    """Say what failed, on stderr, and give back the exit code."""
    lines = [f"mycelium: {what}"]
    lines += [f"  why: {why}"] if why else []
    lines += [f"  try: {remedy}"] if remedy else []
    print("\n".join(lines), file=sys.stderr)
    return code


def say_warnings() -> None:
    """Have warnings about contracts said in a line each, whatever Python was told to do with warnings."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if issubclass(category, ContractWarning):
            print(f"mycelium: warning: {message}", file=sys.stderr)
        else:
            usual(message, category, *place)

    usual = warnings.showwarning
    warnings.showwarning = show  # type: ignore[assignment]  # the rest is passed on as it comes
    warnings.simplefilter("always", ContractWarning)


def explain(error: MyceliumError) -> int:
    """Say what an error means; the exit code that goes with it."""
    code, told = meaning(error)
    return fail(code, *told)


def meaning(error: MyceliumError) -> tuple[int, Told]:
    """What an error means: an exit code, and what is said of it."""
    if isinstance(error, UnknownTypeError) and isinstance(error.wanted, int):
        return 1, _unknown(error)  # bytes named it, no user did
    for kind, code, tell in _TABLE:
        if isinstance(error, kind):
            return code, tell(error)
    return 1, _plain(error)


def _faults(error: ContractError) -> Told:
    count = len(error.faults)
    head = f"the contract is invalid, {count} fault{'s' if count > 1 else ''}"
    return "\n".join([head, *(f"  {fault}" for fault in error.faults)]), "", ""


def _not_found(error: ContractNotFound) -> Told:
    places = ", ".join(map(str, error.searched))
    return "no contracts file", f"there is none at {places}", "name one on the command line, or set MYCELIUM_CONTRACTS"


def _unknown(error: UnknownTypeError) -> Told:
    what, _, remedy = str(error).partition("; ")
    return what, "", remedy


def _connect(error: ConnectError) -> Told:
    return f"no bridge at {error.url}", error.reason, "start one with `mycelium serve`, or give another --url"


def _tls(error: TlsError) -> Told:
    why, _, remedy = error.reason.partition("; ")
    return f"no private connection to {error.url}", why, remedy


def _security(error: SecurityError) -> Told:
    if len(error.lines) > 1:
        return "\n".join(["the security settings cannot be used", *(f"  {line}" for line in error.lines)]), "", ""
    why, _, remedy = str(error).partition("; ")
    return "the security settings cannot be used", why, remedy


def _bind(error: BindError) -> Told:
    return f"cannot listen on {error.url}", error.reason, error.remedy


def _no_layout(error: LayoutError) -> Told:
    lines = (f"  {problem}" for problem in error.problems)
    remedy = "use other types, or put these messages into a file of their own"
    return "\n".join(["messages that the Rust dialect has no layout for", *lines]), "", remedy


def _refused(error: Refused) -> Told:
    why, _, remedy = error.text.partition("; ")
    return "the bridge refused", why, remedy


def _mismatch(error: SchemaMismatch) -> Told:
    remedy = (
        "give the bridge's contracts with --contracts, or run where there is no contracts.yaml to take the bridge's"
    )
    return "these contracts and the bridge's cannot talk to each other", error.text, remedy


def _lost(error: ConnectionLost) -> Told:
    return "the connection to the bridge ended", error.reason, "look at the bridge's output, and run it again"


def _message(error: MessageError) -> Told:
    remedy = f"`mycelium schema show {error.message}` prints its fields"
    return "the message does not fit its contract", str(error), remedy


def _decode(error: DecodeError) -> Told:
    return "these bytes are no such message", str(error), "--annotate explains them up to the fault"


def _usage(error: UsageError) -> Told:
    what, _, remedy = str(error).partition("; ")
    return what, "", remedy


def _plain(error: MyceliumError) -> Told:
    return str(error), "", ""


_TABLE: Final[list[tuple[type[MyceliumError], int, Callable[[Any], Told]]]] = [
    (ContractNotFound, 4, _not_found),
    (ContractError, 3, _faults),
    (UnknownTypeError, 2, _unknown),
    (LayoutError, 3, _no_layout),
    (SchemaError, 3, _plain),
    (JsonError, 2, _message),
    (DecodeError, 1, _decode),
    (MessageError, 2, _message),
    (TlsError, 4, _tls),
    (ConnectError, 4, _connect),
    (ConnectionLost, 4, _lost),
    (BindError, 1, _bind),
    (SecurityError, 2, _security),
    (SchemaMismatch, 1, _mismatch),
    (Refused, 1, _refused),
    (UsageError, 2, _usage),
    (BusError, 1, _plain),
]
"""Kinds of errors, most specific first, with exit code and words."""
