"""One connection of a client to a bridge, from its Hello to its end: what was asked, and what Welcome said."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Protocol, TypeAlias, final

from mycelium.bus.errors import ConnectError, ConnectionLost, TlsError, refusal
from mycelium.bus.heartbeat import Due, Heartbeat
from mycelium.bus.link import Link
from mycelium.bus.outcome import heard, new_outcome
from mycelium.bus.outlet import Outlet
from mycelium.bus.requests import Answer, Requests
from mycelium.bus.segment import Note
from mycelium.bus.urls import Address
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Core, Event
from mycelium.wire.state import is_fatal

__all__ = ["Connect", "Conversation", "Listener"]

_log = Log("mycelium.client")
Connect: TypeAlias = Callable[[Address, Core, Callable[[Event], None], Callable[[str], None]], Awaitable[Link]]
_TICK_SECONDS: Final = 0.5
_PART_SECONDS: Final = 5.0


class Listener(Protocol):
    """Who is told of what the bridge says beside answers."""

    def on_batch(self, batch: Batch) -> None:
        """Application frames came."""

    def on_notice(self, notice: Message) -> None:
        """A core message came that is no answer: an Error about something published, Lagged, Flow and so on."""

    def second_hello(self) -> Message:
        """What is said when the bridge asks for the contracts."""

    def on_tick(self) -> None:
        """Half a second has gone by."""

    def on_goodbye(self) -> None:
        """The bridge is about to go: nothing may be asked any more."""

    def on_loop_end(self) -> None:
        """The event loop shuts down under the connection, which is about to say Goodbye."""

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""


@final
class Conversation:
    """What a client and a bridge have to say to each other.

    Args:
        core: The core protocol.
        listener: Who is told what comes.
        outlet: Through which everything goes once the bridge has said Welcome.

    Attributes:
        lost: Done with the reason when the connection is gone.
        welcome: What the bridge said; None before.
    """

    def __init__(self, core: Core, listener: Listener, outlet: Outlet) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.welcome: Any = None
        self._core = core
        self._listener = listener
        self._outlet = outlet
        self._link: Link | None = None
        self._opening = new_outcome()
        self._requests = Requests()
        self._pings = Requests()
        self._bodies: dict[int, list[bytes]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._parting = ""
        """Why no more is said but Credit and Pong; empty as long as everything may be."""

    def __repr__(self) -> str:
        state = "lost" if self.lost.done() else "open" if self.welcome is not None else "opening"
        return f"<Conversation {state}, {len(self._requests)} requests>"

    # --- the beginning ---

    async def open(self, address: Address, hello: Message, connect: Connect) -> Any:
        """Connect and say Hello; the Welcome.

        Args:
            address: Of the bridge.
            hello: What is said first.
            connect: Makes the link.

        Raises:
            ConnectError: Nobody is there, or the connection ended before Welcome.
            SecurityError: A file of the credentials cannot be used.
            Refused: The bridge does not let this client in.
        """
        link = self._link = await connect(address, self._core, self._receive, self._lose)
        # It runs before a Welcome can come, so that a loop that shuts down right after `connect` finds it running.
        self._keeper = asyncio.create_task(self._keep(link), name=f"mycelium connection to {address}")
        if not link.is_secure.done():
            either: list[asyncio.Future[Any]] = [link.is_secure, self.lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if link.is_secure.done():
            link.write(link.frame(hello))
        try:
            self.welcome = await heard(self._opening)
        except ConnectionLost as error:
            if link.is_distrusted:
                raise TlsError(str(address), error.reason, is_refusal=link.is_refused) from error
            raise ConnectError(str(address), error.reason) from error
        return self.welcome

    # --- asking ---

    @property
    def is_open(self) -> bool:
        """Whether something may be published or asked."""
        return self._link is not None and self._link.is_open and not self._parting and not self.lost.done()

    @property
    def peer(self) -> object:
        """The bridge, as the socket names it; None where there is no connection."""
        return None if self._link is None else self._link.peer

    @property
    def why_not(self) -> str:
        """Why nothing may be published or asked any more."""
        return self.lost.result() if self.lost.done() else self._parting or "it is closing"

    def ask(self, make: Callable[[int], Message], on_answer: Callable[[], None] | None = None) -> Answer:
        """Send a request now; the future of its Ack, which fails with Refused or ConnectionLost.

        Args:
            make: The request with its number.
            on_answer: Called the moment that the Ack comes.

        Raises:
            ConnectionLost: There is no connection any more.
        """
        self._refuse_if_over()
        number, answer = self._requests.ask(on_answer)
        self._say(make(number))
        return answer

    def query(self, what: str, body: bytes | None) -> tuple[Answer, list[bytes]]:
        """Send a Query now; the future of its last Answer, and where their bodies are gathered.

        Raises:
            ConnectionLost: There is no connection any more.
        """
        self._refuse_if_over()
        number, answer = self._requests.ask()
        bodies = self._bodies[number] = []
        answer.add_done_callback(lambda _: self._bodies.pop(number, None))
        self._say(self._core.Query(request=number, what=what, body=body))
        return answer, bodies

    def ping(self) -> Answer:
        """Send a Ping now; the future of its Pong.

        Raises:
            ConnectionLost: There is no connection any more.
        """
        self._refuse_if_over()
        number, answer = self._pings.ask()
        self._say(self._core.Ping(nonce=number), is_barrier=True)
        return answer

    def give_credit(self, subscription: int, messages: int) -> None:
        """Tell the bridge that handlers are done with messages; it may be told so up to the last moment."""
        self._say(self._core.Credit(subscription=subscription, messages=messages))

    # --- the end ---

    def abort(self, reason: str) -> None:
        """End the connection now, whatever is unsent, if it has not ended yet."""
        if self._link is None:
            self._lose(reason)
        elif not self.lost.done():
            self._link.abort(reason)

    async def part(self, seconds: float = _PART_SECONDS) -> None:
        """Say Goodbye and wait until the bridge closes, which it does when it has taken everything before.

        Closed from here the socket might take back what was sent: unread bytes in it reset the connection.
        """
        link = self._link
        if link is not None and link.is_open and self.welcome is not None:
            if not self._parting:
                self._parting = "this client has closed it"
                self._say(self._core.Goodbye(reason="client"), is_barrier=True, is_last=True)
            self._outlet.pump()
            await asyncio.wait([self.lost], timeout=max(seconds, 0))
        await self.abandon()

    async def abandon(self) -> None:
        """End the connection now, and wait until nothing of it is left."""
        self.abort("this client has closed it")
        await self.ended()

    async def ended(self) -> None:
        """Wait until nothing of the conversation is left, after `part` or `abort`."""
        ours = asyncio.current_task()
        waited = [one for one in (self.lost, self._keeper) if one is not None and one is not ours and not one.done()]
        if waited:  # what is done already may be of a loop that is closed
            await asyncio.wait(waited)

    async def _keep(self, link: Link) -> None:
        """Watch the clock while connected. A loop that shuts down cancels this task: then the client parts properly."""
        try:
            while not self.lost.done():
                await asyncio.wait([self.lost], timeout=_TICK_SECONDS)
                if link.is_open:
                    self._look_at_clock(link)
                    self._listener.on_tick()
        except asyncio.CancelledError:
            if not self.lost.done():
                self._listener.on_loop_end()
                await self.part()
            raise
        except Exception as error:  # noqa: BLE001  nobody would watch this connection any more
            _log(Line.FAULT, caused_by=error, problem="the connection could not be watched")
            self.abort("a fault of this client; its log has more")

    def _look_at_clock(self, link: Link) -> None:
        match link.look_at_clock():
            case Due.PING:
                if not self._parting:  # after a Goodbye nothing may be asked, but the bridge may still be lost
                    self._say(self._core.Ping(nonce=0))
            case Due.DEAD:
                link.abort("nothing heard for three heartbeats")
            case Due.NOTHING:
                pass

    # --- saying ---

    def _refuse_if_over(self) -> None:
        if not self.is_open:
            raise ConnectionLost(self.why_not)

    def _say(self, message: Message, *, is_barrier: bool = False, is_last: bool = False) -> None:
        """Say something on the open connection; on one that is gone there is nobody to hear it."""
        if self._link is not None and self._link.is_open and not self.lost.done():
            self._outlet.say(Note(self._link.frame(message), is_barrier=is_barrier, is_last=is_last))

    # --- what comes ---

    def _receive(self, event: Event) -> None:
        if self.lost.done():
            return  # the next connection may be there already
        if isinstance(event, Batch):
            self._listener.on_batch(event)
        else:
            self._ANSWERS.get(type(event).__name__, Conversation._on_other)(self, event)

    def _on_welcome(self, welcome: Any) -> None:
        assert self._link is not None  # noqa: S101  it is what this came through
        self._link.heartbeat = Heartbeat(welcome.heartbeat_ms / 1000, asyncio.get_running_loop().time())
        self._outlet.attach(self._link, welcome.session)
        if not self._opening.done():
            self._opening.set_result(welcome)

    def _on_need_contracts(self, _: Any) -> None:
        if self._link is not None:
            self._link.write(self._link.frame(self._listener.second_hello()))

    def _on_error(self, error: Any) -> None:
        refused = refusal(error.code, error.message)
        if error.request is not None and self._requests.refuse(error.request, refused):
            return
        if is_fatal(error) and self._link is not None:
            self._link.close(str(refused))  # first: whoever is told may want to say something
        if self.welcome is None and not self._opening.done():
            self._opening.set_exception(refused)
        else:
            self._listener.on_notice(error)

    def _on_ack(self, ack: Any) -> None:
        self._requests.answer(ack.request)

    def _on_answer(self, answer: Any) -> None:
        self._bodies.get(answer.request, []).append(answer.body)
        if not answer.more:
            self._requests.answer(answer.request)

    def _on_ping(self, ping: Any) -> None:
        self._say(self._core.Pong(nonce=ping.nonce))

    def _on_pong(self, pong: Any) -> None:
        if not self._outlet.pong(pong.nonce):
            self._pings.answer(pong.nonce)

    def _on_goodbye(self, goodbye: Any) -> None:
        """The bridge is going; it gets what was published before, and delivers what it still has."""
        if not self._parting and self._link is not None:
            self._parting = f"the bridge said goodbye: {goodbye.reason}"
            self._say(self._core.Goodbye(reason=goodbye.reason), is_barrier=True, is_last=True)
            self._listener.on_goodbye()

    def _on_other(self, notice: Any) -> None:
        self._listener.on_notice(notice)

    _ANSWERS: ClassVar[Mapping[str, Callable[["Conversation", Any], None]]] = {
        "Welcome": _on_welcome,
        "NeedContracts": _on_need_contracts,
        "Error": _on_error,
        "Ack": _on_ack,
        "Answer": _on_answer,
        "Ping": _on_ping,
        "Pong": _on_pong,
        "Goodbye": _on_goodbye,
    }

    def _lose(self, reason: str) -> None:
        if self.lost.done():
            return
        reason = self._parting or reason
        self.lost.set_result(reason)
        error = ConnectionLost(reason)
        if self._link is not None:
            self._outlet.detach(self._link, error)
        self._requests.fail(error)
        self._pings.fail(error)
        if not self._opening.done():
            self._opening.set_exception(error)
        self._listener.on_lost(reason)
