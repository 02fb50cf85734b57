"""Keeps a client connected: the first connection, what is done when one is lost, and when it is given up."""

import asyncio
import contextlib
import copy
import random
from collections.abc import Callable
from typing import Any, Final, final

from mycelium.bus.backoff import Backoff
from mycelium.bus.clientparts import Parts, Settings
from mycelium.bus.clientstate import ClientState
from mycelium.bus.connectfailure import explained
from mycelium.bus.conversation import Conversation
from mycelium.bus.errors import (
    AuthError,
    BusError,
    ClosedError,
    ConnectionLost,
    Refused,
    SchemaMismatch,
    TlsError,
    UsageError,
    VersionError,
)
from mycelium.bus.foreign import refuse, way_to
from mycelium.bus.outcome import heard
from mycelium.bus.segment import Note
from mycelium.bus.urls import Address
from mycelium.events import Closed, Connected, Connecting, Disconnected, Reconnecting
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.schema.errors import ContractError
from mycelium.wire.connection import Core

__all__ = ["Lifeline"]

_log = Log("mycelium.client")
_MOST_REFUSALS: Final = 2
"""Refused authentications in a row; the first may have met a bridge in the middle of a rotation."""
_FATAL: Final = (SchemaMismatch, VersionError, ContractError, UsageError)
_FAULT: Final = "a fault of this client; its log has more"


@final
class Lifeline:
    """The connections of a client, one after the other.

    Args:
        core: The core protocol.
        settings: How they are kept.
        parts: What they serve.
        declare: Called once when the contracts are known, before the subscriptions are made.

    Attributes:
        settings: See above.
        session: The number that the bridge gave the newest connection; None before.
        thread: Of the client's event loop; None before.
        address: Of the bridge; None before.
        epoch: How many connections there were.
        is_steady: Whether everything goes its usual way: connected, and nobody about to leave.
        is_over: Whether there will be no connection any more.
        is_leaving: Whether there will be no other one.
        is_ending: Whether the client is about to end.
        on_batch: Called by a conversation when messages came.
    """

    def __init__(self, core: Core, settings: Settings, parts: Parts, declare: Callable[[], None]) -> None:
        self.settings = settings
        self.session: int | None = None
        self.thread: int | None = None
        self.epoch = 0
        self.is_steady = self.is_over = self.is_leaving = self.is_ending = False
        self.phase = ClientState.CONNECTING
        self.conversation: Conversation | None = None
        self._core = core
        self._parts = parts
        self._declare = declare
        self.address: Address | None = None
        self._error: BusError | ContractError | None = None
        self._over: asyncio.Future[str] | None = None
        self._deadline: asyncio.Timeout | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._turned = asyncio.Event()
        """The phase is another, or it is over."""
        self.on_batch = parts.reception.take_batch

    def __repr__(self) -> str:
        return f"<Lifeline {self.phase.value}, epoch {self.epoch}>"

    # --- what the client calls ---

    @property
    def is_begun(self) -> bool:
        """Whether it is connected, or tries to be."""
        return self.address is not None

    @property
    def reason(self) -> str:
        """Why there is no connection."""
        return self.conversation.why_not if self.conversation is not None else "there was none"

    def failure(self) -> Exception:
        """What calls raise that come after the end."""
        error = self._error
        return ClosedError("the client is closed; make a new one") if error is None else copy.copy(error)

    async def begin(self, address: Address, *, retry: bool) -> None:
        """Connect for the first time.

        Args:
            address: Of the bridge.
            retry: Whether to go on until there is one.

        Raises:
            ConnectError: There is none, or it did not answer in time.
            Refused: It does not let this client in.
            ContractError: Its contracts, where they are taken, have faults.
            ClosedError: The client was closed meanwhile.
        """
        self.address = address
        self._parts.events.tell(Connecting(str(address)))
        self._log(Line.CLIENT_CONNECTING, url=str(address))
        try:
            error = await self._keep_trying(self._backoff()) if retry else await self._try()
            if error is not None:
                raise error  # noqa: TRY301  two ways to fail, one way to take it back
            if self.is_over:
                raise self.failure()  # noqa: TRY301  it was closed just now
        except BaseException:
            self.address = self.conversation = None
            raise
        self._over = asyncio.get_running_loop().create_future()
        name = f"mycelium client {self.settings.name}"
        self._supervisor = asyncio.create_task(self._supervise(), name=name)

    def hurry(self) -> None:
        """The client is about to end: there is no point in connecting for the first time."""
        self.is_ending, self.is_steady = True, False
        if self.epoch == 0:
            self.is_leaving = True
        if self.epoch == 0 and self._deadline is not None:
            with contextlib.suppress(RuntimeError):  # it has expired just now
                self._deadline.reschedule(asyncio.get_running_loop().time())

    def require(self, ability: str) -> None:
        """Raise a UsageError where the other end has no word for something; see `foreign`."""
        if self.address is not None and self.address.is_rust:
            refuse(self.address, ability)

    async def joined(self) -> Conversation:
        """Wait for the connection, if it is being made again.

        Raises:
            BusError: There will be none.
        """
        while not self.is_over:
            if self.phase is ClientState.CONNECTED and self.conversation is not None and self.conversation.is_open:
                return self.conversation
            if not self.settings.reconnect and self.conversation is not None:
                raise ConnectionLost(self.reason)
            self._turned.clear()
            await self._turned.wait()
        raise self.failure()

    async def over(self) -> str:
        """Wait until there will be no connection any more; the reason."""
        if self._over is None:
            raise ClosedError("not connected; call `await client.connect(url)` first")
        return await asyncio.shield(self._over)

    # --- the end ---

    async def leave(self) -> None:
        """Try no more."""
        self.is_leaving, self.is_steady = True, False
        if self._supervisor is not None and not self._supervisor.done():  # what is done may be of a loop that is closed
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])

    def finish(self, reason: str, error: BusError | ContractError | None = None) -> None:
        """It is over, and everybody who waits is told.

        Args:
            reason: Why, for people.
            error: What calls raise from now on; None for ClosedError.
        """
        if self.is_over:
            return
        self._end()
        self._error = error
        self._log(Line.CLIENT_CLOSED, reason=reason)
        told = error if isinstance(error, BusError) else ConnectionLost(reason)
        parts = self._parts
        parts.inbox.cut(told)
        parts.correspondence.close(told)
        parts.outlet.close(told)
        parts.events.tell(Closed(reason))
        parts.events.close()
        if self._over is not None and not self._over.done():
            self._over.set_result(reason)

    def _end(self) -> None:
        self.is_over, self.is_steady = True, False
        self._turn(ClientState.CLOSED)

    # --- what a conversation calls ---

    def on_notice(self, notice: Message) -> None:
        """A core message came that is no answer."""
        self._parts.reception.take_notice(notice)

    def second_hello(self) -> Message:
        """The bridge does not know these contracts, and asks for them."""
        return self._hello(second=True)

    def on_tick(self) -> None:
        """Half a second has gone by."""
        self._parts.inbox.settle()

    def on_goodbye(self) -> None:
        """The bridge is about to go; what is published from now on is for the next one."""
        self.is_steady = False

    def on_loop_end(self) -> None:
        """The event loop shuts down: what was published is sent, and nothing else is done."""
        self.is_leaving = True
        self._end()
        self._parts.inbox.close()
        self._parts.outlet.close()

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""
        self.is_steady = False
        self._parts.correspondence.lose(ConnectionLost(reason))
        if self.phase is ClientState.CONNECTED:
            self._turn(ClientState.RECONNECTING)
        self._parts.inbox.part()

    # --- keeping it ---

    def _log(self, line: Line, **values: Any) -> None:
        transport = None if self.address is None else self.address.scheme
        _log(line, client_name=self.settings.name, transport=transport, **values)

    def _turn(self, phase: ClientState) -> None:
        self.phase = phase
        self._turned.set()

    def _hello(self, *, second: bool = False) -> Message:
        settings = self.settings
        assert self.address is not None  # noqa: S101  set when it began
        token = None if second else settings.credentials.token_for(self.address)  # it has said it already
        return self._parts.accord.hello(self._core, settings.name, settings.heartbeat_ms, token, second=second)

    def _backoff(self) -> Backoff:
        return Backoff(random.random, self.settings.max_reconnect_seconds)

    async def _supervise(self) -> None:
        """Wait for each connection's end, and make the next one."""
        backoff = self._backoff()
        clock = asyncio.get_running_loop().time
        try:
            while True:
                backoff.joined(clock())
                reason = await self._lost()
                backoff.lost(clock())
                if self.is_leaving:
                    return
                if not self.settings.reconnect:
                    self.finish(reason, ConnectionLost(reason))
                    return
                error = await self._keep_trying(backoff, reason)
                if error is not None:
                    self._log(Line.CLIENT_GIVES_UP, reason=str(error))
                    self.finish(str(error), error)
                    return
        except asyncio.CancelledError:
            if not self.is_leaving:
                self._end()  # the event loop shuts down
                self._parts.outlet.close()
            raise
        except Exception as error:  # noqa: BLE001  nobody would keep it connected any more
            self._log(Line.CLIENT_FAULT, caused_by=error, problem="cannot keep its connection")
            self.finish(_FAULT, ConnectionLost(_FAULT))

    async def _lost(self) -> str:
        assert self.conversation is not None  # noqa: S101  it was joined
        await asyncio.wait([self.conversation.lost])
        reason = self.conversation.lost.result()
        if not self.is_leaving:
            self._log(Line.CLIENT_DISCONNECTED, conn_id=self.session, reason=reason)
        self._parts.events.tell(Disconnected(reason))
        await self.conversation.ended()
        return reason

    async def _keep_trying(self, backoff: Backoff, reason: str = "") -> BusError | ContractError | None:
        """Connect; None when it is done, else why it is not worth another attempt."""
        refusals = 0
        while True:
            delay = backoff.delay(asyncio.get_running_loop().time()) if reason else 0.0
            if delay is None:
                return ConnectionLost(f"no connection within {self.settings.max_reconnect_seconds:g} s; {reason}")
            if reason:
                self._parts.events.tell(Reconnecting(backoff.attempt, delay, reason))
                self._log(Line.CLIENT_RECONNECTING, attempt=backoff.attempt, backoff_s=delay, reason=reason)
                await self._pause(delay)
            if self.is_leaving:
                return ClosedError("the client is closed; make a new one")
            error = await self._try()
            if error is None:
                return None
            refusals += isinstance(error, AuthError) or (isinstance(error, TlsError) and error.is_refusal)
            if isinstance(error, _FATAL) or refusals >= _MOST_REFUSALS:
                return error
            reason = str(error)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._deadline:
                await asyncio.Event().wait()
        self._deadline = None

    async def _try(self) -> BusError | ContractError | None:
        """One attempt; None when it is connected, else why it is not."""
        try:
            await self._attempt()
        except (BusError, ContractError) as error:
            return error
        except Exception as error:
            if self.epoch == 0:
                raise
            self._log(Line.CLIENT_FAULT, caused_by=error, problem="cannot connect")
            return ConnectionLost(_FAULT)
        return None

    async def _attempt(self) -> None:
        address = self.address
        assert address is not None  # noqa: S101  set when it began
        conversation = self.conversation = Conversation(self._core, self, self._parts.outlet)
        try:
            async with asyncio.timeout(self.settings.timeout) as self._deadline:
                welcome = await conversation.open(address, self._hello(), way_to(address, self.settings, self._parts))
                await self._enter(conversation, welcome)
        except BaseException as error:  # noqa: BLE001  whatever it is, nothing of the attempt is left
            self._parts.inbox.part()
            await conversation.abandon()
            raise explained(error, address, self.settings, self._parts.reception) from None
        finally:
            self._deadline = None
        self.epoch += 1
        self.is_steady = not self.is_ending
        self._turn(ClientState.CONNECTED)
        self._parts.events.tell(Connected(str(address), self.session or 0, self.epoch))
        again = " again" if self.epoch > 1 else ""
        self._log(Line.CLIENT_CONNECTED, again=again, conn_id=self.session)

    async def _enter(self, conversation: Conversation, welcome: Any) -> None:
        """The bridge has let this client in: subscriptions first, then what waited in the buffer."""
        if self.is_leaving:
            raise ClosedError("the client is closed; make a new one")
        parts = self._parts
        contracts = parts.accord.welcome(welcome)
        as_structs = self.address is not None and self.address.is_rust
        parts.reception.refuse_larger(parts.outlet.begin(contracts, welcome.max_payload, as_structs=as_structs))
        self.session = welcome.session
        if self.epoch == 0:
            self._declare()
        parts.inbox.interrupted()
        for number, answer in parts.inbox.join(conversation):
            try:
                await heard(answer)
            except Refused as error:
                if self.epoch == 0:
                    raise
                self._drop(number, error)
        parts.outlet.uncork()
        await self._empty_buffer(conversation)

    def _drop(self, number: int, error: Refused) -> None:
        self._parts.inbox.refuse(number, error)

    async def _empty_buffer(self, conversation: Conversation) -> None:
        """Wait until what was published before has gone out, unless the bridge holds it up by Flow."""
        if self._parts.outlet.buffer.messages:
            handed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._parts.outlet.say(Note(is_barrier=True, on_handed=handed.cancel))
            either: list[asyncio.Future[Any]] = [handed, conversation.lost]
            await asyncio.wait(either, timeout=self.settings.timeout / 2, return_when=asyncio.FIRST_COMPLETED)
        if conversation.lost.done():
            raise ConnectionLost(conversation.why_not)
