"""What the simulator has found, each as a story of its own: in virtual time, with a real bus, bridge and clients."""

import asyncio

import pytest
from simprocess import Client
from simulation import World

from mycelium.bus.delivery import LOCAL
from mycelium.bus.lag import Lag
from mycelium.bus.localqueue import LocalQueue
from mycelium.bus.outbox import Outbox
from mycelium.wire.buffer import Batch


@pytest.fixture
def world():
    made = World("found")
    try:
        yield made
        made.finish()
    finally:
        made.dispose()


class Party:
    """A bus or client of a world, for calls that are made one after the other."""

    def __init__(self, world, actor):
        self.world, self.actor, self.api = world, actor, actor.api

    def message(self, name, sequence=0, slot=0, filler=""):
        return self.actor.contracts[name](publisher=0, sequence=sequence, slot=slot, filler=filler)

    def do(self, work):
        """Have something done; what it gives."""
        task = self.actor._context.run(self.world.loop.create_task, work)
        return self.world.loop.run_until_complete(task)

    def subscribe(self, handler, *names, **options):
        return self.do(self.api.subscribe(handler, *(self.actor.contracts[name] for name in names), **options))

    def publish(self, *messages):
        """All in one turn of the loop."""

        async def publish():
            for message in messages:
                self.api.publish_nowait(message)

        self.do(publish())


@pytest.fixture
def bus(world):
    return Party(world, world.server)


def _client(world):
    actor = Client(world)
    world.clients.append(actor)
    actor.start(actor.open(), most=6)
    world.pass_time(1)
    return Party(world, actor)


@pytest.fixture
def client(world):
    return _client(world)


async def _never(_):
    await asyncio.get_running_loop().create_future()


# --- the lag policies ---


def test_a_newer_message_takes_the_place_of_one_that_waits_for_room(bus):
    """Else it took that of one in the queue, and overtook those of the same key that waited."""
    outbox = Outbox(limit=2, window=1)

    def put(sequence, slot, lag, deadline=None):
        message = bus.message("State", sequence, slot)
        frame = bus.api.exchange.publisher.frame(message)
        outbox.put(Batch(frame, [1003], [0, len(frame)]), lag, (1003, slot), deadline)

    for sequence in (1, 2, 3):
        put(sequence, 0, Lag.BLOCK, 5.0)
    for sequence in (4, 5, 6):
        put(sequence, 1, Lag.LATEST)
    out = []
    while outbox.queued:
        outbox.add_credit(1)
        taken = outbox.take(1 << 20)
        out.append(bus.actor.contracts.decode(1003, taken.payload(0)).sequence)
    assert out == [2, 3, 6]
    assert outbox.stats().dropped == {"dropped_oldest": 1, "conflated": 2}
    assert outbox.queued_bytes == 0


def test_the_same_inside_a_process(bus):
    queue = LocalQueue(2, lambda: None)
    for sequence in (1, 2, 3):
        queue.put(bus.message("State", sequence, 0), LOCAL, None, Lag.BLOCK, 5.0)
    for sequence in (4, 5, 6):
        queue.put(bus.message("State", sequence, 1), LOCAL, None, Lag.LATEST, None)
    assert [queue.pop()[0].sequence for _ in range(len(queue))] == [2, 3, 6]


def test_nothing_is_offered_to_a_client_that_the_policy_has_sent_away(bus, world, client):
    """One batch may bring many messages: the first sends the client away, the others are not for it any more."""
    other = _client(world)
    client.subscribe(_never, "Tick", on_lag="disconnect", queue=2, window=1)
    other.publish(*(other.message("Tick", number) for number in range(50)))
    world.pass_time(0.02)
    stats = bus.api.stats()
    assert (stats.matched, stats.balanced) == (world.server.matched, True)
    assert stats.matched < 50
    assert bus.api.exchange.ledger.used == 0


def test_a_client_is_told_of_a_message_that_had_no_room_in_time(world, client):
    subscription = client.subscribe(_never, "Work", queue=1, window=1)
    other = _client(world)
    other.publish(*(other.message("Work", number) for number in range(3)))
    world.pass_time(7)
    stats = subscription.stats()
    assert (stats.matched, stats.dropped, stats.in_flight) == (2, {"block_timeout": 1}, 1)


def test_a_handler_that_never_returns_is_told_of_drops_within_a_second(bus, world):
    gaps = []
    bus.subscribe(_never, "Tick", queue=2, on_gap=gaps.append)
    bus.publish(bus.message("Tick"))
    world.pass_time(0.01)
    bus.publish(*(bus.message("Tick", number) for number in range(5)))
    world.pass_time(1.1)
    assert [(gap.count, gap.reason) for gap in gaps] == [(3, "dropped_oldest")]


def test_the_ceiling_of_memory_holds_for_messages_of_the_process_itself(world, client, monkeypatch):
    bus = Party(world, world.server)
    monkeypatch.setattr(bus.api.exchange.ledger, "limit", 20_000)
    client.subscribe(_never, "Tick", window=1)
    bus.publish(*(bus.message("Tick", number, filler="x" * 1000) for number in range(100)))
    assert bus.api.exchange.ledger.used <= 20_000
    assert bus.api.stats().dropped["memory"] > 70


# --- connections ---


def test_subscriptions_end_whole_when_the_bridge_sends_the_client_away(world, client):
    """Credit was given back for what they dropped, through a connection that took nothing any more."""
    made = [client.subscribe(_never, "Tick", on_lag="disconnect", queue=4, window=64) for _ in range(2)]
    other = _client(world)
    other.publish(*(other.message("Tick", number) for number in range(200)))
    world.pass_time(1)
    assert [one.closed for one in made] == [True, True]
    assert not client.api._inbox.dispatcher.subscriptions


def test_a_bridge_that_is_lost_after_its_goodbye_is_noticed_and_credit_is_given_until_then(world, client):
    handled = []

    async def slowly(message):
        await asyncio.sleep(0.01)
        handled.append(message.sequence)

    client.subscribe(slowly, "Tick", window=64)
    bus = Party(world, world.server)
    bus.publish(*(bus.message("Tick", number) for number in range(70)))
    stopped = world.lose_server()
    stopped.start(stopped.close(), most=12)
    world.pass_time(4)
    assert handled == list(range(70))


def test_a_subscription_is_told_of_each_time_without_a_connection(world, client):
    """Also of the one after a connection that was lost while the client still sent what had waited for it."""
    got, gaps = [], []

    async def take(message):
        got.append(message.sequence)

    client.subscribe(take, "Tick", on_gap=gaps.append)
    world.network.wire_of(client.actor.name).reset()
    world.pass_time(0.0001)
    client.publish(*(client.message("Tock", filler="x" * 3000) for _ in range(200)))
    bus = Party(world, world.server)
    while (wire := world.network.wire_of(client.actor.name)) is None or not world.server.outboxes():
        world.pass_time(0.0005)
    wire.server.stall(stalled=True)
    bus.publish(bus.message("Tick", 1))
    world.pass_time(0.5)
    assert (got, client.api.state.value) == ([1], "reconnecting")
    wire.reset()
    world.pass_time(0.0001)
    bus.publish(bus.message("Tick", 2))
    world.pass_time(2)
    bus.publish(bus.message("Tick", 3))
    world.pass_time(0.1)
    assert got == [1, 3]
    assert [gap.reason for gap in gaps] == ["reconnect", "reconnect"]


def test_a_handler_that_joins_others_without_a_connection_is_confirmed_by_the_next_one(world, client):
    """Else it missed, and was told of nothing."""
    got = []

    async def take(message):
        got.append(message.sequence)

    client.subscribe(_never, "Tick")
    stopped = world.lose_server()
    stopped.crash(silent=False)
    world.pass_time(0.1)
    task = world.loop.create_task(client.api.subscribe(take, client.actor.contracts.Tick))
    world.pass_time(0.1)
    assert not task.done()
    bus = Party(world, world.start_server() and world.server)
    world.pass_time(2)
    assert task.done()
    bus.publish(bus.message("Tick", 1))
    world.pass_time(0.1)
    assert got == [1]
