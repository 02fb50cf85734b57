"""The tree of exceptions, and the error codes of the wire protocol."""

from collections.abc import Iterator
from typing import Final

import mycelium
from mycelium.bus.errors import _REFUSALS, Refused
from mycelium.errors import MyceliumError
from mycelium.wire.errors import ErrorCode
from mycelium_docs.markdown import first_line, table

__all__ = ["codes", "tree"]

_MEANINGS: Final = {
    "protocol": "a side said what it must not say, or bytes are no frames",
    "version": "another version of the wire protocol",
    "limit": "a limit is exceeded: connections, subscriptions, the size of a frame, errors",
    "handshake_timeout": "the handshake took too long",
    "auth_required": "the bridge wants to know who this is",
    "auth_refused": "the bridge does not let this one in",
    "schema_incompatible": "contracts that cannot talk to each other, or a reload that took types away",
    "unknown_type": "a type id that neither the bridge nor the session's own contracts have",
    "invalid_payload": "a payload that is no such message, or breaks a rule",
    "denied": "not permitted to publish, subscribe or ask that",
    "queue_full": "a subscriber under `reject` has no room",
    "backpressure_timeout": "a subscriber under `block` had no room in time",
    "paused": "published although the bridge had asked to wait, beyond what may be on its way",
    "slow_consumer": "a client does not read, or its lag policy is `disconnect`",
    "heartbeat": "nothing was heard for three intervals",
    "internal": "the bridge has failed",
    "shutdown": "the bridge stops",
}


def tree() -> str:
    """Public exceptions, each under its base."""
    return "\n".join(_branch(MyceliumError, 0)) + "\n"


def _branch(kind: type[BaseException], depth: int) -> Iterator[str]:
    also = [base.__name__ for base in kind.__bases__ if not issubclass(base, MyceliumError) and base is not Exception]
    beside = f" (also a `{'`, `'.join(also)}`)" if also else ""
    yield f"{'  ' * depth}- {{py:exc}}`~mycelium.{kind.__name__}`{beside}: {first_line(kind)}"
    for each in kind.__subclasses__():
        if each.__name__ in mycelium.__all__:
            yield from _branch(each, depth + 1)


def codes() -> str:
    """What an Error of a bridge says."""
    if _MEANINGS.keys() != {code.reason for code in ErrorCode}:
        raise LookupError(f"error codes and their meanings differ: {_MEANINGS.keys() ^ {c.reason for c in ErrorCode}}")
    rows = (
        (
            code.value,
            f"`{code.reason}`",
            "always" if code.always_fatal else "",
            f"{{py:exc}}`~mycelium.{_REFUSALS.get(code, Refused).__name__}`",
            _MEANINGS[code.reason],
        )
        for code in ErrorCode
    )
    return table(["code", "name", "ends the connection", "raised as", "meaning"], rows)
