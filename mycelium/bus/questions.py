"""Queries of clients that wait for their turn: a few short lines from one of them must not hold up all others."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

from mycelium.bus.queries import Refusal, answer
from mycelium.bus.session import Session
from mycelium.bus.tasks import Tasks
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.wire.errors import ErrorCode

if TYPE_CHECKING:
    from mycelium.bus.bridge import Bridge

__all__ = ["Questions"]

_log = Log("mycelium.bridge")
MOST_WAITING: Final = 16
"""Queries of a connection that wait behind the one that is being answered."""
_MOST_ANSWERS: Final = 1024 * 1024
"""Bytes that may wait for a client that asks for more."""


@final
class Questions:
    """Of one bridge: one query of a connection at a time, and one of all connections in a turn of the loop.

    Args:
        bridge: Who is asked.
        tasks: Where they are answered.
    """

    def __init__(self, bridge: "Bridge", tasks: Tasks) -> None:
        self._bridge = bridge
        self._tasks = tasks
        self._turn = asyncio.Lock()
        self._asked: dict[Session, deque[Any]] = {}
        """The first one of each is being answered."""

    def __repr__(self) -> str:
        return f"<Questions of {len(self._asked)} sessions>"

    def ask(self, session: Session, query: Any) -> None:
        """Answer a query when it is its turn, or refuse it now."""
        asked = self._asked.get(session)
        if asked is None:
            asked = self._asked[session] = deque([query])
            self._tasks.start(self._answer_all(session, asked))
        elif len(asked) > MOST_WAITING:
            problem = f"over {MOST_WAITING} queries of this connection wait; ask when others are answered"
            session.answer_no(query.request, ErrorCode.LIMIT, problem)
        else:
            asked.append(query)

    async def _answer_all(self, session: Session, asked: deque[Any]) -> None:
        try:
            while asked and not session.is_over:
                async with self._turn:
                    await asyncio.sleep(0)
                await self._answer(session, asked[0])
                asked.popleft()
        finally:
            del self._asked[session]

    async def _answer(self, session: Session, query: Any) -> None:
        try:
            if len(session.outgoing) > _MOST_ANSWERS:
                raise Refusal(ErrorCode.LIMIT, "answers are waiting that the client has not read")  # noqa: TRY301
            session.answer(query.request, await answer(self._bridge, query.what, query.body, session))
        except Refusal as refusal:
            session.answer_no(query.request, refusal.code, refusal.problem)
        except Exception as error:  # noqa: BLE001  those behind it are answered all the same
            _log(Line.FAULT, caused_by=error, problem="a query could not be answered")
            session.answer_no(query.request, ErrorCode.INTERNAL, "a fault of the bridge's own; its log has more")
