"""A bridge, clients, subscribers, publishers and everything that befalls them, in virtual time and from a seed.

A `World` does one operation after the other, lets a little time pass, and looks whether everything is still as
reliability.md has it. Everything that happens is drawn from a `random.Random`, so a seed tells the whole story.

An operation is a function `(world, random)` with `@operation(weight)` before it and, where it is not always possible,
`when=`. What takes time it hands to `actor.start(coroutine, most=seconds)`: the job has to be over by then. The seeded
runs and the Hypothesis machine take up whatever is in `OPERATIONS`.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, deque
from contextvars import copy_context
from random import Random

import attrs

import mycelium
from mycelium.bus.bridge import Bridge
from mycelium.bus.errors import BufferFull, ClosedError, ConnectError, ConnectionLost, Refused
from mycelium.bus.reload import Change
from mycelium.bus.transport import SessionProtocol
from mycelium.schema.parse import parse_text
from simloop import Deadlock, SimLoop
from simnet import OWNER, Network

__all__ = ["OPERATIONS", "Violation", "World", "operation", "run"]

ADDRESS = ("tcp", "sim", 7777)
URL = "tcp://sim:7777"
MOST_CLIENTS = 4
MOST_SUBSCRIPTIONS = 4
KEPT_LINES = 40
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


class Violation(AssertionError):
    """A promise was broken."""


class Mischief(Exception):  # noqa: N818  it is no error of anybody's
    """What handlers raise on purpose."""


# --- what is published, and who takes it ---


@attrs.define
class Sent:
    """A message that somebody published."""

    type_name: str
    moment: int
    actor: "Actor"
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
        sent = world.sent[key] = world.recent[key] = Sent(type_name, world.moment(), self.actor)
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


class Watched:
    """A subscription, what it got, and what it should have got.

    Attributes:
        subscription: With the counters; None until it is confirmed.
        since: The moment when it was confirmed.
        ended: Whether nothing may come any more.
        missing: What it should have got and has not.
    """

    def __init__(self, actor, kind, types):
        self.actor, self.kind, self.types = actor, kind, types
        self.name = f"{actor.name}.{next(actor.numbers)} ({kind})"
        self.subscription = None
        self.since = None
        self.ended = False
        self.missing = set()
        self.slack = self.total = 0
        self._got = set()
        self._last = Counter()
        self._count = 0

    def __repr__(self):
        return self.name

    def confirmed(self, subscription):
        self.subscription = subscription
        self.since = self.actor.world.moment()
        self.slack = self.actor.held_for(self.types)
        self.total = self.seen()

    def seen(self):
        """Messages that have been matched, here or still at the bridge."""
        return self.subscription.stats().matched + self.actor.queued_for(self.types)

    def excused(self):
        """How many messages may be missing: dropped and counted, or still waiting."""
        stats = self.subscription.stats()
        return sum(stats.dropped.values()) + stats.queued + self.actor.queued_for(self.types)

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


HANDLERS = ("sync", "raising", "quick", "failing", "slow", "stuck")


# --- processes ---


class Actor:
    """A process: the bridge's or a client's.

    Attributes:
        api: The bus or client of it.
        alive: Whether it has not crashed.
        before: Its connection at the last quiet moment; or its first one since then.
    """

    api = None

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.alive = True
        self.closing = False
        self.parted = False
        self.before = None
        self.numbers = itertools.count(1)
        self.watched = []
        self.generation = world.generation
        self.contracts = _take_handle(SCHEMAS[self.generation])
        self.queue = world.random.choice((None, None, 1, 4, 32))
        self.window = world.random.choice((None, None, 1, 4, 64))
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

    def options(self):
        return {"queue": self.queue, "window": self.window}

    async def subscribe(self, watched):
        types = [self.contracts[name] for name in watched.types]
        self.watched.append(watched)
        try:
            watched.confirmed(await self.api.subscribe(watched.handler(), *types, **self.options()))
        except EXPECTED:
            watched.ended = True
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
            watched.ended = True

    async def unsubscribe(self, watched):
        await watched.subscription.unsubscribe()
        watched.ended = True

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

    def __init__(self, world, name):
        super().__init__(world, name)
        self.api = self.bus = mycelium.MessageBus(self.contracts)
        self.bridge = Bridge(self.bus, ())
        self.before = name

    async def open(self):
        await self.bridge.start()
        self.world.network.listen(ADDRESS, lambda: SessionProtocol(self.bridge, self.bridge._read_buffer))

    async def close(self):
        self.closing = True
        self.world.network.unlisten(ADDRESS)
        await self.bridge.close()
        await self.bus.close()
        await self.end()

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash(ADDRESS, silent=silent)
        self.start(self.close(), most=20)

    def token(self):
        return self.name if not self.closing else None

    def queued_for(self, type_names):
        return 0

    def held_for(self, type_names):
        return 0

    def outboxes(self):
        return [each.outbox for session in self.bridge.sessions for each in session.subscriptions]

    def outboxes_of(self, session_number):
        sessions = [one for one in self.bridge.sessions if one.number == session_number]
        return [each.outbox for session in sessions for each in session.subscriptions]


class Client(Actor):
    """The process of a client."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.api = self.client = mycelium.MyceliumClient(self.contracts, name=name)
        self.connected = False
        self.wire = None

    async def open(self):
        await self.client.connect(URL)
        self.connected = True
        self.wire = self.world.network.wire_of(self.name)
        self.before = self.token()

    async def close(self):
        self.closing = True
        begun, hurt = self.world.loop.time(), self.wire is None or self.wire.hurt
        usable = self.token() is not None and self.token() == self.before
        await self.client.close()
        in_time = self.world.loop.time() - begun < 4
        self.parted = usable and in_time and not hurt and not self.wire.hurt
        for each in self.watched:
            each.ended = True
        await self.end()

    def crash(self, *, silent):
        self.alive = False
        self.world.network.crash_owner(self.name, silent=silent)
        self.start(self.close(), most=20)

    def token(self):
        """Which connection it has; None if it has none that works."""
        wire = self.world.network.wire_of(self.name)
        return wire.number if self.connected and wire is not None else None

    def _outboxes(self):
        server = self.world.server
        return [] if server is None else server.outboxes_of(self.client.session)

    def queued_for(self, type_names):
        """Messages of these types that wait for it at the bridge."""
        wanted = {TYPES[name] for name in type_names}
        waiting = (batch for outbox in self._outboxes() for batch in outbox._batches)
        return sum(type_id in wanted for batch in waiting for type_id in batch.type_ids)

    def held_for(self, type_names):
        """Messages that the bridge has and this client may get or have to count, whenever they were published."""
        return sum(one.queued + one.in_flight + sum(one.dropped.values()) for one in self._stats())

    def _stats(self):
        return [outbox.stats() for outbox in self._outboxes()]


def _take_handle(schema):
    spare = _spare[schema.digest]
    return spare.pop() if spare else mycelium.load(schema)


# --- the world ---


@attrs.frozen
class Job:
    """Something that goes on, and when it has to be over."""

    what: str
    actor: Actor
    task: asyncio.Task
    deadline: float


class _Complaints(logging.Handler):
    """What the product logs as an error, but for what handlers raise on purpose."""

    def __init__(self, world):
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record):
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, Mischief):
            self._world.violate(f"log: {record.getMessage()} ({error!r})")


class World:
    """Everything there is.

    Args:
        seed: Of the network and of what each process is like.

    Attributes:
        server: The bridge's process; None while there is none.
        clients: Those that have not left.
        trace: What has happened, as text.
    """

    def __init__(self, seed):
        self.seed = seed
        self.random = Random(f"world {seed}")
        self.loop = SimLoop()
        self.loop.thread_seconds = lambda: self.random.choice((0.0, 0.01, 0.3))
        self.network = Network(self.loop, Random(f"network {seed}"))
        self.numbers = itertools.count(1)
        self.generation = 0
        self.sent, self.recent = {}, {}
        self.trace = []
        self.clients = []
        self.gone = []
        self.server = None
        self._violations = []
        self._jobs = []
        self._steps = deque(maxlen=KEPT_LINES)
        self._moments = itertools.count(1)
        self._names = itertools.count(1)
        self._logger = logging.getLogger("mycelium")
        self._log_state = self._logger.propagate, self._logger.level
        self._complaints = _Complaints(self)
        self._logger.propagate = False
        self._logger.setLevel(logging.ERROR)
        self._logger.addHandler(self._complaints)
        start_bridge(self)
        self.pass_time(0.01)

    # --- what operations call ---

    def moment(self):
        """A number that is larger than all before."""
        return next(self._moments)

    def note(self, text):
        self.trace.append(f"{self.loop.time():9.4f} {text}")

    def violate(self, text):
        self._violations.append(text)

    def new_name(self, kind):
        return f"{kind}{next(self._names)}"

    @property
    def actors(self):
        """Everybody who can publish and subscribe."""
        server = [] if self.server is None else [self.server]
        return server + [one for one in self.clients if one.connected]

    def wires(self):
        return [one for one in self.network.wires if one.open]

    def start(self, actor, work, most, what, context):
        task = context.run(self.loop.create_task, _quietly(work))
        self._jobs.append(Job(f"{actor} {what}", actor, task, self.loop.time() + most))
        return task

    def leave(self, client):
        """A client is not there any more, however it went."""
        self.clients.remove(client)
        self.gone.append(client)

    # --- going on ---

    def step(self, operation, random):
        """Do something, let a little time pass, and look whether all is well."""
        said = operation.act(self, random)
        line = f"{operation.name}: {said}" if said else operation.name
        self._steps.append(f"{self.loop.time():9.4f} {line}")
        self.note(line)
        self.pass_time(random.choice((0, 0, 0.0005, 0.01, 0.1)))
        self.check()

    def pass_time(self, seconds):
        with self._explained():
            self.loop.run_until_complete(asyncio.sleep(seconds))

    def quiet(self):
        """Heal everything, wait until nothing moves, and look at all that was published since the last time."""
        self.network.heal()
        self.pass_time(2)
        give_up = self.loop.time() + 300
        while not self._settled():
            if self.loop.time() > give_up:
                self._fail(f"no quiet after 300 s: {[job.what for job in self._running()]}, {self.network.wires}")
            self.pass_time(0.25)
        self.check()
        self._check_recent()
        self.note("quiet")

    def finish(self):
        """End everything; nothing may be left."""
        self.quiet()
        for client in list(self.clients):
            client.start(client.close(), most=6)
            self.leave(client)
        self.pass_time(7)
        if self.server is not None:
            self.server.start(self.server.close(), most=12)
        self.pass_time(15)
        self.check()
        self._check_nothing_left()

    def dispose(self):
        """Forget everything, whatever state it is in."""
        self._logger.removeHandler(self._complaints)
        self.loop.dispose()
        propagate, level = self._log_state
        self._logger.propagate = propagate
        self._logger.setLevel(level)

    # --- looking ---

    def check(self):
        """What holds at every moment."""
        for actor in [*self.actors, *self.gone]:
            for watched in actor.watched:
                if actor.alive and watched.subscription is not None and not watched.subscription.stats().balanced:
                    self.violate(f"the law does not hold for {watched}: {watched.subscription.stats()}")
        if self.server is not None:
            for outbox in self.server.outboxes():
                _check_outbox(self, outbox)
        for job in self._running():
            if self.loop.time() > job.deadline:
                self.violate(f"{job.what} is not over {self.loop.time() - job.deadline:.1f} s after it had to be")
        self._violations += [f"unhandled: {context}" for context in self.loop.unhandled]
        if self._violations:
            self._fail(*self._violations)

    def _check_recent(self):
        """All that was accepted on connections that lived through it has been got, or is counted."""
        for actor in self.actors:
            if actor.intact():
                for watched in actor.watched:
                    if watched.since is not None and not watched.ended:
                        self._check_watched(watched)
            actor.before = actor.token()
        self.gone.clear()
        self.recent = {key: one for key, one in self.recent.items() if one.accepted is None}
        if self._violations:
            self._fail(*self._violations)

    def _check_watched(self, watched):
        fitting = {key: one for key, one in self.recent.items() if one.type_name in watched.types}
        due = {key for key, one in fitting.items() if self._is_due(one, watched)}
        watched.missing |= {key for key in due if not watched.has(key)}
        excused = watched.excused()
        if len(watched.missing) > excused:
            self.violate(f"{watched} misses {sorted(watched.missing)[:10]}, and only {excused} are counted")
        gained, most = watched.seen() - watched.total, len(fitting) + watched.slack
        if not len(due) <= gained <= most:
            self.violate(f"{watched} has counted {gained} messages, not from {len(due)} to {most}")
        watched.total, watched.slack = watched.seen(), 0

    def _is_due(self, sent, watched):
        return sent.accepted and sent.moment > watched.since and sent.actor.intact()

    def _check_nothing_left(self):
        left = self.loop.running() + self.loop.unobserved() + self.loop.timers()
        left += [one for one in self.network.wires if not one.over]
        if left:
            self._fail(f"left behind: {left}")

    def _settled(self):
        return self.network.idle and not any(job.deadline < float("inf") for job in self._running())

    def _running(self):
        for job in self._jobs:
            if job.task.done() and not job.task.cancelled() and job.task.exception() is not None:
                self.violate(f"{job.what} raised {job.task.exception()!r}")
        self._jobs = [job for job in self._jobs if not job.task.done()]
        return self._jobs

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except Deadlock as error:
            self._fail(str(error))

    def _fail(self, *problems):
        steps = "\n".join(self._steps)
        raise Violation("\n".join([f"seed {self.seed!r}:", *problems[:5], "the last steps:", steps]))


def _check_outbox(world, outbox):
    if not outbox.stats().balanced:
        world.violate(f"the law does not hold for {outbox}: {outbox.stats()}")
    if outbox.queued != sum(map(len, outbox._batches)):
        world.violate(f"{outbox} has {sum(map(len, outbox._batches))} messages")


async def _quietly(work):
    with contextlib.suppress(*EXPECTED):
        await work


# --- operations ---


@attrs.frozen
class Operation:
    """Something that may happen.

    Attributes:
        name: For the list of steps.
        weight: How often, beside the others.
        possible: Whether it can happen now.
        act: Does it; gives what to write into the list of steps.
    """

    name: str
    weight: int
    possible: object
    act: object


OPERATIONS = []


def operation(weight, *, when=lambda _: True):
    """Have a function be one of the operations."""

    def enter(act):
        OPERATIONS.append(Operation(act.__name__, weight, when, act))
        return act

    return enter


def _a_subscription(world):
    return [each for actor in world.actors for each in actor.watched if each.subscription and not each.ended]


@operation(4, when=lambda world: len(world.clients) < MOST_CLIENTS)
def start_client(world, random=None):
    client = Client(world, world.new_name("client"))
    world.clients.append(client)
    client.start(client.open(), most=6)
    return client.name


@operation(1, when=lambda world: world.clients)
def close_client(world, random):
    client = random.choice(world.clients)
    world.leave(client)
    client.start(client.close(), most=6)
    return client.name


@operation(1, when=lambda world: world.clients)
def crash_client(world, random):
    client, silent = random.choice(world.clients), random.random() < 0.5
    world.leave(client)
    client.crash(silent=silent)
    return f"{client} {'silently' if silent else ''}"


@operation(6, when=lambda world: any(len(one.watched) < MOST_SUBSCRIPTIONS for one in world.actors))
def subscribe(world, random):
    actor = random.choice([one for one in world.actors if len(one.watched) < MOST_SUBSCRIPTIONS])
    watched = Watched(actor, random.choice(HANDLERS), actor.types)
    actor.start(actor.subscribe(watched), most=6)
    return f"{watched} to {', '.join(watched.types)}, {actor.options()}"


@operation(2, when=lambda world: any(len(one.watched) < MOST_SUBSCRIPTIONS for one in world.actors))
def iterate(world, random):
    actor = random.choice([one for one in world.actors if len(one.watched) < MOST_SUBSCRIPTIONS])
    watched = Watched(actor, "iterator", actor.types)
    actor.start(actor.iterate(watched), most=float("inf"))
    return f"{watched} to {', '.join(watched.types)}, {actor.options()}"


@operation(2, when=_a_subscription)
def unsubscribe(world, random):
    watched = random.choice(_a_subscription(world))
    watched.actor.start(watched.actor.unsubscribe(watched), most=12)
    return watched.name


@operation(12, when=lambda world: world.actors)
def publish(world, random):
    actor = random.choice(world.actors)
    names = [random.choice(list(TYPES)) for _ in range(random.choice((1, 3, 20, 60)))]
    size, pause = random.choice((0, 10, 3000)), random.choice((0, 0, 0.001, 0.05))
    nowait = random.random() < 0.3
    work = actor.publish(random.choice(actor.publishers), names, "x" * size, nowait=nowait, pause=pause)
    actor.start(work, most=300)
    return f"{actor}, {len(names)} messages of {size} bytes{', nowait' if nowait else ''}, {pause} s apart"


@operation(4)
def wait(world, random):
    seconds = random.choice((0.05, 0.5, 3, 12, 35))
    world.pass_time(seconds)
    return f"{seconds} s"


@operation(2, when=World.wires)
def partition(world, random):
    wire, direction = random.choice(world.wires()), random.choice(("up", "down", "both"))
    wire.cut(up=direction != "down", down=direction != "up")
    return f"{wire}, {direction}"


@operation(1, when=World.wires)
def reset(world, random):
    wire = random.choice(world.wires())
    wire.reset()
    return f"{wire}"


@operation(2, when=World.wires)
def stall(world, random):
    wire, seconds = random.choice(world.wires()), random.choice((0.1, 2, 8))
    end = random.choice((wire.client, wire.server))
    wire.hurt = True
    end.stall(stalled=True)
    world.loop.call_later(seconds, lambda: end.stall(stalled=False))
    return f"{wire}, the {'client' if end is wire.client else 'bridge'} reads nothing for {seconds} s"


@operation(2, when=lambda world: world.wires())
def heal(world, random):
    world.network.heal()


@operation(1, when=lambda world: world.server is not None)
def crash_bridge(world, random):
    server, silent = world.server, random.random() < 0.5
    world.server = None
    server.crash(silent=silent)
    return f"{server} {'silently' if silent else ''}"


@operation(8, when=lambda world: world.server is None)
def start_bridge(world, random=None):
    server = world.server = Server(world, world.new_name("bridge"))
    server.start(server.open(), most=1)
    return server.name


@operation(1, when=lambda world: world.server is not None and world.server.contracts.schema is not SCHEMAS[-1])
def reload(world, random):
    contracts = world.server.contracts
    previous = contracts.schema
    world.generation = min(world.generation + 1, len(SCHEMAS) - 1)
    current = SCHEMAS[world.generation]
    contracts.apply(current)
    contracts.tell(Change("applied", "simulation", previous, current))
    return f"version {current.version}"


@operation(2)
def settle(world, random):
    world.quiet()


# --- whole runs ---


def run(seed, steps=25):
    """A world from its beginning to its end; the trace of it."""
    world = World(seed)
    random = Random(f"steps {seed}")
    try:
        for _ in range(steps):
            possible = [one for one in OPERATIONS if one.possible(world)]
            (chosen,) = random.choices(possible, [one.weight for one in possible])
            world.step(chosen, random)
        world.finish()
    finally:
        world.dispose()
    return world.trace
