"""Who is let into a bridge, what for, and who has to go: what is asked of clients, and what their number allows."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, final

from mycelium.bus.heldlines import HeldLines
from mycelium.bus.limits import Limits
from mycelium.bus.placelines import PlaceLines
from mycelium.bus.security.acl import Permits
from mycelium.bus.security.crowd import Crowd
from mycelium.bus.security.guard import Guard
from mycelium.bus.security.identity import NOBODY, Identity
from mycelium.bus.security.peer import Peer
from mycelium.bus.security.settings import Security
from mycelium.events import Event
from mycelium.schema.registry import Registry
from mycelium.wire.errors import ErrorCode, ProtocolError

if TYPE_CHECKING:
    from mycelium.bus.session import Session

__all__ = ["Admission"]

_UNKNOWN: Final = frozenset({ErrorCode.AUTH_REQUIRED.reason, ErrorCode.AUTH_REFUSED.reason})
"""Ends of those who could not say who they are."""


@final
class Admission:
    """Of one bridge.

    Args:
        security: What is asked.
        limits: How many may come.
        sessions: Everybody who is connected now.
        registry: The newest generation.
        tell: Where events go.

    Attributes:
        guard: What is in force.
        strangers: Lines of log about clients that were not let in.
        places: The same of those that were, by where they come from.
        clock: Seconds since the epoch, by which certificates expire.
    """

    def __init__(
        self,
        security: Security,
        limits: Limits,
        sessions: "Callable[[], Iterable[Session]]",
        registry: Callable[[], Registry[Any]],
        tell: Callable[[Event], object],
    ) -> None:
        self.guard = Guard(security, tell)
        self.strangers = HeldLines()
        self.places = PlaceLines()
        self.clock = time.time
        self._crowd = Crowd(limits)
        self._sessions = sessions
        self._registry = registry

    def __repr__(self) -> str:
        return f"<Admission, {self.guard!r}, {self._crowd!r}>"

    def start(self, limits: Limits) -> None:
        """Read every file.

        Args:
            limits: How many may come, as far as this process can afford them.

        Raises:
            SecurityError: One of them cannot be used.
        """
        self._crowd.limits = limits
        self.guard.start()
        self._look_for_slips()

    # --- one client ---

    def arrives(self, peer: Peer, now: float) -> tuple[ErrorCode, str] | None:
        """Count a connection, until it leaves; why it has to leave before it has said anything, or None."""
        crowded = self._crowd.enter(peer.origin, now)
        unwanted = self.guard.turned_away(peer)
        if unwanted is not None:
            return ErrorCode.AUTH_REFUSED, unwanted
        return None if crowded is None else (ErrorCode.LIMIT, crowded)

    def admit(self, peer: Peer, token: str | None, now: float) -> Identity:
        """Who a client is.

        Raises:
            ProtocolError: It is not let in, or too many there could not say who they are: then nothing is compared.
        """
        spent = self._crowd.spent(peer.origin, now)
        if spent is not None:
            raise ProtocolError(ErrorCode.LIMIT, spent)
        return self.guard.admit(peer, token)

    def permits(self, identity: Identity) -> Permits:
        """What a client must not do, as contracts and access rules are now."""
        return self.guard.permits(identity, self._registry())

    def trusts(self, session: "Session") -> bool:
        """Whether a client may see others and have contracts reloaded."""
        return self.guard.is_admin(session.peer, session.identity, self._registry())

    def leaves(self, session: "Session", *, known: bool) -> None:
        """A session is over.

        Args:
            session: See above.
            known: Whether its client had been let in; if that has to go now, it could say who it was.
        """
        self._crowd.leave(session.peer.origin)
        if not known and session.reason in _UNKNOWN:
            self._crowd.failed(session.peer.origin, session.now)

    # --- all of them ---

    def judge(self) -> None:
        """Other tokens, rules or contracts are in force: some may have to go, and others may do less, or more."""
        self._look_for_slips()
        now = self.clock()
        for session in self._sessions():
            problem = self.guard.still_admits(session.identity, now)
            if problem is not None:
                session.refuse(ErrorCode.AUTH_REFUSED, problem)
            elif session.is_open:
                session.permit()

    def look(self, now: float) -> None:
        """Send those away whose certificates have expired; to be called about once a second.

        Args:
            now: Seconds of a monotonic clock.
        """
        if self.guard.security.asks_certificates:
            today = self.clock()
            for session in self._sessions():
                if session.identity.expires_at <= today:
                    session.refuse(ErrorCode.AUTH_REFUSED, "the client's certificate has expired")
        self.strangers.settle(now)
        self.places.settle(now)

    def end(self) -> None:
        """Nobody comes any more."""
        self.strangers.settle()
        self.places.settle()

    def _look_for_slips(self) -> None:
        """Have patterns told that no message fits, before somebody comes whom they concern."""
        self.guard.permits(NOBODY, self._registry())
