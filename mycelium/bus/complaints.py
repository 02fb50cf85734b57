"""Lines of log about one client, within limits: what a peer does must not fill a disk."""

import logging
from typing import final

from mycelium.bus.budget import LogLimit
from mycelium.bus.security.peer import Peer

__all__ = ["Complaints"]

_log = logging.getLogger("mycelium.bridge")


@final
class Complaints:
    """About one session.

    Args:
        session: Its number.
        peer: Who it is as long as nothing else is known.
        strangers: The limit for all clients together that were not let in yet, since there may be any number of them.
    """

    def __init__(self, session: int, peer: Peer, strangers: LogLimit) -> None:
        self._session = session
        self._peer = peer
        self._strangers = strangers
        self._own: LogLimit | None = None

    def __repr__(self) -> str:
        return f"<Complaints about session {self._session}>"

    def say(self, client: str, reason: str, text: str, now: float, *, known: bool) -> None:
        """One line per reason and second.

        Args:
            client: The name that it gave itself.
            reason: What kind of trouble it is.
            text: More about it.
            now: Seconds of a monotonic clock.
            known: Whether it was let in.
        """
        if known and self._own is None:
            self._own = LogLimit()
        lines = self._own if known and self._own is not None else self._strangers
        held = lines.admit(reason, now)
        if held is not None:
            more = f" (and {held} more before)" if held else ""
            who = client or "?" if known else f"{client or '?'} at {self._peer.place}"
            _log.warning("client %s, session %d: %s: %s%s", who, self._session, reason, text, more)
