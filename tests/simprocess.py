"""The processes of a simulated world: a bridge's and clients'."""

import asyncio
import itertools
from collections import Counter
from contextvars import copy_context
from functools import partial

import attrs
from simnet import OWNER
from simschema import KEYED, SCHEMAS, TYPES, give_back, take_handle
from simwatch import EXPECTED, MOST_LAST_VALUES, Publisher

import mycelium
from mycelium.bus.bridge import Bridge
from mycelium.bus.clientstate import ClientState
from mycelium.bus.options import DEFAULT_QUEUE, DEFAULT_WINDOW
from mycelium.bus.outbox import HOLD_BYTES
from mycelium.bus.plan import TAKEN
from mycelium.bus.urls import Address
from mycelium.events import Connected, Reconnecting

__all__ = ["ADDRESS", "Actor", "Client", "Server"]

ADDRESS = ("tcp", "sim", 7777)
WHERE = Address("tcp", host="sim", port=7777)
URL = "tcp://sim:7777"
IN_TIME = 4.0
"""Seconds; what takes longer at the end of a process may have been cut off."""
SUBSCRIPTIONS = (["Tick"], ["Tock"], ["Tick", "Tock"], ["State"], ["Tick", "State", "Work"], ["Work"], list(TYPES))
POLICIES = (None, None, None, "drop_oldest", "drop_newest", "latest", "block", "reject", "disconnect")


class Actor:
    """A process: the bridge's or a client's.

    Attributes:
        api: The bus or client of it.
        alive: Whether it has not crashed.
        home: The bridge's process that it is connected to, or is.
        is_server: Whether it is the bridge's.
    """

    api = None
    is_server = False

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.alive = True
        self.closing = False
        self.parted = False
        self.numbers = itertools.count(1)
        self.watched = []
        self.generation = world.generation
        self.contracts = take_handle(SCHEMAS[self.generation])
        self.types = [one for one in world.random.choice(SUBSCRIPTIONS) if one != "Ask"]
        self.publishers = [Publisher(self) for _ in range(2)]
        self._context = copy_context()
        self._context.run(OWNER.set, name)

    def __repr__(self):
        return self.name

    def start(self, work, *, most, what=""):
        """Have something done that has to be over in so many seconds."""
        return self.world.start(self, work, most, what or work.__qualname__, self._context)

    def _wire_options(self):
        """Of a subscription; a client's all have the same."""
        choice = self.world.random.choice
        return {
            "on_lag": choice(POLICIES),
            "queue": choice((None, None, 1, 4, 32)),
            "window": choice((None, None, 1, 4, 64)),
            "group": choice((None, None, None, "crew")),
            "no_echo": choice((False, False, True)),
        }

    def options(self, kind):
        """What a subscription is asked for with, but for `on_gap`."""
        prompt = kind in ("sync", "raising", "bouncing", "iterator", "mute")
        return {**self.wire_options(), "concurrency": 1 if prompt else self.world.random.choice((1, 1, 3))}

    async def subscribe(self, watched):
        types = [self.contracts[name] for name in watched.types]
        self.watched.append(watched)
        try:
            made = await self.api.subscribe(watched.handler(), *types, on_gap=watched.on_gap, **watched.options)
            watched.confirmed(made)
        except EXPECTED:
            watched.left = watched.ended = True
            raise

    async def iterate(self, watched):
        types = [self.contracts[name] for name in watched.types]
        self.watched.append(watched)
        try:
            async with self.api.messages(*types, on_gap=watched.on_gap, **watched.options) as stream:
                watched.confirmed(stream._subscription)
                async for message in stream:
                    watched.take(message)
        finally:
            watched.left = watched.ended = True

    async def unsubscribe(self, watched):
        watched.left = True
        await watched.subscription.unsubscribe()
        watched.ended |= watched.kind != "iterator"  # which gives out what it has

    async def publish(self, publisher, type_names, filler, *, how, pause, slots=None):
        async with publisher.turn:
            for name, slot in zip(type_names, slots or [0] * len(type_names), strict=True):
                if not self.alive:
                    return
                await publisher.publish(name, slot if name == KEYED else 0, filler, how)
                if pause:
                    await asyncio.sleep(pause)

    async def request(self, publisher, timeout):
        async with publisher.turn:
            if self.alive:
                await publisher.request(timeout)

    def end(self):
        """Give back what it had."""
        give_back(self.contracts, SCHEMAS[self.generation])


class Server(Actor):
    """The process of the bridge.

    Attributes:
        matched: By what the exchange says of each message, subscriptions that it fitted.
        published: Messages that it has routed.
        answered: Requests of clients that somebody has answered.
    """

    is_server = True
    joins = 0

    def __init__(self, world):
        super().__init__(world, world.new_name("bridge"))
        self.max_memory = world.random.choice((None, None, None, 30_000, 300_000))
        self.api = self.bus = mycelium.MessageBus(self.contracts, max_memory=self.max_memory)
        self.bridge = Bridge(self.bus, ())
        if world.is_measured:
            self.bus.exchange.measure()
        self.home = self
        self.wire_options = self._wire_options
        self.matched = self.published = self.answered = 0
        self._count(self.bus.exchange, self.bus._plans)

    def _count(self, exchange, plans):
        deliver, here, deliver_batch = exchange._deliver, exchange._deliver_here, exchange._deliver_batch
        make, otherwise = plans._made, plans._otherwise
        inside, as_planned = [], []

        def counted(*args):
            inside.append(True)
            try:
                result = deliver(*args)
            finally:
                inside.pop()
            self.matched += result[0]
            return result

        def counted_here(*args):
            result = here(*args)
            self.published += 1
            self.matched += 0 if inside else result[0]
            return result

        def counted_batch(batch, *args):
            fates = deliver_batch(batch, *args)
            self.matched += sum(fate.matched * (fate.stop - fate.start) for fate in fates)
            self.published += len(batch)
            return fates

        def counted_plan(plan, *args):
            as_planned.append(True)
            try:
                result = plan(*args)
            finally:
                counts = as_planned.pop()
            if counts:
                self.published += 1
                self.matched += (result or TAKEN)[0]
            return result

        def not_as_planned(*args):
            as_planned[-1] = False
            return otherwise(*args)

        def made(cls):
            plans._otherwise = not_as_planned
            plan = make(cls)
            plans._otherwise = otherwise
            return plan and partial(counted_plan, plan)

        exchange._deliver, exchange._deliver_here, exchange._deliver_batch = counted, counted_here, counted_batch
        plans._made = made

    async def open(self):
        await self.bridge.start()
        self.world.network.listen(ADDRESS, lambda: self.bridge._protocol_for(WHERE), self)

    async def close(self, **how):
        self.closing = True
        self.world.network.unlisten(ADDRESS)
        begun, wires = self.world.loop.time(), self.world.network.wires_to(ADDRESS)
        wires = [one for one in wires if one.home is self]
        sessions = self.bridge.sessions
        for session in sessions:
            _note_answer(session, [one for one in wires if one.owner == session.client])
        await self.bridge.close(**how)
        in_time = min(IN_TIME, 0.8 * how.get("grace", IN_TIME / 0.8))
        well = self.alive and self.world.loop.time() - begun < in_time
        for wire in wires:
            reasons = {one.reason for one in sessions if one.client == wire.owner}
            wire.stopped_well = well and not wire.hurt and reasons <= {"shutdown", "client"}
        await self.bus.close()
        self.parted = well
        self.end()

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash(ADDRESS, silent=silent)
        self.start(self.close(), most=20)

    def intact(self):
        """Whether all that is promised to its subscriptions must have been kept."""
        return self.alive and (self.parted or not self.closing)

    def heard(self, _):
        """Whether a message that it has published must have come to the bridge."""
        return self.alive

    def home_of(self, sent):
        """The bridge's process that got a message of this one; None where nothing is promised."""
        return self if sent.epoch == 0 else None

    def way_out(self):
        return (None if self.closing else 0), False

    def keeps(self, _):
        """Whether a message may still be waiting here."""
        return False

    def keep(self, sent):
        """A message may still come to somebody; whoever has it already need not count it again."""

    def is_past(self, _):
        return False

    def epoch_now(self):
        return 0

    next_epoch = epoch_told = epoch_now

    def may_remember(self):
        """Whether a last value may come to who has got it before."""
        return False

    def joined(self):
        return 0

    def held_by(self, watched):
        return len(watched.subscription.queue.entries) + watched.subscription.stats().in_flight

    def most_held(self, watched):
        return (watched.options["queue"] or DEFAULT_QUEUE) + watched.options["concurrency"]

    def queued_for(self, _):
        return 0

    def held(self):
        return 0

    def to_remember(self):
        """Last values that wait for it at the bridge."""
        return 0

    def outboxes(self):
        return [each.outbox for session in self.bridge.sessions for each in session.subscriptions]

    def outboxes_of(self, client):
        whose = client.name, client.client.session
        sessions = [one for one in self.bridge.sessions if (one.client, one.number) == whose]
        return [each.outbox for session in sessions for each in session.subscriptions]

    def problems(self):
        """What must not be so at any moment in the queues at the bridge."""
        outboxes = self.outboxes()
        for outbox in outboxes:
            stats, waiting = outbox.stats(), sum(map(len, outbox._queue))
            if not stats.balanced:
                yield f"the law does not hold for {outbox}: {stats}"
            held = sum(len(cell.batch) for cell in outbox._holds)
            if waiting + held != stats.queued or waiting > outbox.limit:
                yield f"{waiting} messages wait in {outbox}, which may hold {outbox.limit}"
            if outbox._credit is not None and not 0 <= outbox._credit <= outbox.window:
                yield f"{outbox} has a window of {outbox.window}"
        stats = self.bus.stats()
        if not stats.balanced or min(stats.matched, stats.delivered, stats.queued, stats.in_flight) < 0:
            yield f"the law does not hold for {self}: {stats}"
        if stats.published != self.published or stats.matched < self.matched:
            yield f"{self} has routed {self.published} messages to {self.matched} subscriptions, and says {stats}"
        yield from self._memory_problems(outboxes)
        if self.bus.exchange.meter is not None:
            yield from self._sum_problems(stats, self.bus.exchange)

    def _sum_problems(self, stats, exchange):
        """What is counted by type has the same sums as what is not."""
        tallies = exchange.meter.tallies.values()
        received = exchange.planned.received.total() + sum(one.received.total() for one in tallies)
        delivered = exchange.planned.delivered.total() + sum(one.delivered.total() for one in tallies)
        if (received, delivered) != (stats.published, stats.delivered):
            yield f"{self} has counted {received} messages received and {delivered} delivered by type, and says {stats}"
        dropped = Counter()
        for tally in tallies:
            for (_, reason), number in tally.dropped.items():
                dropped[reason] += number
        if +dropped != +Counter(stats.dropped):
            yield f"{self} has counted {dict(dropped)} dropped by type, and says {stats}"

    def _memory_problems(self, outboxes):
        exchange = self.bus.exchange
        chunks, snapshots = {}, set()
        for outbox in outboxes:
            waiting = _waiting(outbox)
            snapshots.update(run.snapshot for _, _, run in outbox._backlog._runs)
            chunks.update((id(one.data), len(one.data)) for one in waiting)
            if outbox.queued_bytes != sum(one.size for one in waiting):
                yield f"{outbox} holds {sum(one.size for one in waiting)} bytes"
        last = [kept for one in snapshots for kept in one.values()]
        for table in exchange.retained._tables.values():
            last += (*table._values.values(), *table._unreadable.values())
        chunks.update((id(kept.value.frame.data), len(kept.value.frame.data)) for kept in last)
        held = sum(chunks.values()) + HOLD_BYTES * sum(len(one._holds) for one in outboxes)
        if held != exchange.ledger.used:
            yield f"{self} holds {held} bytes, and counts {exchange.ledger.used}"
        if exchange.ledger.used > exchange.ledger.limit and any(one.queued for one in outboxes):
            yield f"{self} holds {exchange.ledger.used} bytes, and may hold {exchange.ledger.limit}"


@attrs.define(eq=False)
class Epoch:
    """A connection of a client.

    Attributes:
        wire: See above; None for one that was gone at once.
        moment: When it was there.
        clean: Whether no attempt has failed before it that somebody had answered.
    """

    wire: object
    moment: int
    clean: bool

    @property
    def home(self):
        return None if self.wire is None else self.wire.home

    @property
    def whole(self):
        """Whether nothing is lost of it."""
        return self.wire is not None and (self.wire.open or self.wire.stopped_well)


class Client(Actor):
    """The process of a client.

    Attributes:
        connected: Whether it has had a connection.
        epochs: Its connections.
        joins: How many connections have been asked for its subscriptions, those that were lost meanwhile included.
        delays: How long it has waited before each attempt to connect again.
    """

    def __init__(self, world, **given):
        super().__init__(world, world.new_name("client"))
        choice = world.random.choice
        options = {"heartbeat": choice((1, 10, 10)), "stamp": choice((True, False, False)), **given}
        if not choice(range(8)):
            options["buffer"] = 0
        self.api = self.client = mycelium.MyceliumClient(self.contracts, name=self.name, **options)
        self.connected = False
        self.epochs = []
        self.delays = []
        self.joins = 0
        self._opened = 0
        self._looks_back = False
        self._options = self._wire_options()
        self._count_joins(self.client._inbox)

    def _count_joins(self, inbox):
        join = inbox.join

        def counted(conversation):
            self.joins += 1
            return join(conversation)

        inbox.join = counted

    def wire_options(self):
        return self._options

    @property
    def home(self):
        return self.epochs[-1].home if self.epochs else None

    @property
    def wire(self):
        return self.epochs[-1].wire if self.epochs else None

    async def open(self, *, retry=False):
        self.start(self._follow(self.client.events()), most=float("inf"))
        await self.client.connect(URL, retry_first=retry)

    async def _follow(self, events):
        async for event in events:
            if isinstance(event, Connected):
                self._join(event.epoch)
            elif isinstance(event, Reconnecting):
                self.delays.append((event.attempt, event.delay))

    def _join(self, number):
        """There is a connection."""
        network = self.world.network
        self.connected = True
        wire = network.wire_of(self.name)
        if self.epochs and self.epochs[-1].whole:
            self._looks_back = True
            self.world.check_watched(self)
            self._looks_back = False
        clean = network.opened[self.name] - self._opened == 1
        self._opened = network.opened[self.name]
        self.epochs.append(Epoch(wire, self.world.moment(), clean))
        self.world.note(f"{self.name} joins by {wire}")
        if len(self.epochs) != number:
            self.world.violate(f"{self.name} is told of connection {number} after {len(self.epochs) - 1}")
        for watched in self.watched:
            watched.rejoined()

    async def close(self, *, drain=None):
        self.closing = True
        begun, hurt = self.world.loop.time(), self.wire is None or self.wire.hurt
        usable = not hurt and self.wire.open and self.client.state is ClientState.CONNECTED
        for each in self.watched:
            each.left = True
        try:
            if drain is None:
                await self.client.close()
            else:
                await self.client.drain(drain)
                self._look_at_drained()
        finally:
            in_time = self.world.loop.time() - begun < (IN_TIME if drain is None else drain)
            self.parted = usable and in_time and not self.wire.hurt and self.alive and self._has_said_goodbye()
            for each in self.watched:
                each.left = True  # there may be more by now
                each.ended |= each.kind != "iterator"
            self.end()

    def _has_said_goodbye(self):
        closed = self.home.bridge.closed
        return any((one.session, one.reason) == (self.client.session, "client") for one in closed)

    def _look_at_drained(self):
        stats = self.client.stats()
        if stats.in_flight or stats.buffered or stats.unconfirmed:
            self.world.violate(f"{self} is drained, and has {stats}")

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash_owner(self.name, silent=silent)
        self.start(self.close(), most=20)

    def intact(self):
        return self.alive and bool(self.epochs) and (self.parted or self.epochs[-1].whole)

    def epoch_now(self):
        """The number of its connection."""
        return self.client._life.epoch

    def epoch_told(self):
        """The number of the connection that it was told of last."""
        return len(self.epochs)

    def may_remember(self):
        return self.next_epoch() > 1 or any(one.left for one in self.watched)

    def next_epoch(self):
        """The number of its connection, or of the next one if there is none."""
        return self.client._life.epoch + (self.client.state is ClientState.RECONNECTING)

    def way_out(self):
        """Which connection what is published now goes through, and whether it has to wait for that."""
        life = self.client._life
        steady = life.phase is ClientState.CONNECTED and life.conversation.is_open
        return life.epoch + (not steady), not steady

    def keeps(self, sent):
        if not self.alive or self.closing:
            return False
        return sent.epoch is None or sent.epoch > len(self.epochs) or self.client.stats().buffered > 0

    def keep(self, sent):
        if sent.epoch is not None and sent.epoch <= len(self.epochs):
            sent.epoch = None

    def is_past(self, epoch):
        return epoch is None or self.epoch_now() > epoch

    def joined(self):
        return self.epochs[-1].moment

    def home_of(self, sent):
        """The bridge's process that got a message; None where nothing is promised."""
        if sent.epoch is None or sent.epoch > len(self.epochs):
            return None
        return self.epochs[sent.epoch - 1].home

    def heard(self, sent):
        epoch = self.epochs[sent.epoch - 1]
        if sent.waited and not epoch.clean:
            return False
        last = self.parted and epoch is self.epochs[-1]
        return self.alive and (last or epoch.whole) and (epoch.wire.waited_for or not epoch.home.closing)

    def held_by(self, watched):
        stats = watched.subscription.stats()
        return stats.queued + stats.in_flight

    def most_held(self, watched):
        """A window; one more for each subscription that may have left messages on their way, and each connection."""
        times = 1 + sum(one.left for one in self.watched) + max(self.next_epoch() - 1, 0)
        return (watched.options["window"] or DEFAULT_WINDOW) * times + MOST_LAST_VALUES

    def _outboxes(self):
        server = self.world.server
        return [] if server is None or self._looks_back else server.outboxes_of(self)

    def queued_for(self, type_names):
        """Messages of these types that wait for it at the bridge."""
        wanted = {TYPES[name] for name in type_names}
        waiting = (batch for outbox in self._outboxes() for batch in _waiting(outbox))
        return sum(type_id in wanted for batch in waiting for type_id in batch.type_ids)

    def to_remember(self):
        return sum(outbox.remembered for outbox in self._outboxes())

    def held(self):
        """Messages that the bridge has and this client may get or have to count, whenever they were published."""
        return sum(one.queued + one.in_flight + sum(one.dropped.values()) for one in self._stats())

    def _stats(self):
        return [outbox.stats() for outbox in self._outboxes()]

    def problems(self):
        """What must not be so at any moment."""
        stats = self.client.stats()
        if not stats.balanced:
            yield f"the law does not hold for {self}: {stats}"
        if stats.buffered_bytes < 0 or stats.buffered < 0 or stats.published < 0:
            yield f"{self} has {stats}"

    @property
    def settled(self):
        """Whether it has what it will get."""
        if self.closing or not self.client._life.is_begun or self.world.server is None:
            return True
        return self.client.state is ClientState.CONNECTED and not self.client.stats().buffered


def _waiting(outbox):
    """What waits at the bridge, in batches."""
    return [*outbox._queue, *(cell.batch for cell in outbox._holds)]


def _note_answer(session, wires):
    """Have the wires of a session know whether its client had answered the Goodbye when the grace was over."""
    finish = session.finish

    def finish_and_tell():
        for wire in wires:
            wire.waited_for = session.said_goodbye
        finish()

    session.finish = finish_and_tell
