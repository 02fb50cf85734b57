"""A world in virtual time: a bridge, clients, a network, and what has to be so whatever befalls them.

A `World` does one operation after the other, lets a little time pass, and looks whether everything is still as
reliability.md has it. What a process does is in `simprocess`, the operations are in `simsteps`.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
from collections import deque
from random import Random
from types import SimpleNamespace

import attrs
from simlaws import Laws
from simloop import Deadlock, SimLoop
from simnet import Network
from simprocess import Actor, Server
from simwatch import EXPECTED, Mischief

import mycelium.bus.lifeline
import mycelium.bus.outlet

__all__ = ["Violation", "World"]

KEPT_LINES = 40
DEAF_SECONDS = 40.0
"""Three heartbeats, a tenth more, and what it takes to close: then both sides have left a wire that is cut."""


QUIET_SECONDS = 1.5
"""Without a publish."""


class Violation(AssertionError):
    """A promise was broken."""


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
        is_measured: Whether bridges count by type of message, too.
    """

    def __init__(self, seed):
        self.seed = seed
        self._collecting = gc.isenabled()
        gc.disable()  # it comes when it likes, and what it finds may speak to the loop
        self.random = Random(f"world {seed}")
        self.is_measured = Random(f"measured {seed}").random() < 0.5
        self.loop = SimLoop()
        self.loop.thread_seconds = lambda: self.random.choice((0.0, 0.01, 0.3))
        self.network = Network(self.loop, Random(f"network {seed}"))
        self.numbers = itertools.count(1)
        self.generation = 0
        self.sent, self.recent = {}, {}
        self.taken = {}
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
        self.last_publish = 0.0
        self._laws = Laws(self)
        self._kept = mycelium.bus.outlet.time, mycelium.bus.lifeline.random
        clock = SimpleNamespace(monotonic=self.loop.time, time_ns=lambda: round(self.loop.time() * 1e9))
        mycelium.bus.outlet.time, mycelium.bus.lifeline.random = clock, Random(f"backoff {seed}")
        self.start_server()
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

    def start_server(self):
        """A bridge comes up on the address of the one before."""
        self.server = Server(self)
        self.server.start(self.server.open(), most=1)
        return self.server.name

    def lose_server(self):
        """The bridge is not there any more, however it went."""
        server, self.server = self.server, None
        self.gone.append(server)
        return server

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
                self._fail(f"no quiet after 300 s: {[*self._restless()]}")
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
            server = self.lose_server()
            server.start(server.close(), most=14)
        self.pass_time(16)
        self.check()
        self._check_nothing_left()

    def dispose(self):
        """Forget everything, whatever state it is in."""
        self._logger.removeHandler(self._complaints)
        self.loop.dispose()
        mycelium.bus.outlet.time, mycelium.bus.lifeline.random = self._kept
        propagate, level = self._log_state
        self._logger.propagate = propagate
        self._logger.setLevel(level)
        if self._collecting:
            gc.enable()

    # --- looking ---

    def check(self):
        """What holds at every moment."""
        for actor in [*self.actors, *self.gone]:
            self._violations += filter(None, (watched.problem() for watched in actor.watched))
            self._violations += actor.problems() if actor.alive else ()
        for wire in self.network.wires:
            if wire.deaf_for() > DEAF_SECONDS:
                self.violate(f"{wire} is open although nothing has arrived for {wire.deaf_for():.0f} s")
        for job in self._running():
            if self.loop.time() > job.deadline:
                self.violate(f"{job.what} is not over {self.loop.time() - job.deadline:.1f} s after it had to be")
        self._violations += [f"unhandled: {context}" for context in self.loop.unhandled]
        if self._violations:
            self._fail(*self._violations)

    def check_watched(self, client):
        """Look at a client's subscriptions now: its connection has ended in order, and it has another one."""
        self._laws.check_actor(client)

    def _check_recent(self):
        """All that was accepted on connections that lived through it has been got, or is counted."""
        self._laws.check([*self.actors, *self.gone])
        self.gone.clear()
        self.recent = {key: one for key, one in self.recent.items() if one.accepted is None or one.actor.keeps(one)}
        for sent in self.recent.values():
            sent.actor.keep(sent)
        if self._violations:
            self._fail(*self._violations)

    def _check_nothing_left(self):
        left = self.loop.running() + self.loop.unobserved() + self.loop.timers()
        left += [one for one in self.network.wires if not one.over]
        if left:
            self._fail(f"left behind: {left}")

    def _settled(self):
        return self.loop.time() - self.last_publish >= QUIET_SECONDS and not any(True for _ in self._restless())

    def _restless(self):
        """Who it is that keeps the world from being quiet."""
        yield from (job.what for job in self._running() if job.deadline < float("inf"))
        yield from (wire for wire in self.network.wires if not wire.idle)
        yield from ((client, client.client.stats()) for client in self.clients if not client.settled)
        yield from (one for actor in self.actors for one in actor.watched if not one.is_quiet)
        yield from (one for one in ([] if self.server is None else self.server.outboxes()) if one.losses.untold)

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


async def _quietly(work):
    with contextlib.suppress(*EXPECTED):
        await work
