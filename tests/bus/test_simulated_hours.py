"""Cases in virtual time that would need hours: half-open connections, silence, and outages."""

import asyncio
import gc

import pytest
from simprocess import ADDRESS, Client
from simulation import World
from simwatch import Watched

# --- cases that need hours ---


PLAIN = {"on_lag": None, "queue": None, "window": None, "group": None, "no_echo": False}


@pytest.fixture
def world():
    made = World("cases")
    yield made
    made.dispose()


def _connected(world, **given):
    client = Client(world, **given)
    world.clients.append(client)
    client.start(client.open(), most=6)
    world.pass_time(1)
    return client


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("down", [True, False])
def test_p31_both_sides_of_a_half_open_connection_know_within_33_seconds(world, up, down):
    client = _connected(world, heartbeat=10)
    wire, conversation = world.network.wire_of(client.name), client.client._life.conversation
    (session,) = world.server.bridge.sessions
    wire.cut(up=up, down=down)
    world.pass_time(29)
    assert not conversation.lost.done()
    assert session.is_open
    world.pass_time(4 if up and down else 11)
    told = conversation.lost.done(), not session.is_open
    assert told == ((True, True) if up or down else (False, False))
    world.finish()


def test_p34_an_hour_of_nothing_but_heartbeats_ends_no_connection(world):
    clients = [_connected(world) for _ in range(3)]
    world.pass_time(3600)
    assert all(one.client._life.conversation.is_open for one in clients)
    assert len(world.server.bridge.sessions) == 3
    world.finish()


def test_p79_a_handler_that_never_returns_holds_up_nobody_else(world):
    client = _connected(world)
    stuck, quick = Watched(client, "stuck", ["Tick"]), Watched(world.server, "quick", ["Tick"])
    for watched in (stuck, quick):
        watched.options = {**PLAIN, "concurrency": 1}
        watched.actor.start(watched.actor.subscribe(watched), most=1)
    world.pass_time(1)
    work = world.server.publish(world.server.publishers[0], ["Tick"] * 5000, "", how="nowait", pause=0)
    world.server.start(work, most=60)
    world.quiet()
    assert quick.subscription.stats().delivered == 5000
    assert stuck.subscription.stats().delivered == 2
    assert stuck.excused() == 5000 - 3
    world.finish()


def test_p31_a_bridge_that_is_lost_after_its_goodbye_is_noticed(world):
    client = _connected(world, heartbeat=10)
    conversation = client.client._life.conversation
    stopped = world.lose_server()
    stopped.bridge.sessions[0].say_goodbye("shutdown")
    world.pass_time(0.1)
    world.network.wire_of(client.name).cut(up=True, down=True)
    world.pass_time(33)
    assert conversation.lost.done()
    stopped.start(stopped.close(), most=12)
    world.finish()


class Silent(asyncio.BufferedProtocol):
    """Reads, and never answers."""

    def get_buffer(self, _):
        return bytearray(65_536)


@pytest.mark.parametrize("after", [4.98, 4.99, 4.995, 4.999, 5.0, 5.001])
def test_a_client_may_be_closed_at_the_moment_when_its_connect_times_out(world, after):
    world.network.listen(ADDRESS, Silent)
    client = Client(world)
    client.start(client.open(), most=6)
    world.pass_time(after)
    client.start(client.close(), most=1)
    world.pass_time(2)
    world.check()


# --- outages ---


def _outage(world, attempts):
    """Every client tries so many times to be connected again."""
    server = world.lose_server()
    server.crash(silent=False)
    while min(len(one.delays) for one in world.clients) < attempts:
        world.pass_time(600)


def _alive():
    gc.collect()
    return len(gc.get_objects())


def test_p56_nothing_is_kept_of_ten_thousand_attempts_and_their_delays_are_as_specified(world):
    client = _connected(world, heartbeat=10)
    watched = Watched(client, "quick", ["Tick"])
    client.start(client.subscribe(watched), most=1)
    world.pass_time(1)
    _outage(world, 500)
    before = _alive()
    while len(client.delays) < 10_000:
        world.pass_time(6000)
    assert _alive() - before < 1000
    assert len(world.loop.timers()) < 5
    for attempt, delay in client.delays:
        assert 0 <= delay <= min(10.0, 0.1 * 2 ** min(attempt - 1, 20))
    assert [attempt for attempt, _ in client.delays] == list(range(1, len(client.delays) + 1))
    late = [delay for attempt, delay in client.delays if attempt > 8]
    assert 4.8 < sum(late) / len(late) < 5.2  # full jitter: each from 0 to 10 s
    assert min(late) < 0.1
    assert max(late) > 9.9
    server = world.start_server()
    world.quiet()
    assert client.client.state.value == "connected", server
    assert watched.gaps["reconnect"] == 1
    world.finish()


def test_p53_p54_what_is_published_in_an_outage_comes_once_and_in_order_before_anything_newer(world):
    clients = [_connected(world) for _ in range(3)]
    publisher, *others = clients
    _outage(world, 1)
    work = publisher.publish(publisher.publishers[0], ["Tick"] * 50, "x" * 3000, how="plain", pause=0)
    publisher.start(work, most=1)
    world.pass_time(0.1)
    assert publisher.client.stats().buffered == 50
    world.start_server()
    watched = Watched(world.server, "quick", ["Tick"])
    watched.options = {**PLAIN, "concurrency": 1}
    world.server.start(world.server.subscribe(watched), most=1)
    work = publisher.publish(publisher.publishers[0], ["Tick"] * 50, "", how="plain", pause=0.01)
    publisher.start(work, most=60)
    world.quiet()
    assert watched.subscription.stats().delivered == 100
    assert all(one.client.state.value == "connected" for one in others)
    world.finish()


def test_p54_what_has_waited_for_a_connection_for_30_seconds_is_counted_as_expired(world):
    client = _connected(world)
    server = world.lose_server()
    server.crash(silent=False)
    world.pass_time(0.1)
    for _ in range(3):
        work = client.publish(client.publishers[0], ["Tick"] * 10, "", how="plain", pause=0)
        client.start(work, most=1)
        world.pass_time(12)
    assert (client.client.stats().buffered, client.client.stats().expired) == (20, 10)
    world.pass_time(40)
    assert (client.client.stats().buffered, client.client.stats().expired) == (0, 30)
    world.start_server()
    world.quiet()
    world.finish()


def test_p53_fifty_clients_find_a_bridge_that_was_killed_and_is_there_a_second_later(world):
    clients = [_connected(world) for _ in range(50)]
    made = [Watched(client, "quick", ["Tick"]) for client in clients]
    for watched in made:
        watched.options = {**PLAIN, "concurrency": 1}
        watched.actor.start(watched.actor.subscribe(watched), most=1)
    world.pass_time(1)
    for client in clients[:10]:
        work = client.publish(client.publishers[0], ["Tick"] * 40, "", how="plain", pause=0.05)
        client.start(work, most=60)
    world.pass_time(0.5)
    world.lose_server().crash(silent=False)
    world.pass_time(1)
    world.start_server()
    world.quiet()
    assert [one.gaps["reconnect"] for one in made] == [1] * 50
    world.finish()
