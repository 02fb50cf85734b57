"""What is logged of one client at the bridge: a line per matter and second, and in each who the client is."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias, final

from mycelium.bus.heldlines import HeldLines
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.printable import printable

__all__ = ["Place", "SessionLog", "for_people"]

_log: Final = Log("mycelium.bridge")
Place: TypeAlias = tuple[str | None, str | None]
"""The transport of a connection, and its other end."""
Share: TypeAlias = Callable[[str, float, Callable[..., object], int], bool]
"""Writes a line, or holds it back, within what all clients of a place may cause; see `HeldLines.write`."""


_MOST_SHOWN: Final = 128
"""Characters of a peer's text that are repeated to people."""


def for_people(text: str) -> str:
    """A peer's text, cut, and with nothing in it that could move a cursor."""
    return printable(text[:_MOST_SHOWN])


@final
class SessionLog:
    """Of one session.

    Args:
        number: The session's.
        share: See above.

    Attributes:
        client: The name that the client gave itself, cut and escaped.
        principal: Who the client is, as it is shown, once that is known.
        find_place: Looks up where the client is, when that is first told; None for a session without a socket.
        strangers: Lines about all clients together that were not let in yet, of whom there may be any number; None once
            this one is.
    """

    __slots__ = ("_held", "_now", "_number", "_place", "_share", "client", "find_place", "principal", "strangers")

    def __init__(self, number: int, share: Share) -> None:
        self.client = ""
        self.principal: str | None = None
        self.find_place: Callable[[], Place] | None = None
        self.strangers: HeldLines | None = None
        self._number = number
        self._place: Place | None = None
        self._held: HeldLines | None = None
        self._share = share
        self._now = 0.0
        """When something was last to be logged within limits."""

    def __repr__(self) -> str:
        return f"<SessionLog of {self.client!r}>"

    @property
    def place(self) -> Place:
        """Where the client is."""
        if self._place is None:
            self._place = (None, None) if self.find_place is None else self.find_place()
        return self._place

    def say(self, line: Line, /, **values: Any) -> None:
        """Log a line; `values` as for `Log`."""
        if not _log.hears(line.level):
            return
        transport, peer = self.place
        _log(
            line,
            conn_id=self._number,
            client=self.client or "?",
            client_name=self.client or None,
            client_id=self.principal,
            transport=transport,
            peer=peer,
            **values,
        )

    def tell(self, line: Line, now: float, **values: Any) -> None:
        """Log what a client may cause as often as it connects; see `say`."""
        if _log.hears(line.level):
            self._share(line.event, now, partial(self.say, line, **values), 1)

    def limited(self, line: Line, reason: str, text: str, now: float, **values: Any) -> bool:
        """Log what a client may cause as often as it likes: one line per event, reason and second.

        Those of clients that were let in are shared with the others of their place.

        Args:
            line: What.
            reason: Why, in a word.
            text: The same for people.
            now: Seconds of a monotonic clock.
            values: As for `Log`.

        Returns:
            Whether this client has a line left for it now.
        """
        matter, say = f"{line.event} {reason}", partial(self.say, line, **values, reason=reason, text=text)
        if self.strangers is not None:
            return self.strangers.write(matter, now, say)
        if self._held is None:
            self._held = HeldLines()
        self._now = now
        return self._held.write(matter, now, partial(self._pass_on, matter, say))

    def close(self, reason: str | None, now: float) -> None:
        """The session is over; what was held back and not told since is told now, so that the sums are right."""
        self._now = now
        if self._held is not None:
            self._held.settle()
        if self.strangers is None:
            self.tell(Line.CONN_CLOSED, now, reason=reason)
        else:
            self.say(Line.CONN_LEFT, reason=reason)

    def _pass_on(self, matter: str, say: Callable[..., object], suppressed: int) -> None:
        self._share(matter, self._now, say, 1 + suppressed)
