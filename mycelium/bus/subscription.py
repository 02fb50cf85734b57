"""One subscription inside this process: a handler or an iterator, and what waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import copy_context
from threading import get_ident
from typing import Any, Final, TypeAlias, final

from mycelium.bus.calling import calling, calling_subscription
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.errors import BusError, ClosedError, Refused
from mycelium.bus.gaps import Gaps
from mycelium.bus.handlers import Handler
from mycelium.bus.keys import conflates, lag_of
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.localqueue import Done, Entry, LocalQueue, Offer, Outcome
from mycelium.bus.notices import Notices, Tell
from mycelium.bus.observing import ConsumerTraces
from mycelium.bus.options import DEFAULT_QUEUE, Options
from mycelium.bus.stats import Counts, SubscriptionStats
from mycelium.bus.thread import check_thread
from mycelium.bus.waiters import Waiters
from mycelium.bus.worker import Worker
from mycelium.events import Gap
from mycelium.schema.classes import Message
from mycelium.wire.errors import ErrorCode

__all__ = ["LocalSubscription", "OnClose"]

_YIELD_AFTER: Final = 64
"""Messages that a subscriber takes before other tasks get a turn, should it never wait itself."""
_FINISH_SECONDS: Final = 5.0
"""How long a handler may go on with its message once its subscription has ended."""

OnClose: TypeAlias = Callable[["LocalSubscription"], Sequence["asyncio.Future[Any]"] | None]
"""Called once when a subscription ends; `unsubscribe` waits for what it gives back."""


@final
class LocalSubscription:
    """A handler or an iterator, its queue and its counters.

    A sync handler runs inside `offer`, which is its worker's then; an async one runs in tasks of a worker, and an
    iterator takes with `next`: for both messages are put into the queue.

    Args:
        type_ids: What it is subscribed to.
        handler: What is called; None for an iterator.
        options: What the subscriber has asked for.
        on_close: See `OnClose`.
        tell: Where events go.
        name_of: The name of a type id, for events.
        traces: Makes spans of what is done with its messages, kept under that name; None where nobody traces.

    Attributes:
        type_ids: See above.
        handler: See above.
        options: See above.
        offer: Takes a message.
        hand: The worker of a sync handler, which takes messages past the queue.
        queue: What waits.
        counts: What became of messages.
        group: Who shares its messages; None for nobody.
        closed: Whether it has ended.
        topic: What it follows; types that come to it are added.
    """

    def __init__(
        self,
        type_ids: frozenset[int],
        handler: Handler | None,
        options: Options = Options(),  # noqa: B008  it is frozen
        *,
        on_close: OnClose | None = None,
        tell: Tell | None = None,
        name_of: Callable[[int], str] = str,
        traces: "ConsumerTraces | None" = None,
    ) -> None:
        self.type_ids = type_ids
        self.handler = handler
        self.options = options
        self.group = options.group
        self.closed, self.traces = False, traces
        self.topic: str | None = None
        self._on_close = on_close
        self._name_of = name_of
        tell = tell or (lambda _: None)
        self._notices = Notices(self.name, lambda: self.types, tell=tell, name_of=name_of, on_gap=options.on_gap)
        self._thread = get_ident()
        self._leaving: Sequence[asyncio.Future[Any]] = ()
        self._ended_by: BusError | None = None
        self.queue = LocalQueue(options.queue or DEFAULT_QUEUE, lambda: self._notices.slow(self.queue))
        self.counts = Counts()
        self._retained: deque[Entry] = deque()
        """Last values from before the subscription; they come first, and wait outside the queue."""
        self._gaps = Gaps(self.queue.losses, self._notices.losses, self._report_gap, in_line=options.gaps)
        self._waiters = Waiters()
        self._until_turn = _YIELD_AFTER
        self._is_plain = False
        """Whether `next` has found nothing but messages, with nothing to be told or looked after between them."""
        context = copy_context()
        context.run(calling.set, self)
        self._worker = (
            None
            if handler is None
            else Worker(handler, options, self.counts, take=self._take, tell=tell, context=context, traces=traces)
        )
        self._advance = self._waiters.wake if self._worker is None else self._worker.advance
        """Called when so many more messages wait for the iterator, or for a handler that may be free."""
        self.hand = None if handler is None or handler.is_async else self._worker
        self.offer: Offer = self._put if self.hand is None else self.hand.offer

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.queue)} queued"
        return f"<Subscription of {self.name} to {sorted(self.type_ids)}, {state}>"

    @property
    def name(self) -> str:
        """The handler's, for people."""
        return "an iterator" if self.handler is None else self.handler.name

    @property
    def types(self) -> tuple[str, ...]:
        """Names of what it is subscribed to."""
        return tuple(map(self._name_of, sorted(self.type_ids)))

    # --- messages ---

    def offer_run(self, messages: Sequence[Message], done: Done) -> None:
        """Take messages that came together, about which there is nothing to be known but their fields.

        Args:
            messages: The messages, of whatever types it is subscribed to.
            done: Called with how many of them the subscription is done with, until it is done with all.
        """
        if self.hand is not None:
            self.hand.offer_run(messages, LOCAL, done)
        elif self.closed or conflates(messages, self.options.on_lag) or not self.queue.put_run(messages, LOCAL, done):
            for message in messages:
                self._put(message, LOCAL, done)
        else:
            self.counts.matched += len(messages)
            self._advance(len(messages))

    def offer_retained(self, message: Message, delivery: Delivery) -> None:
        """Take a last value from before the subscription; it comes before everything that is queued."""
        if self.hand is not None:
            self.hand.offer(message, delivery)
        else:
            self._is_plain = False
            self._retained.append((message, delivery, None, None))
            self._advance(1)

    def missed(self, type_id: int, reason: DropReason, count: int) -> None:
        """Count messages that were dropped before they came here."""
        self._is_plain = False
        self.counts.matched += count
        self.queue.losses.count(type_id, reason, count)
        self._notices.missed(reason, count)
        if not self.busy and not len(self.queue):
            self._gaps.tell()
        else:
            self._gaps.schedule()

    def interrupted(self) -> None:
        """The connection was gone for a while: nobody knows what was missed. It is told behind what came before.

        A handler that stands still is told within a second all the same.
        """
        self._is_plain = False
        waiting = len(self._retained) + len(self.queue)
        self._gaps.put(self._notices.interruption("reconnect"), waiting)
        if not waiting and not self.busy:
            self._gaps.reach()

    def take(self) -> Message | None:
        """One message, as `next` gives it, if one waits and nothing else is due before; None: ask `next`."""
        entries = self.queue.entries
        if not entries or not self._is_plain or not self._until_turn or get_ident() != self._thread:
            return None
        self._until_turn -= 1
        message, _, done, _ = entries.popleft()
        counts = self.counts
        counts.delivered += 1
        if counts.by_type is not None:
            counts.by_type[message.TYPE_ID] += 1
        if done is not None:
            done(1)
        return message

    async def next(self, timeout: float | None = None) -> Message | Gap:
        """Take one message from the queue; a timeout or a cancelled call takes none. With `gaps` it may be a Gap.

        Raises:
            TimeoutError: Nothing came within `timeout` seconds.
            ClosedError: The subscription has ended, and everything that it got has been given out.
            ConnectionLost: The same, because the connection to the bridge is gone for good.
            Refused: The same, because it was too slow under the lag policy `disconnect`.
            UsageError: This is not the subscription's thread.
        """
        taken = self.take()
        return (await self.next_delivery(timeout))[0] if taken is None else taken

    async def next_delivery(self, timeout: float | None = None) -> tuple[Message | Gap, Delivery]:
        """What `next` takes, and what can be known about it; see there for errors."""
        check_thread(self._thread, "subscription")
        if not self._until_turn:
            self._until_turn = _YIELD_AFTER
            await asyncio.sleep(0)
        self._until_turn -= 1
        if self._gaps.ahead:
            self._gaps.reach()
        if not self.is_ready:
            await self._readiness(timeout)
            self._until_turn = _YIELD_AFTER
        self._is_plain = not (self._gaps.ahead or self._retained) and self.queue.is_plain
        if (self.queue.losses.pending or self._gaps.inline) and (gap := self._gaps.next_inline()) is not None:
            self._is_plain = False
            return gap, LOCAL
        entry = self._pop({})
        assert entry is not None  # noqa: S101  it is ready, and nothing was awaited since
        message, delivery, done, _ = entry
        self.counts.handled(message.TYPE_ID)
        if done is not None:
            done(1)
        return message, delivery

    def stats(self) -> SubscriptionStats:
        """The counters as they stand."""
        matched, delivered, in_flight = self.counts.sums
        return SubscriptionStats(matched, delivered, dict(self.queue.losses.by_reason), len(self.queue), in_flight)

    @property
    def failures(self) -> int:
        """How often the handler has raised; what it was called with counts as delivered all the same."""
        return 0 if self._worker is None else self._worker.failures

    def wants(self, type_id: int) -> bool:
        """Whether a message of the type fits."""
        return type_id in self.type_ids

    @property
    def load(self) -> int:
        """Messages that it has still to handle; who has the least is the next of a group."""
        return len(self.queue) + len(self._retained) + self.counts.inside

    @property
    def is_calling(self) -> bool:
        """Whether its handler runs here, and not just a task that it has started."""
        return self._worker is not None and self._worker.is_current

    @property
    def is_blocked(self) -> bool:
        """Whether a publisher would have to wait for room."""
        return len(self.queue) >= self.queue.limit

    # --- the end ---

    async def unsubscribe(self) -> None:
        """End the subscription: nothing new is taken, and what waits for a handler is dropped. May be called twice.

        The handler may finish the message that it has, for at most 5 s, unless this is called from inside it.

        Raises:
            UsageError: This is not the subscription's thread.
        """
        check_thread(self._thread, "subscription")
        self.close()
        if leaving := [one for one in self._leaving if not one.done()]:
            await asyncio.wait(leaving, timeout=_FINISH_SECONDS)
        if self.busy and calling_subscription() is not self:
            try:
                async with asyncio.timeout(_FINISH_SECONDS):
                    await self.idle()
            except TimeoutError:
                await self.stop()

    def close(self, reason: BusError | None = None) -> None:
        """Take nothing new; an iterator still gives out what is queued.

        Args:
            reason: What `next` raises after that in place of ClosedError.
        """
        if self.closed:
            return
        self.closed, self._is_plain = True, False
        if self._worker is not None:
            self._worker.takes_more = False
        self._ended_by = reason
        if self.handler is None:
            self.queue.release()
        else:
            self._retained.clear()
            self.queue.clear(DropReason.DISCONNECTED)
            self._gaps.reach(end=True)
        self.queue.admit_no_more(DropReason.DISCONNECTED)
        if isinstance(reason, Refused):
            self._notices.refused(reason)
            self._report_gap(self._notices.interruption(DropReason.DISCONNECTED.reason))
        self._gaps.tell()
        self._gaps.close()
        self._notices.close()
        if self._on_close is not None:
            self._leaving = self._on_close(self) or ()
        self._waiters.wake(len(self._waiters.waiting))

    async def stop(self) -> None:
        """Cancel handlers that are still running."""
        if self._worker is not None:
            await self._worker.stop()

    @property
    def busy(self) -> bool:
        """Whether a handler is running that the end has to wait for."""
        return self._worker is not None and self._worker.busy

    async def idle(self) -> None:
        """Wait until the handler is done with everything that is queued."""
        if self._worker is not None:
            await self._worker.idle()

    def excuse(self) -> None:
        """Wait for this handler no more: it is itself waiting for the end of the bus or client."""
        if self._worker is not None:
            self._worker.excuse()

    @property
    def excused(self) -> bool:
        """Whether the end goes on without this handler."""
        return self._worker is not None and self._worker.excused

    # --- inside ---

    @property
    def is_ready(self) -> bool:
        """Whether `next` need not wait."""
        return bool(self.queue.entries or self._retained or self._gaps.inline)

    def _put(
        self, message: Message, delivery: Delivery, done: Done | None = None, deadline: float | None = None
    ) -> Outcome:
        """Put a message into the queue; see `Offer`."""
        if self.closed:
            if done is not None:
                done(1)
            return None
        self.counts.matched += 1
        lag, queue = self.options.on_lag, self.queue
        if lag is None:
            lag = lag_of(message.__mycelium__.message)
        outcome = queue.put(message, delivery, done, lag, deadline)
        if queue.is_slow or lag is Lag.LATEST:
            self._is_plain = False
            if queue.losses.pending:
                self._gaps.schedule()
        if outcome is DropReason.DISCONNECTED:
            self.close(Refused(ErrorCode.SLOW_CONSUMER, "the queue is full, and the lag policy is disconnect"))
        self._advance(1)
        return outcome

    def _take(self, busy: Mapping[Hashable, int]) -> Entry | None:
        """The next message for the handler, which is told of gaps before it."""
        if not (busy or self._gaps.ahead or self.queue.losses.pending or self._retained):  # as nearly always
            return self.queue.pop()
        if self._gaps.ahead:
            self._gaps.reach()
        entry = self._pop(busy)
        if entry is not None and self.queue.losses.pending:
            self._gaps.tell()
        return entry

    def _pop(self, busy: Mapping[Hashable, int]) -> Entry | None:
        if self._retained:
            self.counts.matched += 1
            entry: Entry | None = self._retained.popleft()
        else:
            entry = self.queue.pop_free(busy) if busy else self.queue.pop()
        if self._gaps.ahead and entry is not None:
            self._gaps.step()
        return entry

    async def _readiness(self, timeout: float | None) -> None:
        """Wait until there is something to give out."""
        if timeout is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._readiness(None)
            except TimeoutError:
                raise TimeoutError(f"no message came within {timeout:g} s") from None
        while not self.is_ready:
            if self.closed:
                raise self._ended_by or ClosedError("the subscription has ended; nothing more comes")
            await self._waiters.wait()

    def _report_gap(self, gap: Gap) -> None:
        inline = self._gaps.inline
        if self.options.gaps and not (gap.count is None and inline and inline[-1] == gap):
            self._is_plain = False
            inline.append(gap)
            self._waiters.wake()
        self._notices.gap(gap)
