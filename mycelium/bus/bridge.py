"""Listeners, and the sessions of everybody who came through them."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Self, final

from mycelium.bus.admission import Admission
from mycelium.bus.dialect import Dialect
from mycelium.bus.errors import UsageError
from mycelium.bus.flushes import Flushes
from mycelium.bus.hub import Closed, Hub
from mycelium.bus.intake import Intake
from mycelium.bus.join import Joins
from mycelium.bus.limits import Limits, affordable
from mycelium.bus.listeners import Listeners
from mycelium.bus.looplag import LoopLag
from mycelium.bus.negotiation import Standing
from mycelium.bus.parley import Parley
from mycelium.bus.pressure import Pressure
from mycelium.bus.questions import Questions
from mycelium.bus.reload import Change, Reading, Reloader
from mycelium.bus.security.peer import Peer
from mycelium.bus.security.settings import Security
from mycelium.bus.session import Session
from mycelium.bus.stats import BusStats
from mycelium.bus.tasks import Tasks
from mycelium.bus.thread import check_thread
from mycelium.bus.transport import SessionProtocol
from mycelium.bus.urls import Address, parse_url
from mycelium.bus.wheel import Wheel
from mycelium.handle import Contracts, core_protocol
from mycelium.logs.lines import Line
from mycelium.schema.document import document_bytes
from mycelium.schema.model import Schema
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec
from mycelium.wire.errors import ErrorCode

__all__ = ["Bridge"]

_TICK_SECONDS: Final = 0.25
_TICKS_PER_HANDSHAKE: Final = 20
"""A handshake that is too slow is noticed within a twentieth of its time."""
_SWEEP_SECONDS: Final = 1.0
"""How often is looked at what expires for other reasons than heartbeats."""
_GRACE_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 1.0
"""How long a client may take to answer the Goodbye where it has not published."""
_MOST_LINGERING: Final = 64
"""Connections that are over and still open so that peers see why; beyond, who was not let in is closed at once."""
_MOST_CLOSED: Final = 1000


@final
class Bridge:
    """Serves a bus to socket clients; an async context manager that listens inside its block.

    Args:
        hub: The bus.
        urls: Where to listen; port 0 means any free one.
        name: What clients are told.
        limits: What is taken from a client.
        join: Buses that speak Mycelium's own dialect, of which the bridge becomes a member.
        echo: Whether a connection may get its own messages.
        security: Who may connect, and what for; None: this machine, and on Unix sockets this user.

    Attributes:
        core: The core protocol.
        exchange: Where messages are routed.
        traces: Makes spans; None where nobody traces.
        hub: The bus.
        closed: The last thousand connections that are gone.
        lag: How late the loop is.
        is_serving: Whether everybody is let in.
        pressure: What is done about clients that do not read.
        flushes: Sessions that have something to write.
        reloader: What reads the contracts file again when a client asks for it.
        dialect: What is needed for peers that speak Mycelium's own.
        joins: Buses that speak it, of which the bridge is a member.
        started_at: When it began to serve, in seconds since the Unix epoch; 0 before.
        other_files: How many its process keeps for something else, such as HTTP; to be set before it starts.
        reading: What came of it when the contracts were last read again; None where they were not.
        admission: Who may come in, and what for.
    """

    def __init__(
        self,
        hub: Hub,
        urls: Sequence[str],
        name: str = "mycelium",
        limits: Limits | None = None,
        *,
        join: Sequence[str] = (),
        echo: bool = True,
        security: Security | None = None,
    ) -> None:
        self.name = name
        self.echo = echo
        self.limits = self._asked = limits or Limits()
        self.core = core_protocol()
        self.exchange = hub.exchange
        self.pressure = Pressure(hub.exchange.ledger)
        self.flushes = Flushes()
        self.traces = hub.traces
        self.closed: deque[Closed] = deque(maxlen=_MOST_CLOSED)
        self.lag = LoopLag()
        self.started_at = 0.0
        self.other_files = 0
        self.reading: Reading | None = None
        self.hub = hub
        hub.bridges.add(self)
        self._wanted = [parse_url(url) for url in urls]
        asked = security or Security()
        self.admission = Admission(asked, self.limits, lambda: self.sessions, lambda: self.registry, hub.exchange.tell)
        self._listeners = Listeners(self._protocol_for, asked)
        self.dialect = Dialect(hub.exchange.contracts)
        self.joins = Joins(self, join)
        self._protocols: dict[int, SessionProtocol] = {}
        self._handshaking: dict[int, SessionProtocol] = {}
        self._over: dict[int, bool] = {}
        """Of sessions that have ended, and whose sockets have not, whether their clients had been let in."""
        self._beats: Wheel[int] = Wheel(_TICK_SECONDS, 0.0)
        """When sessions have to be looked at; by their numbers, which keep nobody who is gone."""
        self._lagging: set[int] = set()
        self._holding: dict[Intake, None] = {}
        self._document: tuple[Schema, bytes] | None = None
        self._parley = Parley(lambda: self.sessions, self._schema)
        self._tasks = Tasks()
        self._questions = Questions(self, self._tasks)
        self._forget_changes: Callable[[], None] | None = None
        self.reloader: Reloader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_sweep = 0.0
        self.is_serving = False
        self._thread: int | None = None
        self._changed = asyncio.Event()
        """Set when a session is gone or has said Goodbye."""

    def __repr__(self) -> str:
        return f"<Bridge on {', '.join(self.urls) or 'nothing'}, {len(self._protocols)} sessions>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def urls(self) -> list[str]:
        """Where it listens, with the ports that it got."""
        return [str(address) for address in self._listeners.addresses]

    @property
    def connections(self) -> list[SessionProtocol]:
        """Everybody who is connected now, handshakes included."""
        return list(self._protocols.values())

    @property
    def sessions(self) -> list[Session]:
        """The same, without the sockets."""
        return [protocol.session for protocol in self._protocols.values()]

    async def start(self) -> None:
        """Open every listener, or none.

        Raises:
            BindError: One of them cannot be opened, or must not be: others could come in unasked, or listen in.
            SecurityError: A file with tokens, certificates or access rules cannot be used.
            LayoutError: A peer may come that speaks Mycelium's own dialect, and a message has no layout.
            UsageError: It is serving already, or this is not the bus's thread.
        """
        if self.is_serving:
            raise UsageError("the bridge is serving already; make another one with bus.serve()")
        self.is_serving = True
        self.limits = affordable(self._asked, self.other_files)
        try:
            if len(self.joins) or any(address.is_rust for address in self._wanted):
                self.dialect.begin()
            self.joins.check()
            self.admission.start(self.limits)
            for address in self._wanted:
                self.admission.guard.refuse_exposed(address)
            for address in self._wanted:
                self._listeners.open(address, self.limits.backlog)
            self.hub.limit_payload(self.limits.max_payload)
        except BaseException:
            self._stop_listening()
            raise
        self._thread, self.started_at = get_ident(), time.time()
        self.remember(self.registry.schema)
        self._forget_changes = self.contracts.on_change(partial(self._hear, asyncio.get_running_loop()))
        self._tasks.start(self.admission.guard.follow(self.admission.judge))
        self._tick()
        self.joins.start()

    async def close(self, grace: float = _GRACE_SECONDS, flush: float | None = None) -> None:
        """Stop listening, say Goodbye, send what is queued, and close. May be called twice.

        What is still queued in the end is counted as dropped, `shutdown_deadline`.

        Args:
            grace: Seconds during which clients that have published may still publish, until they answer the Goodbye.
            flush: Seconds after that to send what is queued; None for what is left of the grace.

        Raises:
            UsageError: This is not the bridge's thread.
        """
        check_thread(self._thread, "bridge")
        self._stop_listening()
        for protocol in list(self._protocols.values()):
            protocol.session.say_goodbye(ErrorCode.SHUTDOWN.reason)
        now = asyncio.get_running_loop().time()
        end = now + grace
        # The first message of a client may be on its way; whoever does not answer holds nobody up for long.
        await self._until(lambda: all(one.said_goodbye for one in self.sessions), min(end, now + _ANSWER_SECONDS))
        await self._until(lambda: not any(one.may_publish for one in self.sessions), end)
        for session in self.sessions:
            session.finish()
        end = end if flush is None else asyncio.get_running_loop().time() + flush
        await self._until(lambda: not self._protocols, end)
        self.abort()
        await self._until(lambda: not self._protocols)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.admission.end()
        await self._listeners.close()
        await self.joins.end()
        await self._tasks.end()

    def abort(self) -> None:
        """Close every connection now, whatever is unsent."""
        for protocol in list(self._protocols.values()):
            protocol.abort(ErrorCode.SHUTDOWN.reason)

    def stats(self) -> BusStats:
        """The counters of the bus."""
        return self.hub.stats()

    # --- contracts ---

    @property
    def contracts(self) -> Contracts:
        """The handle of the bus."""
        return self.exchange.contracts

    def remember(self, schema: Schema) -> None:
        """Know contracts of clients that may come, by their digest."""
        self._parley.remember(schema)

    async def hurt_by(self, schema: Schema, *, pinned: bool = False) -> dict[str, Standing]:
        """Which clients these contracts would hurt, by name, and how; with `pinned` of those that do not go along."""
        return await self._parley.hurt_by(schema, pinned=pinned)

    def meet(self, session: Session, hello: Any) -> None:
        """Find out whether a client with other contracts may be let in."""
        self._tasks.start(self._parley.meet(session, hello))

    def query(self, session: Session, query: Any) -> None:
        """Find out what a client wants to know."""
        self._questions.ask(session, query)

    async def reload_security(self) -> bool:
        """Read tokens, certificates and access rules again; whether they could be used, else what was goes on."""
        return await self.admission.guard.reload(self.admission.judge)

    def _hear(self, loop: asyncio.AbstractEventLoop, change: Change) -> None:
        """Contracts may be followed by another thread; in the bridge's own loop nothing comes in between."""
        running = None
        with contextlib.suppress(RuntimeError):
            running = asyncio.get_running_loop()
        if running is loop:
            self._on_change(change)
        else:
            loop.call_soon_threadsafe(self._on_change, change)

    def _on_change(self, change: Change) -> None:
        """The contracts have changed, or an edit was refused."""
        self.reading = Reading(time.time(), change.outcome, change.reasons, refused=change.refused)
        if change.outcome != "applied":
            return
        self.remember(self.registry.schema)
        for session in self.sessions:
            if session.is_open:
                session.schema_changed()
        self.exchange.keep_up()
        self._tasks.start(self._parley.judge())

    # --- what protocols and sessions call ---

    @property
    def registry(self) -> Registry[Codec]:
        """The newest generation."""
        return self.exchange.registry

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""
        return self.hub.monotonic

    def document(self) -> bytes:
        """The contracts document of the newest generation, written once for all who ask."""
        schema = self.registry.schema
        if self._document is None or self._document[0] is not schema:
            self._document = schema, document_bytes(schema)
        return self._document[1]

    def open_session(self, protocol: SessionProtocol, peer: Peer, now: float) -> Session:
        """A session for an accepted connection."""
        number = self.hub.next_session()
        session = self.exchange.sessions[number] = Session(number, self, protocol.schedule, now, peer)
        session.log.find_place = lambda: (peer.transport, peer.logged)
        session.traffic.opened += 1
        self._protocols[number] = self._handshaking[number] = protocol
        trouble = self.admission.arrives(peer, now)
        if not self.is_serving:
            session.refuse(ErrorCode.SHUTDOWN, "the bridge is stopping")
        elif trouble is not None:
            session.refuse(*trouble, Line.CONN_LIMIT if trouble[0] is ErrorCode.LIMIT else None)
        elif len(self._protocols) - len(self._over) > self.limits.connections:
            session.refuse(ErrorCode.LIMIT, f"the bridge takes {self.limits.connections} connections", Line.CONN_LIMIT)
        elif len(self._handshaking) > self.limits.handshakes:
            oldest, most = next(iter(self._handshaking.values())).session, self.limits.handshakes
            oldest.refuse(ErrorCode.LIMIT, f"the bridge takes {most} handshakes at a time", Line.CONN_LIMIT)
        return session

    def let_in(self, session: Session) -> None:
        """A handshake is done: from now on the session is looked at when its heartbeat asks for it."""
        self._handshaking.pop(session.number, None)
        self._beats.put(session.number, session.tick(session.now))

    def ended(self, session: Session) -> None:
        """A session is over: it takes nobody's place any more, though its socket may still be open for a moment."""
        if session.number in self._protocols:
            known = self._over[session.number] = self._handshaking.pop(session.number, None) is None
            self.admission.leaves(session, known=known)

    def may_linger(self, session: Session) -> bool:
        """Whether the socket of a session that is over may stay open until its peer has read why."""
        return self._over[session.number] or len(self._over) <= _MOST_LINGERING

    def forget_session(self, protocol: SessionProtocol) -> None:
        """The connection is gone."""
        session = protocol.session
        number = session.number
        self.closed.append(protocol.as_closed())
        session.traffic.close(session.reason or "", protocol.received_bytes, session.outgoing.written)
        self.exchange.sessions.pop(number, None)
        self._protocols.pop(number, None)
        self._over.pop(number, None)
        self.pressure.forget(number)
        self._lagging.discard(number)
        self._changed.set()

    def holds(self, intake: Intake) -> None:
        """Messages of a session wait for room; they are given up in time, also when the session is gone."""
        self._holding[intake] = None

    def lags(self, session: Session) -> None:
        """Tell the client within a second what was dropped, should no message come that does."""
        self._lagging.add(session.number)

    def parted(self, session: Session) -> None:  # noqa: ARG002  whoever it was, `close` looks at all
        """A client has answered the Goodbye."""
        self._changed.set()

    # --- inside ---

    def _protocol_for(self, address: Address) -> SessionProtocol:
        manners = self.dialect.of_guest(address) if address.is_rust else None
        return SessionProtocol(self, manners, secure=address.scheme == "tls")

    def _schema(self) -> Schema:
        return self.registry.schema

    def _stop_listening(self) -> None:
        self.is_serving = False
        self._listeners.stop()
        self.joins.stop()
        self.dialect.end()
        if self._forget_changes is not None:
            self._forget_changes()

    async def _until(self, holds: Callable[[], bool], end: float | None = None) -> None:
        """Wait until something is so, or until the loop's clock shows a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        every = min(_TICK_SECONDS, self.limits.handshake_seconds / _TICKS_PER_HANDSHAKE)
        now = loop.time()
        self.lag.look(self._timer, now)
        self._timer = loop.call_later(every, self._tick)
        for protocol in list(self._handshaking.values()):
            protocol.tick(now)
        for number in self._beats.due(now):
            if (due := self._protocols.get(number)) is not None:
                self._beats.put(number, due.tick(now))
        lagging, self._lagging = self._lagging, set()
        for number in lagging & self._protocols.keys():
            self._protocols[number].report_lag()
        self._holding = {intake: None for intake in self._holding if intake.expire(now)}
        self.pressure.look(now, lambda: self.sessions)
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_SECONDS
            self.admission.look(now)
