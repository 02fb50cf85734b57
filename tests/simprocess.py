"""The processes of a simulated world: a bridge's and clients', what they publish, and what they should get."""

import asyncio
import contextlib
import itertools
from collections import Counter
from contextvars import copy_context

import attrs
from simnet import OWNER

import mycelium
from mycelium.bus.bridge import Bridge
from mycelium.bus.errors import BufferFull, ClosedError, ConnectError, ConnectionLost, Refused
from mycelium.bus.options import DEFAULT_QUEUE, DEFAULT_WINDOW
from mycelium.schema.parse import parse_text

__all__ = [
    "EXPECTED",
    "HANDLERS",
    "PROMPT",
    "SCHEMAS",
    "TYPES",
    "Actor",
    "Client",
    "Mischief",
    "Sent",
    "Server",
    "Watched",
]

ADDRESS = ("tcp", "sim", 7777)
URL = "tcp://sim:7777"
IN_TIME = 4.0
"""Seconds; what takes longer at the end of a process may have been cut off."""
EXPECTED = (ConnectError, ConnectionLost, ClosedError, BufferFull, Refused, TimeoutError)
"""What a call may raise in a world with faults."""

_MESSAGE = """
  {name}:
    tlv_type: {type_id}
    domain: Simulation
    description: A number of a row
    fields:
      publisher: {{type: u32, description: Whose row}}
      sequence: {{type: u32, description: Which number}}
      filler: {{type: String, description: Length}}
"""
_NOTE = "      note_{number}: {{type: String, optional: true, description: Came later}}\n"
TYPES = {"Tick": 1001, "Tock": 1002}


def _schema(version):
    text = f"schema: {{id: 7, version: {version}, min_compatible: 1}}\nmessages:\n"
    for name, type_id in TYPES.items():
        text += _MESSAGE.format(name=name, type_id=type_id).lstrip("\n")
        text += "".join(_NOTE.format(number=number) for number in range(2, version + 1))
    return parse_text(text.replace("{{", "{").replace("}}", "}"), "simulation")


SCHEMAS = [_schema(version) for version in (1, 2, 3)]
_spare = {schema.digest: [] for schema in SCHEMAS}
"""Handles that nobody uses at the moment: each process has its own, and a new one takes its time."""


class Mischief(Exception):
    """What handlers raise on purpose."""


@attrs.define
class Sent:
    """A message that somebody published."""

    type_name: str
    moment: int
    actor: "Actor"
    home: "Server"
    accepted: bool | None = None
    """None while the call goes on."""


class Publisher:
    """A row of numbered messages; one publish at a time."""

    def __init__(self, actor):
        self.actor = actor
        self.number = next(actor.world.numbers)
        self.turn = asyncio.Lock()
        self._sequence = itertools.count(1)

    async def publish(self, type_name, filler, *, nowait):
        world, api = self.actor.world, self.actor.api
        key = self.number, next(self._sequence)
        sent = world.sent[key] = world.recent[key] = Sent(type_name, world.moment(), self.actor, self.actor.home_now())
        message = self.actor.contracts[type_name](publisher=key[0], sequence=key[1], filler=filler)
        try:
            if nowait:
                api.publish_nowait(message)
            else:
                await api.publish(message)
        except EXPECTED:
            sent.accepted = False
            raise
        sent.accepted = True
        world.last_publish = world.loop.time()


class Watched:
    """A subscription, what it got, and what it should have got.

    Attributes:
        subscription: With the counters; None until it is confirmed.
        since: The moment when it was confirmed.
        left: Whether nothing more is promised to it.
        ended: Whether nothing may come any more.
        missing: What it should have got and has not.
    """

    def __init__(self, actor, kind):
        self.actor, self.kind, self.types = actor, kind, actor.types
        self.name = f"{actor.name}.{next(actor.numbers)} ({kind})"
        self.subscription = None
        self.since = None
        self.left = self.ended = False
        self.missing = set()
        self.slack = self.total = 0
        self.publisher = Publisher(actor)
        self._got = set()
        self._last = Counter()
        self._count = 0

    def __repr__(self):
        return self.name

    def confirmed(self, subscription):
        self.subscription = subscription
        self.since = self.actor.world.moment()
        self.slack = self.actor.held()
        self.total = self.seen()

    def seen(self):
        """Messages that have been matched, here or still at the bridge."""
        return self.subscription.stats().matched + self.actor.queued_for(self.types)

    def excused(self):
        """How many messages may be missing: dropped and counted, or still waiting."""
        stats = self.subscription.stats()
        return sum(stats.dropped.values()) + stats.queued + self.actor.queued_for(self.types)

    def problem(self):
        """What must not be so at any moment; None if all is well."""
        if self.subscription is None or not self.actor.alive:
            return None
        stats = self.subscription.stats()
        if not stats.balanced:
            return f"the law does not hold for {self}: {stats}"
        if stats.queued + stats.in_flight > self.actor.most_held():
            return f"{self} holds more than it may: {stats}"
        return None

    def take(self, message):
        """A message has come."""
        world, key = self.actor.world, (message.publisher, message.sequence)
        if not self.actor.alive:
            return
        world.note(f"{self.name} gets {key[0]}:{key[1]}")
        sent = world.sent.get(key)
        if sent is None or sent.accepted is False or sent.type_name != type(message).__name__:
            world.violate(f"{self.name} got {key}, which nobody published: {sent}")
        elif self.ended or sent.type_name not in self.types:
            world.violate(f"{self.name} got {key} after its end, or did not ask for it")
        elif key in self._got:
            world.violate(f"{self.name} got {key} twice")
        elif key[1] < self._last[key[0]]:
            world.violate(f"{self.name} got {key} after {self._last[key[0]]}")
        self._got.add(key)
        self._last[key[0]] = key[1]
        self.missing.discard(key)

    def has(self, key):
        return key in self._got

    # --- handlers ---

    def handler(self):
        """A function that takes messages in its own way."""
        return getattr(self, f"_{self.kind}")

    def _sync(self, message):
        self.take(message)

    def _raising(self, message):
        self.take(message)
        raise Mischief

    async def _quick(self, message):
        self.take(message)
        await asyncio.sleep(0)

    async def _failing(self, message):
        self.take(message)
        await asyncio.sleep(0.001)
        raise Mischief

    async def _slow(self, message):
        self.take(message)
        await asyncio.sleep(0.1)

    async def _stuck(self, message):
        self.take(message)
        self._count += 1
        if self._count == 3:
            await asyncio.get_running_loop().create_future()

    async def _echoing(self, message):
        self.take(message)
        if type(message).__name__ == "Tick":
            await self._answer()

    def _bouncing(self, message):
        self.take(message)
        if type(message).__name__ == "Tick":
            self.actor.start(self._answer(), most=30)

    async def _answer(self):
        with contextlib.suppress(*EXPECTED):
            await self.actor.publish(self.publisher, ["Tock"], "", nowait=self.kind == "bouncing", pause=0)


HANDLERS = ("sync", "raising", "quick", "failing", "slow", "stuck", "echoing", "bouncing")
"""Ways of taking messages; the last two publish a Tock for each Tick."""
PROMPT = {"sync", "raising", "quick", "bouncing", "iterator"}
"""Those that never keep a message waiting."""


# --- processes ---


class Actor:
    """A process: the bridge's or a client's.

    Attributes:
        api: The bus or client of it.
        alive: Whether it has not crashed.
        home: The bridge's process that it is connected to, or is.
        before: Its connection at the last quiet moment; or its first one since then.
    """

    api = None

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.alive = True
        self.closing = False
        self.parted = False
        self.before = self.home = None
        self.numbers = itertools.count(1)
        self.watched = []
        self.generation = world.generation
        self.contracts = _take_handle(SCHEMAS[self.generation])
        self.queue = world.random.choice((None, None, 1, 4, 32))
        self.window = world.random.choice((None, None, 1, 4, 64))
        self.heartbeat = world.random.choice((1, 10, 10))
        self.types = world.random.choice((["Tick"], ["Tock"], ["Tick", "Tock"]))
        self.publishers = [Publisher(self) for _ in range(2)]
        self._context = copy_context()
        self._context.run(OWNER.set, name)

    def __repr__(self):
        return self.name

    def start(self, work, *, most, what=""):
        """Have something done that has to be over in so many seconds."""
        return self.world.start(self, work, most, what or work.__qualname__, self._context)

    def intact(self):
        """Whether its connection is the one that it had at the last quiet moment."""
        return self.alive and self.before is not None and (self.parted or self.before == self.token())

    def home_now(self):
        """The bridge's process that gets what is published now; None where nothing is promised any more."""
        return self.home

    def heard(self):
        """Whether all that it has published since then must have come to the bridge."""
        return self.intact()

    def renew(self):
        """All is well so far; from now on it is looked at anew."""
        self.before = self.token()

    def options(self):
        return {"queue": self.queue, "window": self.window}

    async def subscribe(self, watched):
        types = [self.contracts[name] for name in watched.types]
        self.watched.append(watched)
        try:
            watched.confirmed(await self.api.subscribe(watched.handler(), *types, **self.options()))
        except EXPECTED:
            watched.left = watched.ended = True
            raise

    async def iterate(self, watched):
        types = [self.contracts[name] for name in watched.types]
        self.watched.append(watched)
        try:
            async with self.api.messages(*types, **self.options()) as stream:
                watched.confirmed(stream._subscription)
                async for message in stream:
                    watched.take(message)
        finally:
            watched.left = watched.ended = True

    async def unsubscribe(self, watched):
        watched.left = True
        await watched.subscription.unsubscribe()
        watched.ended |= watched.kind != "iterator"  # which gives out what it has

    async def publish(self, publisher, type_names, filler, *, nowait, pause):
        async with publisher.turn:
            for name in type_names:
                if not self.alive:
                    return
                await publisher.publish(name, filler, nowait=nowait)
                if pause:
                    await asyncio.sleep(pause)

    async def end(self):
        """Give back what it had."""
        if self.contracts.schema is SCHEMAS[self.generation] and not self.contracts._listeners:
            _spare[self.contracts.schema.digest].append(self.contracts)


class Server(Actor):
    """The process of the bridge."""

    def __init__(self, world):
        super().__init__(world, world.new_name("bridge"))
        self.api = self.bus = mycelium.MessageBus(self.contracts)
        self.bridge = Bridge(self.bus, ())
        self.before = self.name
        self.home = self

    async def open(self):
        await self.bridge.start()
        self.world.network.listen(ADDRESS, self.bridge._listeners._make)

    async def close(self):
        self.closing = True
        self.world.network.unlisten(ADDRESS)
        begun, wires = self.world.loop.time(), self.world.network.wires_to(ADDRESS)
        for session in self.bridge.sessions:
            _note_answer(session, [one for one in wires if one.owner == session.client])
        await self.bridge.close()
        well = self.alive and self.world.loop.time() - begun < IN_TIME
        for wire in wires:
            wire.stopped_well = well and not wire.hurt
        await self.bus.close()
        self.parted = well
        await self.end()

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash(ADDRESS, silent=silent)
        self.start(self.close(), most=20)

    def token(self):
        return self.name if not self.closing else None

    def home_now(self):
        return None if self.closing else self

    def most_held(self):
        return (self.queue or DEFAULT_QUEUE) + 1

    def queued_for(self, _):
        return 0

    def held(self):
        return 0

    def outboxes(self):
        return [each.outbox for session in self.bridge.sessions for each in session.subscriptions]

    def outboxes_of(self, session_number):
        sessions = [one for one in self.bridge.sessions if one.number == session_number]
        return [each.outbox for session in sessions for each in session.subscriptions]

    def problems(self):
        """What must not be so at any moment in the queues at the bridge."""
        for outbox in self.outboxes():
            stats, waiting = outbox.stats(), sum(len(cell.batch) for cell in outbox._cells)
            if not stats.balanced:
                yield f"the law does not hold for {outbox}: {stats}"
            if waiting + len(outbox._holds) != stats.queued or waiting > outbox.limit:
                yield f"{waiting} messages wait in {outbox}, which may hold {outbox.limit}"


class Client(Actor):
    """The process of a client."""

    def __init__(self, world):
        super().__init__(world, world.new_name("client"))
        self.api = self.client = mycelium.MyceliumClient(self.contracts, name=self.name, heartbeat=self.heartbeat)
        self.connected = False
        self.wire = None

    async def open(self):
        await self.client.connect(URL)
        self.connected = True
        self.home = self.world.server
        self.wire = self.world.network.wire_of(self.name)
        self.before = self.token()

    async def close(self):
        self.closing = True
        begun, hurt = self.world.loop.time(), self.wire is None or self.wire.hurt
        usable = self.token() is not None and self.token() == self.before
        await self.client.close()
        in_time = self.world.loop.time() - begun < IN_TIME
        self.parted = usable and in_time and not hurt and not self.wire.hurt
        for each in self.watched:
            each.left = True
            each.ended |= each.kind != "iterator"
        await self.end()

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash_owner(self.name, silent=silent)
        self.start(self.close(), most=20)

    def token(self):
        """Which connection it has; None if it has none that works."""
        wire = self.world.network.wire_of(self.name)
        return wire.number if self.connected and wire is not None else None

    def intact(self):
        return super().intact() or (self.alive and self.wire is not None and self.wire.stopped_well)

    def heard(self):
        return self.intact() and (self.wire.waited_for or not self.home.closing)

    def renew(self):
        super().renew()
        if self.wire is not None:
            self.wire.stopped_well = False

    def most_held(self):
        """A window; one more for each subscription that may have been left with messages still on their way."""
        return (self.window or DEFAULT_WINDOW) * (1 + sum(one.left for one in self.watched))

    def _outboxes(self):
        server = self.world.server
        return [] if server is None else server.outboxes_of(self.client.session)

    def queued_for(self, type_names):
        """Messages of these types that wait for it at the bridge."""
        wanted = {TYPES[name] for name in type_names}
        waiting = (cell.batch for outbox in self._outboxes() for cell in (*outbox._cells, *outbox._holds))
        return sum(type_id in wanted for batch in waiting for type_id in batch.type_ids)

    def held(self):
        """Messages that the bridge has and this client may get or have to count, whenever they were published."""
        return sum(one.queued + one.in_flight + sum(one.dropped.values()) for one in self._stats())

    def _stats(self):
        return [outbox.stats() for outbox in self._outboxes()]


def _note_answer(session, wires):
    """Have the wires of a session know whether its client had answered the Goodbye when the grace was over."""
    finish = session.finish

    def finish_and_tell():
        for wire in wires:
            wire.waited_for = session.said_goodbye
        finish()

    session.finish = finish_and_tell


def _take_handle(schema):
    spare = _spare[schema.digest]
    return spare.pop() if spare else mycelium.load(schema)
