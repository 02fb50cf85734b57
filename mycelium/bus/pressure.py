"""What a bridge does about clients that do not read, and about memory that gets short."""

from collections.abc import Callable, Iterable
from typing import Protocol, final

from mycelium.bus.ledger import Ledger
from mycelium.bus.session import Session

__all__ = ["Connected", "Pressure"]


class Connected(Protocol):
    """The connection of a session."""

    session: Session

    @property
    def unsent(self) -> int:
        """Bytes that the socket was given and the kernel has not taken."""

    def watch(self, now: float) -> None:
        """Look at the socket: its peer may have to go."""


@final
class Pressure:
    """Of one bridge.

    Args:
        ledger: The memory of its bus.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stuck: dict[int, Connected] = {}
        """Connections whose sockets take no more for now."""
        self._pressed = False
        self._asked: set[int] = set()
        """Sessions that are asked to publish nothing."""

    def __repr__(self) -> str:
        return f"<Pressure, {len(self._stuck)} sockets stuck>"

    def stuck(self, connected: Connected, *, stuck: bool) -> None:
        """A socket takes no more for now, or goes on."""
        if stuck:
            self._stuck[connected.session.number] = connected
        else:
            self._stuck.pop(connected.session.number, None)

    def forget(self, session: int) -> None:
        """The connection is gone."""
        self._stuck.pop(session, None)
        self._asked.discard(session)

    def look(self, now: float, sessions: Callable[[], Iterable[Session]]) -> None:
        """Send away who does not read; ask publishers to wait, or to go on. To be called a few times a second."""
        unsent = 0
        for connected in list(self._stuck.values()):
            unsent += connected.unsent
            connected.watch(now)
        self._ledger.unsent = unsent
        self._pressed = self._ledger.is_pressed(before=self._pressed)
        if not (self._pressed or self._asked):
            return
        for session in sessions():
            if session.is_open and (session.number in self._asked) is not self._pressed:
                session.pause(paused=self._pressed)
                self._asked ^= {session.number}
