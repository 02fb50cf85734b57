"""A client's way out: what is published waits for room and for the bridge's leave, and goes to the link in turns."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, final

from mycelium.bus.clientmeter import ClientMeter, watched
from mycelium.bus.errors import BackpressureTimeout, ConnectionLost, QueueFull, UsageError, WouldDeadlock
from mycelium.bus.expiry import Expiry
from mycelium.bus.link import Link
from mycelium.bus.overflow import Overflow
from mycelium.bus.parcel import PLAIN, STAMP_BYTES, Parcel, Stamp
from mycelium.bus.publisher import Publisher
from mycelium.bus.segment import Note
from mycelium.bus.sendbuffer import BUFFER_BYTES, SendBuffer
from mycelium.bus.unconfirmed import Unconfirmed, Waiter
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.model import Message as Model
from mycelium.wire.connection import Core
from mycelium.wire.frames import HEADER
from mycelium.wire.tracecontext import with_trace

__all__ = ["TURN_BYTES", "Outlet"]

TURN_BYTES: Final = 64 * 1024
"""Bytes that are published in one turn of the loop before it is worth not to wait for its end."""
_APART_SECONDS: Final = 100e-6
"""Requests and replies that come closer together are worth one write."""


@final
class Outlet:
    """Takes messages for a bridge, whether or not there is a connection.

    Args:
        core: The core protocol.
        limit: Bytes that may wait for a connection; 0 for none.
        block_seconds: How long a publisher waits where the bridge says Flow.
        stamp: Whether each message carries session, sequence number and time.
        check: Raises where nothing may be published any more; asked after each wait.
        blocks_itself: Whether the caller is a handler that would wait for room in its own queue.
        on_expired: Told how many messages are dropped that were never sent.

    Attributes:
        is_free: Whether a message may be given to `post` right away.
        turn_bytes: Bytes that were published in this turn of the loop.
        receipts: Who waits for one.
        block_seconds: See above.
        stamps: Whether each message carries more than its fields.
        check: See above.
        meter: Who counts what is published; None for nobody.
    """

    post: Callable[[Message], None]
    """Publish a message, for which there has to be room: `is_free`. There is none before there was a connection.

    Raises:
        UsageError: It is no type of these contracts.
        EncodeError: A value does not fit its type, or the payload is too large.
        RuleError: A value breaks a rule.
    """

    def __init__(
        self,
        core: Core,
        *,
        limit: int,
        block_seconds: float,
        stamp: bool,
        check: Callable[[], None],
        blocks_itself: Callable[[Model], bool],
        on_expired: Callable[[int], object],
    ) -> None:
        self.is_free, self.turn_bytes = False, 0
        self.meter: ClientMeter | None = None
        self._due_at = 0
        """When so much was published in this turn it is time to hand it to the link, or at first to plan its end."""
        self.receipts = Unconfirmed(block_seconds)
        self.block_seconds = block_seconds
        self._keeps, self.stamps = limit > 0, stamp
        self.check = check
        self._blocks_itself = blocks_itself
        confirm = core.encode(core.Confirm(enabled=True))
        self.buffer = SendBuffer(
            time.monotonic,
            lambda nonce: core.encode(core.Ping(nonce=nonce)),
            confirm,
            limit or BUFFER_BYTES,
            self.receipts,
        )
        self._put = self.buffer.put
        self._expiry = Expiry(self.buffer, on_expired, self._looked)
        self._publisher: Publisher | None = None
        self._link: Link | None = None
        self._lost = "the bridge is leaving"
        self._overflow = Overflow()
        self._scheduled, self._letter_at = False, 0.0
        self._changed = asyncio.Event()
        """Something went out, or may; whoever waits looks again."""

    def __repr__(self) -> str:
        return f"<Outlet, {self.buffer!r}>"

    # --- connections ---

    @property
    def publisher(self) -> Publisher:
        """What checks and encodes messages.

        Raises:
            UsageError: The client was never connected.
        """
        if self._publisher is None:
            raise UsageError("not connected; call `await client.connect(url)` first")
        return self._publisher

    def attach(self, link: Link, session: int) -> None:
        """A bridge has let this client in: what is said to it goes out. Messages wait for `uncork`."""
        self._link = link
        link.on_writable = self.pump
        self.buffer.attach(session)

    def begin(self, contracts: Contracts, max_payload: int, *, as_structs: bool) -> int:
        """Go by what the bridge has said; how many messages are dropped since they are larger than it takes."""
        if self._publisher is None:
            self._publisher = Publisher(contracts, as_structs=as_structs)
            post = self._poster(self._publisher)
            self.post = post if self.meter is None else self.meter.counted(post)
        self._publisher.max_payload = max_payload
        return self.buffer.drop_larger(max_payload + HEADER.size)

    def uncork(self) -> None:
        """Every subscription is confirmed: messages go, but for those whose time is over."""
        self._expiry.tell(self.buffer.expire)
        self.buffer.uncork()
        self.pump()

    def detach(self, link: Link, error: ConnectionLost) -> None:
        """The connection is gone."""
        if link is self._link:
            self._link, self._lost = None, error.reason
            self._expiry.tell(lambda: self.buffer.detach(keep=self._keeps))
            self.receipts.lose(error)
            self._looked()
            self._expiry.arm()

    def say(self, note: Note) -> None:
        """Say something to the bridge, at the end of this turn of the loop."""
        self.buffer.say(note)
        if not self._scheduled:
            self._schedule()

    def pong(self, nonce: int) -> bool:
        """A Pong came; whether it was asked for from here."""
        known = self.buffer.pong(nonce)
        if known and not self.is_free:
            self.pump()
        return known

    def apply_flow(self, type_ids: Iterable[int], *, paused: bool) -> None:
        """The bridge pauses types, or takes them again."""
        self.buffer.flow.apply(type_ids, paused=paused)
        self.pump()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """It is over: nothing more is looked at later.

        Args:
            error: What those are told who wait for a Receipt.
        """
        if error is not None:
            self.receipts.close(error)
        self._expiry.close()
        self._changed.set()

    # --- publishing ---

    def _poster(self, publisher: Publisher) -> Callable[[Message], None]:
        """What `post` is: `Publisher.frame` in one piece with what becomes of it, since each call would be felt."""
        lineage, framers, put = publisher.lineage, publisher.framers, self._put

        def post(message: Message) -> None:
            if lineage.current is not publisher.registry:
                publisher.keep_up()
            try:
                make = framers[message.__class__]
            except KeyError:
                make = publisher.framer(message)
            frame = make(message)
            size = len(frame)
            if size > publisher.max_payload:
                publisher.refuse_large(frame, message.__class__.__name__)
            put(frame)
            self.turn_bytes = size = size + self.turn_bytes
            if size >= self._due_at:
                self._due()

        return post

    def post_parcel(self, parcel: Parcel) -> None:
        """Publish a message of which more has to be known; its frame was admitted."""
        self.buffer.put_parcel(parcel)
        self.count(parcel.size)

    def post_letter(self, parcel: Parcel) -> None:
        """Publish a request or a reply, for which somebody waits: it goes at once, but not close behind another."""
        now, link = time.monotonic(), self._link
        is_alone = not self._scheduled and now - self._letter_at >= _APART_SECONDS
        self._letter_at = now
        if is_alone and link is not None and link.is_ready and (data := self.buffer.hand_over(parcel)):
            link.write(data)
            return
        self.post_parcel(parcel)
        if is_alone:
            self.pump()

    def post_confirmed(self, frame: bytes, waiter: Waiter) -> None:
        """Publish a message whose Receipt somebody waits for, and for which there has to be room: `is_free`."""
        self.buffer.put_confirmed(frame, waiter)
        self.count(len(frame))

    async def publish(self, message: Message) -> None:
        """Publish when there is room, and give the others a turn, if it is time; see `admit` for errors."""
        await self.put(message)
        await self.rest()

    async def put(self, message: Message) -> None:
        """Publish when there is room; see `admit` for errors."""
        with watched(self.meter, message):
            self.enter(await self.admit(message))

    def publish_nowait(self, message: Message) -> None:
        """Publish now or not at all; see `admit_nowait` for errors."""
        with watched(self.meter, message):
            self.enter(self.admit_nowait(message))

    async def rest(self) -> None:
        """A loop of publishes must not starve whoever reads."""
        if self.turn_bytes >= TURN_BYTES:
            await asyncio.sleep(0)

    def new_stamp(
        self, correlation: bytes | None = None, *, asks: bool = False, deliver_to: int | None = None
    ) -> Stamp:
        """What a message that is published now carries beside its fields."""
        if self.stamps:
            return Stamp(time.time_ns(), correlation, asks=asks, deliver_to=deliver_to)
        return PLAIN if correlation is None else Stamp(None, correlation, asks=asks, deliver_to=deliver_to)

    def withdraw(self, parcel: Parcel) -> None:
        """Nobody waits for what becomes of a message any more: if it was not handed to the socket, it does not go."""
        if self.buffer.withdraw(parcel):
            self._changed.set()

    async def admit(self, message: Message, metadata: int = 0, trace: bytes | None = None) -> bytes:
        """Wait until a message may be published; its frame, which has to be put without waiting again.

        A cancelled call has published nothing.

        Args:
            message: The message.
            metadata: Bytes that are to go along with it, but for the stamp and the trace context.
            trace: Its trace context.

        Raises:
            EncodeError: A value does not fit its type, or the payload is too large.
            RuleError: A value breaks a rule.
            UsageError: It is no type of these contracts.
            BackpressureTimeout: The bridge did not take it in time.
            WouldDeadlock: The caller is the handler that it waits for.
            BufferFull: There is no connection, and no room to wait for one.
            ConnectionLost: There is no connection, and no buffer.
        """
        deadline: float | None = None
        while True:
            frame, model = self._encode(message, metadata, trace)
            if self.buffer.flow.holds(model.type_id):
                if self._blocks_itself(model):
                    raise WouldDeadlock(model.name)
                deadline = deadline or asyncio.get_running_loop().time() + self.block_seconds
                await self._change_before(deadline)
            elif self._has_room(len(frame) + metadata):
                self.publisher.guard.check(message)
                return frame
            else:
                await self.change()
            self.check()

    def admit_at_once(self, message: Message, metadata: int, trace: bytes | None = None) -> bytes | None:
        """The frame of a message if it need not wait, and no values are to be remembered; see `admit`."""
        publisher = self._publisher
        if publisher is None or not self.is_free:
            return None
        make = publisher.framer(message)
        if publisher.guard.fields:
            return None
        frame = make(message) if trace is None else with_trace(make(message), trace)
        if len(frame) + metadata > publisher.max_payload:
            publisher.refuse_large(frame, message.__class__.__name__, metadata)
        return frame

    def admit_nowait(
        self, message: Message, metadata: int = 0, trace: bytes | None = None, *, is_reply: bool = False
    ) -> bytes:
        """The frame of a message that may be published now; see `admit` for arguments and further errors.

        Raises:
            QueueFull: The bridge takes no messages of the type for now.
            BufferFull: There is no room.
            ClosedError: Nothing may be published any more.
        """
        frame, model = self._encode(message, metadata, trace)
        self.check()
        if not is_reply and self.buffer.flow.holds(model.type_id):
            raise QueueFull(f"the bridge takes no {model.name} for now; await publish() instead, which waits for it")
        if not self._has_room(len(frame) + metadata):
            raise self._full(f"{self.buffer.size} bytes are unsent; await publish() instead, which waits for room")
        self.publisher.guard.check(message)
        return frame

    async def change(self) -> None:
        """Wait until something has gone out, or may go."""
        self._changed.clear()
        await self._changed.wait()

    # --- inside ---

    def _encode(self, message: Message, metadata: int, trace: bytes | None) -> tuple[bytes, Model]:
        publisher = self.publisher
        entry = publisher.entry(message)
        frame = publisher.encode(message, entry)
        if trace is not None:
            frame = with_trace(frame, trace)
        publisher.refuse_large(frame, entry.message.name, metadata + (STAMP_BYTES if self.stamps else 0))
        return frame, entry.message

    def _has_room(self, size: int) -> bool:
        """Whether there is room; where there is none and no connection, nobody is to wait for it.

        Raises:
            BufferFull: There is none, and no connection.
            ConnectionLost: There is no connection, and no buffer.
        """
        if self.buffer.is_corked and not self._keeps:
            raise ConnectionLost(self._lost)
        if self.buffer.has_room(size):
            return True
        if self._link is None:
            raise self._full(f"{self.buffer.size} bytes wait for a connection ({self._lost}); publish less meanwhile")
        return False

    def _full(self, problem: str) -> Exception:
        return self._overflow.error(self.buffer.messages, problem)

    async def _change_before(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.change()
        except TimeoutError:
            raise BackpressureTimeout(self.block_seconds) from None

    def enter(self, frame: bytes) -> None:
        """Publish a message whose frame was admitted, or for which there is room: `is_free`."""
        if self.stamps:
            self.post_parcel(Parcel(frame, self.new_stamp()))
        else:
            self._put(frame)
            self.count(len(frame))

    def count(self, size: int) -> None:
        """So many bytes of messages were put into the buffer, and are to be sent in time."""
        self.turn_bytes += size
        if self.turn_bytes >= self._due_at:
            self._due()

    def _due(self) -> None:
        if not self._scheduled:
            self._schedule()
        if self.turn_bytes >= self._due_at:
            self.pump()

    def _schedule(self) -> None:
        self._scheduled, self._due_at = True, TURN_BYTES
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled, self.turn_bytes = False, 0
        self.pump()
        if self.buffer.messages:
            self._expiry.arm()

    def pump(self) -> None:
        """Give the link what it takes."""
        self._due_at = self.turn_bytes + TURN_BYTES if self._scheduled else 0
        link = self._link
        while link is not None and link.is_ready and (data := self.buffer.take()):
            link.write(data)
        self._looked()

    def _looked(self) -> None:
        buffer = self.buffer
        self.is_free = not buffer.is_corked and not self.stamps and not buffer.flow.is_shut and not buffer.is_waiting
        self._changed.set()
