"""What may happen in a simulated world.

An operation is a function `(world, random)` that gives what to write into the list of steps, with `@operation(weight)`
before it and, where it is not always possible, `when=`. What takes time it hands to `actor.start(coroutine, most=…)`:
the job has to be over in so many seconds, and may raise what is in `EXPECTED`. The seeded runs and the Hypothesis
machine take up all `OPERATIONS`.
"""

from random import Random

import attrs
from simprocess import Client
from simschema import SCHEMAS, SLOTS
from simulation import World
from simwatch import ANSWERING, HANDLERS, Watched

from mycelium.bus.reload import Change

__all__ = ["OPERATIONS", "operation", "populate", "run"]

MOST_CLIENTS = 4
MOST_SUBSCRIPTIONS = 4


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
        entered = Operation(act.__name__, weight, when, act)
        OPERATIONS.append(entered)
        return entered

    return enter


def _an_actor(world, random, *, room=False):
    """Somebody, and rather a client than the bridge."""
    actors = [one for one in world.actors if not room or len(one.watched) < MOST_SUBSCRIPTIONS]
    return random.choice(actors + [one for one in actors if one is not world.server])


def _of(watched):
    options = {name: value for name, value in watched.options.items() if value}
    return f"{watched} to {', '.join(watched.types)}, {options}"


def _a_subscription(world):
    return [each for actor in world.actors for each in actor.watched if each.subscription and not each.left]


@operation(4, when=lambda world: len(world.clients) < MOST_CLIENTS)
def start_client(world, random):
    client = Client(world)
    world.clients.append(client)
    retry = random.random() < 0.1
    client.start(client.open(retry=retry), most=float("inf") if retry else 6)
    return f"{client.name}{', as long as it takes' if retry else ''}"


@operation(1, when=lambda world: world.clients)
def close_client(world, random):
    client = random.choice(world.clients)
    world.leave(client)
    client.start(client.close(), most=6)
    return client.name


@operation(1, when=lambda world: world.clients)
def drain_client(world, random):
    client, seconds = random.choice(world.clients), random.choice((1, 10, 30))
    world.leave(client)
    client.start(client.close(drain=seconds), most=seconds + 2)
    return f"{client.name}, for at most {seconds} s"


@operation(1, when=lambda world: world.clients)
def crash_client(world, random):
    client, silent = random.choice(world.clients), random.random() < 0.5
    world.leave(client)
    client.crash(silent=silent)
    return f"{client} {'silently' if silent else ''}"


@operation(10, when=lambda world: any(len(one.watched) < MOST_SUBSCRIPTIONS for one in world.actors))
def subscribe(world, random):
    actor = _an_actor(world, random, room=True)
    watched = Watched(actor, random.choice(HANDLERS))
    actor.start(actor.subscribe(watched), most=7)
    return _of(watched)


@operation(2, when=lambda world: any(len(one.watched) < MOST_SUBSCRIPTIONS for one in world.actors))
def iterate(world, random):
    actor = _an_actor(world, random, room=True)
    if "State" in actor.types:
        return "of last values, which an iterator does not know from others"
    watched = Watched(actor, "iterator")
    actor.start(actor.iterate(watched), most=float("inf"))
    return _of(watched)


@operation(2, when=_a_subscription)
def unsubscribe(world, random):
    watched = random.choice(_a_subscription(world))
    watched.actor.start(watched.actor.unsubscribe(watched), most=12)
    return watched.name


@operation(3, when=lambda world: any(len(one.watched) < MOST_SUBSCRIPTIONS for one in world.actors))
def respond(world, random):
    actor = _an_actor(world, random, room=True)
    watched = Watched(actor, random.choice(ANSWERING), ["Ask"])
    actor.start(actor.subscribe(watched), most=7)
    return _of(watched)


@operation(16, when=lambda world: world.actors)
def publish(world, random):
    actor = _an_actor(world, random)
    kinds = random.choice((["Tick", "Tock"], ["Tick", "Tock"], ["State"], ["Work"], ["Tick", "Tock", "State", "Work"]))
    names = [random.choice(kinds) for _ in range(random.choice((1, 3, 20, 60)))]
    slots = [random.randrange(SLOTS) for _ in names]
    size, pause = random.choice((0, 10, 3000)), random.choice((0, 0, 0.001, 0.05))
    how = random.choice(("plain", "plain", "plain", "nowait", "nowait", "confirm", "mandatory"))
    work = actor.publish(random.choice(actor.publishers), names, "x" * size, how=how, pause=pause, slots=slots)
    actor.start(work, most=1000)
    return f"{actor}, {len(names)} of {'/'.join(kinds)}, {size} bytes, {how}, {pause} s apart"


@operation(4, when=lambda world: world.actors)
def request(world, random):
    actor, timeout = _an_actor(world, random), random.choice((0.5, 2, 5))
    actor.start(actor.request(random.choice(actor.publishers), timeout), most=1000)
    return f"{actor}, within {timeout} s"


@operation(2, when=lambda world: world.actors)
def publish_and_give_up(world, random):
    actor, seconds = _an_actor(world, random), random.choice((0, 0.001, 1, 4))
    kind, how = random.choice(("Tick", "Work")), random.choice(("plain", "confirm"))
    work = actor.publish(random.choice(actor.publishers), [kind] * 20, "", how=how, pause=0)
    task = actor.start(work, most=seconds + 1)
    world.loop.call_later(seconds, task.cancel)
    return f"{actor}, {kind}, {how}, after {seconds} s"


@operation(1, when=lambda world: world.clients)
def flush(world, random):
    client = random.choice(world.clients)
    client.start(client.client.flush(), most=6)
    return client.name


@operation(4)
def wait(world, random):
    seconds = random.choice((0.05, 0.5, 3, 12, 35))
    world.pass_time(seconds)
    return f"{seconds} s"


@operation(2, when=lambda world: world.wires())
def partition(world, random):
    wire, direction = random.choice(world.wires()), random.choice(("up", "down", "both"))
    wire.cut(up=direction != "down", down=direction != "up")
    return f"{wire}, {direction}"


@operation(1, when=lambda world: world.wires())
def reset(world, random):
    wire = random.choice(world.wires())
    wire.reset()
    return f"{wire}"


@operation(2, when=lambda world: world.wires())
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
    server, silent = world.lose_server(), random.random() < 0.5
    server.crash(silent=silent)
    return f"{server} {'silently' if silent else ''}"


@operation(1, when=lambda world: world.server is not None)
def stop_bridge(world, random):
    server, how = world.lose_server(), random.choice(({}, {}, {"flush": 8}, {"grace": 0.5}))
    server.start(server.close(**how), most=22)
    return f"{server} {how or ''}"


@operation(15, when=lambda world: world.server is None)
def start_bridge(world, random):
    return world.start_server()


@operation(1, when=lambda world: world.server is not None and world.server.contracts.schema is not SCHEMAS[-1])
def reload(world, random):
    contracts = world.server.contracts
    previous = contracts.schema
    world.generation = min(world.generation + 1, len(SCHEMAS) - 1)
    current = SCHEMAS[world.generation]
    contracts.apply(current)
    contracts.tell(Change("applied", "simulation", previous, current))
    return f"version {current.version}"


@operation(3)
def settle(world, random):
    world.quiet()


# --- whole runs ---


def populate(world, random):
    """Two clients, and somebody who listens, before anything happens."""
    for begin in (start_client, start_client, subscribe, subscribe):
        world.step(begin, random)
        world.pass_time(0.2)


def run(seed, steps=30):
    """A world from its beginning to its end; the trace of it."""
    world = World(seed)
    random = Random(f"steps {seed}")
    try:
        populate(world, random)
        for _ in range(steps):
            possible = [one for one in OPERATIONS if one.possible(world)]
            (chosen,) = random.choices(possible, [one.weight for one in possible])
            world.step(chosen, random)
        world.finish()
    finally:
        world.dispose()
    return world.trace
