"""Where messages are routed: from publishers here and behind sockets to every subscription that they fit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

from mycelium.bus.answers import BRIDGE, Answers
from mycelium.bus.carried import Carried
from mycelium.bus.catalog import Catalog
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher, Turnstile
from mycelium.bus.fate import Fate, Trouble
from mycelium.bus.groups import Groups
from mycelium.bus.keys import key_of
from mycelium.bus.ledger import Ledger, available_memory
from mycelium.bus.meter import Meter, Tally
from mycelium.bus.offering import Origin, alike, batch_of, is_echoless, is_own, note, offer
from mycelium.bus.planned import Planned
from mycelium.bus.publisher import Publisher
from mycelium.bus.relief import relieve
from mycelium.bus.retained import LastValue, Retained
from mycelium.bus.router import Router
from mycelium.bus.snapshot import Snapshot
from mycelium.bus.stats import SubscriptionStats, Totals
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.traffic import LOCAL as IN_PROCESS
from mycelium.bus.traffic import Traffic
from mycelium.events import Event, SlowConsumer
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.metadata import Metadata

if TYPE_CHECKING:
    from mycelium.bus.session import Session

__all__ = ["Exchange", "Fate", "Published", "Trouble"]

Published: TypeAlias = tuple[int, Sequence[Trouble]]
"""How many subscriptions a message fits, and what became of it where it was not taken at once."""
_QUEUED: Final[Published] = (0, ())


class _Parcel(NamedTuple):
    """A message in both its forms, for members of a group here or behind a socket."""

    frame: Batch
    message: Message
    delivery: Delivery
    deadline: float | None


@final
class Exchange:
    """Routes messages of one bus.

    Args:
        contracts: Where its message types are from.
        tell: Where events go.
        max_memory: Bytes that queues and last values may hold; None for half of what there is.

    Attributes:
        contracts: See above.
        router: Subscriptions of socket clients.
        dispatcher: Subscriptions of this process.
        groups: Those of both that share their messages.
        publisher: What is checked of messages that are published here.
        retained: Last values.
        ledger: The memory that all this holds.
        answers: Replies to requests.
        turnstile: What all messages pass, one after the other.
        sessions: Socket clients by number.
        totals: Of subscriptions of clients that have ended.
        routed: Messages so far, but for those of `planned`.
        planned: Messages that have gone by the plans in force.
        traffic: What is counted of connections, by transport.
        slow: Times that a subscriber became slow, by the policy that acted.
        meter: What is counted by type, and timed; None where nobody has asked for it.
        latest: What the generation says of each message that `keep_up` has gone over to.
        on_change: Called when messages may have to be routed another way than before.
    """

    def __init__(
        self, contracts: Contracts, tell: Callable[[Event], None] = lambda _: None, max_memory: int | None = None
    ) -> None:
        self.contracts = contracts
        self._tell = tell
        self.on_change: Callable[[], object] = lambda: None
        self.groups: Groups[Any] = Groups(on_change=self._changed)
        self.router = Router(self.groups)
        self.dispatcher = Dispatcher(self.groups, on_change=self._changed)
        self.publisher = Publisher(contracts)
        self.ledger = Ledger(available_memory() // 2 if max_memory is None else max_memory)
        self.retained = Retained(self.ledger, lambda type_id: self.registry.by_id[type_id].codec)
        self.sessions: dict[int, Session] = {}
        self.answers = Answers(self.publisher, self.sessions)
        self.totals = Totals()
        self.routed, self.planned = 0, Planned()
        self.traffic: dict[str, Traffic] = {}
        self.slow: Counter[str] = Counter()
        self.meter: Meter | None = None
        self.latest = Catalog(contracts.registry)
        self.turnstile = Turnstile()

    def __repr__(self) -> str:
        return f"<Exchange on {self.contracts!r}>"

    @property
    def registry(self) -> Registry[Codec]:
        """Classes and codecs of the newest generation."""
        return self.contracts.registry

    @property
    def catalog(self) -> Catalog:
        """What the newest generation says of each message."""
        if self.latest.registry is not self.contracts.registry:
            self.keep_up()
        return self.latest

    def keep_up(self) -> None:
        """Go over to the newest generation, if it is another one; what clients may do is worked out anew for it.

        Whoever lets something in or routes it comes by here before, so that nothing passes by rules for other types.
        """
        while self.latest.registry is not self.contracts.registry:  # another thread may be quicker than this
            self.latest = Catalog(self.contracts.registry)
            self._changed()
            for session in list(self.sessions.values()):
                if session.is_open:
                    session.permit()

    def name_of(self, type_id: int) -> str:
        """The name of a message, for people."""
        return self.catalog.name(type_id)

    def matched(self, type_id: int) -> int:
        """Subscriptions that a message of this process fits now; a group counts as one."""
        turns = self.groups.of(type_id) if self.groups else ()
        grouped = sum(one.any(is_echoless) for one in turns)
        return len(self.dispatcher.offered(type_id)) + len(self.router.takers(type_id)) + grouped

    # --- messages of this process ---

    def publish(
        self,
        message: Message,
        deadline: float | None = None,
        ask: bytes | None = None,
        trace: bytes | None = None,
    ) -> Published:
        """Hand a message to everybody whom it fits.

        Args:
            message: The message.
            deadline: Until when its publisher waits for room; None for one that does not wait.
            ask: The correlation id of a request.
            trace: Its trace context.

        Returns:
            How many subscriptions it fits, and of those that have not taken it what became of it; nothing from inside a
            delivery, behind which it is queued.

        Raises:
            UsageError: It is no type of these contracts.
            EncodeError: A value does not fit its type, or somebody wants its frame and that is too large.
            RuleError: A value breaks a rule.
        """
        publisher = self.publisher
        entry = publisher.entry(message)
        more = None if ask is None and trace is None else Carried(ask, trace)
        frame = self._frame(message, entry, more) if self._is_wanted(entry.message.type_id) else None
        if frame is None:
            entry.codec.check(message)
        if publisher.guard.fields:
            publisher.guard.check(message)
        published: Published | None = self.turnstile.run(self._deliver, message, entry, frame, deadline, more)
        return published or _QUEUED

    def asks_more(self, type_id: int) -> bool:
        """Whether there is more to do for messages of a type than to check them and to offer them to this process."""
        watched = type_id in self.publisher.monotonic or (self.meter is not None and self.meter.tap is not None)
        return watched or self._is_wanted(type_id) or self.dispatcher.is_curious(type_id)

    def _is_wanted(self, type_id: int) -> bool:
        """Whether somebody cares for the frames of a type: a socket client, a group, or who comes later."""
        return bool(type_id in self.catalog.retained or self.router.takers(type_id) or self.groups.of(type_id))

    def _frame(self, message: Message, entry: Entry[Codec], more: Carried | None) -> bytes:
        return self.publisher.encode(message, entry, None if more is None else more.to_metadata())

    def _deliver_here(self, type_id: int, message: Message, delivery: Delivery, deadline: float | None) -> Published:
        """Hand a message to handlers of this process."""
        if self.meter is not None:
            self.meter.took(message)
        return self.dispatcher.offer(type_id, message, delivery, deadline)

    def _deliver(
        self, message: Message, entry: Entry[Codec], frame: bytes | None, deadline: float | None, more: Carried | None
    ) -> Published:
        """Hand a message on; it has a frame if somebody wanted that when it was published."""
        type_id = entry.message.type_id
        if frame is None and self._is_wanted(type_id):  # they came while it waited
            frame = self._frame(message, entry, more)
        self.routed += 1
        delivery = self._delivery(type_id, more)
        if frame is None:
            return self._deliver_here(type_id, message, delivery, deadline)
        if self.meter is not None:
            self.meter.note_own()
        batch = batch_of(frame, type_id)
        troubles: list[Trouble] = []
        retained = self.catalog.retained
        matched = offer(self.router.takers(type_id), batch, deadline, troubles)
        if type_id in retained:
            plain = batch if more is None or more.ask is None else batch_of(self._frame(message, entry, None), type_id)
            self._retain(message, plain, own=True)
        parcel = _Parcel(batch, message, delivery, deadline)
        matched += self._offer_to_groups(parcel, is_echoless, troubles)
        self._relieve()
        here, others = self._deliver_here(type_id, message, delivery, deadline)
        return matched + here, [*troubles, *others]

    def _delivery(self, type_id: int, more: Carried | None) -> Delivery:
        """The context of a message that was counted just now.

        Its number grows from one to the next, but leaves out what has gone by the plans in force, until they are
        forgotten: to add that up for each message would take longer the more plans there are.
        """
        if more is None:
            return Delivery.now(BRIDGE, self.routed) if self.dispatcher.is_curious(type_id) else LOCAL
        answer = None if more.ask is None else self.answers.to_own(more.ask, type_id)
        return Delivery.now(BRIDGE, self.routed, answer, trace=more.trace, correlation=more.ask)

    def _retain(self, message: Message, frame: Batch, *, own: bool) -> None:
        type_id = frame.type_ids[0]
        self.retained.keep((type_id, key_of(message)), LastValue(type_id, frame, message if own else None))

    # --- frames of socket clients ---

    def publish_batch(
        self, batch: Batch, origin: "Origin", deadline: float | None, *, exactly: bool = False
    ) -> list[Fate]:
        """Hand frames from a client, which its session has checked, to everybody whom they fit.

        Args:
            batch: The frames.
            origin: The client.
            deadline: Until when they may wait for room under `block`; None where too much waits already.
            exactly: Whether somebody wants to know of each frame what became of it.
        """
        fates: list[Fate] = self.turnstile.run(self._deliver_batch, batch, origin, deadline, exactly) or []
        if self.ledger.is_over:
            self._relieve()
        return fates

    def _deliver_batch(self, batch: Batch, origin: "Origin", deadline: float | None, exactly: bool) -> list[Fate]:
        count = len(batch.type_ids)
        self.routed += count
        if self.meter is not None:
            self.meter.note()
        self.keep_up()
        router = self.router
        fates: list[Fate] = []
        for start, stop, everybody in router.runs(batch):
            run = (batch if stop - start == count else batch.part(start, stop)).compact()
            takers = everybody
            if router.is_echoless:
                own = origin.subscriptions
                takers = tuple(one for one in everybody if not (one.no_echo and one.owner is own))
            more = self._has_more(run)
            left, at = run, start
            while True:  # as many at a time as fare alike with everybody
                part = left if count == 1 else alike(left, takers, deadline, exactly=exactly or more)
                troubles: list[Trouble] = []
                matched = offer(takers, part, deadline, troubles)
                if more:
                    fates += self._with_rest(part, Fate(at, stop, matched, tuple(troubles)), origin, deadline)
                else:
                    fates.append(Fate(at, at + len(part.type_ids), matched, tuple(troubles)))
                if part is left:
                    break
                at += len(part.type_ids)
                left = run.part(at - start, stop - start)
        return fates

    def _with_rest(self, part: Batch, fate: Fate, origin: "Origin", deadline: float | None) -> Iterator[Fate]:
        """Hand frames that have fared alike on to those who take them one by one; what became of each in the end."""
        for index in range(len(part)):
            troubles = list(fate.troubles)
            frame = part.part(index, index + 1).compact()
            matched = fate.matched + self._deliver_rest(frame, origin, deadline, troubles)
            yield Fate(fate.start + index, fate.start + index + 1, matched, tuple(troubles))

    def _has_more(self, run: Batch) -> bool:
        """Whether somebody beside socket subscriptions of their own cares for the frames of a run."""
        retained = self.latest.retained
        if not (self.dispatcher.subscriptions or self.groups.members or retained):
            return False
        return any(
            type_id in retained or self.dispatcher.takers(type_id) or self.groups.of(type_id) for type_id in run.types
        )

    def _deliver_rest(self, frame: Batch, origin: "Origin", deadline: float | None, troubles: list[Trouble]) -> int:
        """Hand one frame to handlers here and to groups, and keep it if it is to be retained; how many it fits."""
        type_id = frame.type_ids[0]
        retain = type_id in self.catalog.retained
        locals_ = self.dispatcher.takers(type_id)
        turns = self.groups.of(type_id)
        if not (retain or locals_ or turns):
            return 0
        tags: dict[int, bytes] = {}
        message = self.registry.by_id[type_id].codec.decode(frame.payload(0), tags)  # its session has verified it
        metadata = Metadata.from_tags(tags)
        delivery = Delivery.of(metadata, self.answers.to_client(metadata))
        if retain:
            asks = metadata.reply_to is not None
            plain = batch_of(self.publisher.encode(message, self.registry.by_id[type_id]), type_id) if asks else frame
            self._retain(message, plain, own=False)
        troubles += self.dispatcher.deliver(type_id, message, delivery, None, deadline)
        parcel = _Parcel(frame, message, delivery, deadline)
        return len(locals_) + self._offer_to_groups(parcel, partial(is_own, origin), troubles)

    # --- groups ---

    def _offer_to_groups(self, parcel: "_Parcel", skip: Callable[[Any], bool], troubles: list[Trouble]) -> int:
        """One of each group gets the message; how many groups there are."""
        matched = 0
        for turns in self.groups.of(parcel.frame.type_ids[0]) if self.groups else ():
            member = turns.pick(skip)
            if member is None:
                continue
            matched += 1
            if isinstance(member, LocalSubscription):
                note(troubles, member.offer(parcel.message, parcel.delivery, None, parcel.deadline))
            else:
                note(troubles, member.offer(parcel.frame, parcel.deadline))
        return matched

    # --- last values ---

    def last_values(self, wants: Callable[[int], bool]) -> list[Snapshot]:
        """Last values of types that somebody wants, as far as the newest contracts say so and can read them."""
        kept = self.catalog.retained
        return self.retained.of(lambda type_id: type_id in kept and wants(type_id))

    def remember(self, subscription: LocalSubscription, type_ids: Iterable[int]) -> None:
        """Give a new subscription of this process the last values of these types."""
        self.dispatcher.prepare(subscription)
        snapshots = self.last_values(frozenset(type_ids).__contains__)
        for value in [kept.value for kept in merge(*(one.values() for one in snapshots), key=attrgetter("number"))]:
            tags: dict[int, bytes] = {}
            codec = self.registry.by_id[value.type_id].codec
            message = codec.decode(value.frame.payload(0), tags) if value.message is None else value.message
            subscription.offer_retained(message, Delivery.of(Metadata.from_tags(tags)).as_retained())

    def _changed(self) -> None:
        """Somebody has come or gone, or the contracts have changed."""
        self.on_change()
        self.routed += self.planned.settle(self.tally(IN_PROCESS))

    def _relieve(self) -> None:
        """If too much memory is held, have it given up."""
        if self.ledger.is_over:
            relieve(self.ledger, (one for session in self.sessions.values() for one in session.subscriptions))

    def tell(self, event: Event) -> None:
        """Something has happened."""
        if isinstance(event, SlowConsumer):
            self.slow[event.on_lag] += 1
        self._tell(event)

    # --- figures ---

    def traffic_over(self, transport: str) -> Traffic:
        """What is counted of the connections of a transport."""
        found = self.traffic.get(transport)
        if found is None:
            found = self.traffic[transport] = Traffic(transport)
        return found

    def tally(self, transport: str) -> Tally | None:
        """Where messages of a transport are counted by type; None where nobody has asked for it."""
        return None if self.meter is None else self.meter.tally(transport)

    def measure(self) -> Meter:
        """Count by type and take times from now on; where it is counted."""
        if self.meter is None:
            self._changed()  # what has gone by plan before is none of the meter's
            self.meter = Meter()
            self.dispatcher.count_by_type(self.meter.tally(IN_PROCESS))
            for session in self.sessions.values():
                session.tally = self.meter.tally(session.traffic.transport)
                for one in session.subscriptions:
                    one.outbox.count_by_type(session.tally)
        return self.meter

    @property
    def published(self) -> int:
        """Messages so far."""
        return self.routed + self.planned.number

    @property
    def blocked_seconds(self) -> float:
        """How long publishers have waited for room."""
        return sum(one.blocked_seconds for one in self.traffic.values())

    def stats(self) -> SubscriptionStats:
        """The sums over all subscriptions."""
        remote = (one.outbox.stats() for session in self.sessions.values() for one in session.subscriptions)
        return self.totals.with_live((*remote, *self.dispatcher.stats()))

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self.dispatcher.subscriptions) + sum(len(one.subscriptions) for one in self.sessions.values())
