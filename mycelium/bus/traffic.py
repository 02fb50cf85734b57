"""What is counted of the connections of one kind of transport: seldom enough that it is always counted."""

from collections import Counter
from typing import Final, final

from mycelium.bus.histogram import Histogram
from mycelium.wire.errors import ErrorCode

__all__ = ["LOCAL", "Traffic"]

LOCAL: Final = "local"
"""The transport of what is published and handled inside the process."""
_HANDSHAKE_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@final
class Traffic:
    """Of one transport.

    Attributes:
        transport: `local`, `tcp`, `tls`, `unix` or `rust`.
        opened: Connections so far.
        closed: Those that are gone, by reason.
        handshakes: By outcome: `accepted`, or the reason of the end that came before.
        handshake_seconds: How long those took that were accepted.
        received_bytes: From connections that are gone.
        sent_bytes: To them.
        invalid: Frames that were refused, by the name of the error.
        unknown: Frames of types that the bridge does not know, by what is done with them: `skipped` where the client's
            own contracts have them, else `refused`.
        broken: Values that broke a rule, by type id and name of the rule.
        blocked_seconds: How long publishers have waited for room.
    """

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.opened = 0
        self.closed: Counter[str] = Counter()
        self.handshakes: Counter[str] = Counter()
        self.handshake_seconds = Histogram(_HANDSHAKE_SECONDS)
        self.received_bytes = self.sent_bytes = 0
        self.invalid: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.broken: Counter[tuple[int, str]] = Counter()
        self.blocked_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Traffic over {self.transport}, {self.opened} connections opened>"

    def accept(self, seconds: float) -> None:
        """A handshake was accepted."""
        self.handshakes["accepted"] += 1
        self.handshake_seconds.observe(seconds)

    def refuse(self, code: ErrorCode, type_id: int, rule: str | None, *, excused: bool) -> None:
        """A frame was not let in.

        Args:
            code: Why.
            type_id: Its type.
            rule: The name of the rule that a value breaks, if it is that.
            excused: Whether the client could not know better.
        """
        self.invalid[code.reason] += 1
        if code is ErrorCode.UNKNOWN_TYPE:
            self.unknown["skipped" if excused else "refused"] += 1
        if rule is not None:
            self.broken[type_id, rule] += 1

    def close(self, reason: str, received_bytes: int, sent_bytes: int) -> None:
        """A connection is gone."""
        self.closed[reason] += 1
        self.received_bytes += received_bytes
        self.sent_bytes += sent_bytes
