"""How a client ends: what it has is finished, what it published is sent, and then it is gone."""

import asyncio
import contextlib
from typing import Final, final

from mycelium.bus.clientstate import ClientState
from mycelium.bus.errors import BusError, ConnectionLost, DrainTimeout, Refused
from mycelium.bus.eventstream import Events
from mycelium.bus.inbox import Inbox
from mycelium.bus.lifeline import Lifeline
from mycelium.bus.outcome import heard
from mycelium.bus.outlet import Outlet
from mycelium.bus.tasks import Tasks
from mycelium.events import Draining
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Ending"]

_log = Log("mycelium.client")
_SETTLE_SECONDS: Final = 4.0
"""How long `close` waits for handlers and for what is unsent."""
_CLOSE_SECONDS: Final = 5.0
"""How long it takes at most."""
_LEAVE_SECONDS: Final = 1.0
"""How long saying Goodbye may take after a drain that was not finished in time."""


@final
class Ending:
    """The end of a client, which happens once however often it is asked for.

    Args:
        lifeline: Its connections.
        inbox: What it has received.
        outlet: What it has published.
        tasks: What goes on beside.
        events: Where it is told.

    Attributes:
        is_begun: Whether nothing new is subscribed to.
        is_closing: Whether only handlers may still publish.
        is_sealed: Whether nobody may.
    """

    def __init__(self, lifeline: Lifeline, inbox: Inbox, outlet: Outlet, *, tasks: Tasks, events: Events) -> None:
        self.is_begun = self.is_closing = self.is_sealed = False
        self._lifeline = lifeline
        self._inbox = inbox
        self._outlet = outlet
        self._work = tasks
        self._events = events
        self._task: asyncio.Task[DrainTimeout | None] | None = None
        self._timer: asyncio.Timeout | None = None
        self._latest = 0.0

    def __repr__(self) -> str:
        return f"<Ending {'sealed' if self.is_sealed else 'begun' if self.is_begun else 'to come'}>"

    async def drain(self, timeout: float) -> None:
        """End in peace.

        Raises:
            DrainTimeout: It took too long; everything is closed all the same.
        """
        late = await self._end(timeout, timeout + _LEAVE_SECONDS)
        if late is not None:
            raise DrainTimeout(*late.args)

    async def close(self) -> None:
        """End within 5 s."""
        self.is_closing = True
        self._outlet.wake()
        await self._end(_SETTLE_SECONDS, _CLOSE_SECONDS)

    async def _end(self, settle: float, most: float) -> DrainTimeout | None:
        self._inbox.dispatcher.excuse_caller()
        self._lifeline.hurry()
        now = asyncio.get_running_loop().time()
        if self._task is None:
            self.is_begun = True
            self._latest = now + most
            self._task = asyncio.create_task(self._run(now + settle), name="mycelium client closing")
        elif self._timer is not None and (self._timer.when() or 0.0) > now + settle:
            self._latest = now + most
            self._timer.reschedule(now + settle)
        return await asyncio.shield(self._task)

    async def _run(self, deadline: float) -> DrainTimeout | None:
        if self._lifeline.is_begun and not self._lifeline.is_over:
            self._events.tell(Draining())
        late: DrainTimeout | None = None
        self._timer = asyncio.timeout_at(deadline)
        try:
            async with self._timer:
                await self._settle()
        except TimeoutError:
            unconfirmed = self._outlet.buffer.messages + len(self._outlet.receipts)
            late = DrainTimeout(self._inbox.dispatcher.unhandled, unconfirmed)
        self._timer = None
        await self._leave()
        return late

    async def _settle(self) -> None:
        """Finish everything, however long it takes."""
        with contextlib.suppress(ConnectionLost, Refused):
            for answer in self._inbox.stop():
                await heard(answer)
        await self._inbox.dispatcher.idle()
        self.is_sealed = True
        self._outlet.wake()
        with contextlib.suppress(BusError):
            await self._send_everything()

    async def _send_everything(self) -> None:
        """Wait until the bridge has all that was published, over however many connections that takes.

        Raises:
            BusError: It will never have it.
        """
        while self._lifeline.is_begun and (self._unsent or self._lifeline.phase is ClientState.CONNECTED):
            conversation = await self._lifeline.joined()
            with contextlib.suppress(ConnectionLost):
                await heard(conversation.ping())  # behind everything that is in the buffer
                await self._outlet.receipts.settled()
                if not self._unsent:
                    return

    @property
    def _unsent(self) -> int:
        return self._outlet.buffer.messages + len(self._outlet.receipts)

    async def _leave(self) -> None:
        self.is_sealed = True
        conversation = self._lifeline.conversation
        await self._lifeline.leave()
        self._outlet.wake()
        await self._work.end()
        await self._inbox.dispatcher.end()
        if conversation is not None:
            await conversation.part(self._latest - asyncio.get_running_loop().time())
        self._lifeline.finish(f"this client has closed it{self._regret()}")

    def _regret(self) -> str:
        """What is said of messages that nobody will send any more."""
        unsent = self._outlet.buffer.messages
        if not unsent:
            return ""
        _log(Line.CLIENT_UNSENT, client_name=self._lifeline.settings.name, dropped=unsent)
        return f"; {unsent} messages were not sent"
