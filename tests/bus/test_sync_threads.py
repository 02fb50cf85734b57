"""Many threads on one synchronous client: each its order, and handlers in threads of their own."""

import asyncio
import contextvars
import threading
import time

import pytest
from threads import SECONDS, in_thread, until, values

import mycelium
from mycelium import ClosedError, UsageError
from mycelium.bus.hands import Hands

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_p83_fifty_threads_keep_each_its_order(bridge, client, contracts):
    threads, each = 50, 40

    def work(name):
        for number in range(each):
            publish = client.publish if number % 3 else client.publish_nowait
            publish(contracts.Ping(value=f"{name} {number}"))
        client.flush()

    with bridge.collect(contracts.Ping) as pings:
        running = [in_thread(work, name) for name in range(threads)]
        for thread in running:
            thread.join(SECONDS)
        got = [value.split() for value in values(pings.wait(threads * each))]
    for name in range(threads):
        assert [int(number) for who, number in got if who == str(name)] == list(range(each))


def test_several_threads_share_a_stream_and_each_message_goes_to_one(bridge, client, contracts):
    got = []
    stream = client.messages(contracts.Ping)
    with stream:
        takers = [in_thread(lambda: [got.append(stream.next(SECONDS)) for _ in range(25)]) for _ in range(4)]
        for number in range(100):
            bridge.publish(contracts.Ping(value=str(number)))
        for thread in takers:
            thread.join(SECONDS)
    assert sorted(map(int, values(got))) == list(range(100))


def test_a_handler_runs_in_one_thread_of_its_subscription_in_the_context_of_the_subscriber(bridge, client, contracts):
    variable = contextvars.ContextVar("variable")
    variable.set("here")
    seen = []
    client.subscribe(lambda _: seen.append((threading.current_thread().name, variable.get())), contracts.Ping)
    for _ in range(20):
        bridge.publish(contracts.Ping(value="x"))
    until(lambda: len(seen) == 20)
    assert len(set(seen)) == 1
    assert seen[0][0].startswith("mycelium test_a_handler_runs")
    assert seen[0][1] == "here"


def test_a_handler_that_blocks_delays_neither_heartbeats_nor_other_handlers(bridge, contracts):
    release, got = threading.Event(), []
    with mycelium.sync.connect(bridge.url, contracts, heartbeat=0.1) as client:
        slow = client.subscribe(lambda _: release.wait(SECONDS), contracts.Ping, window=4)
        client.subscribe(got.append, contracts.Pong)
        for _ in range(50):
            bridge.publish(contracts.Ping(value="x"))
        until(lambda: slow.stats().in_flight == 1)
        begin = time.monotonic()
        while time.monotonic() - begin < 0.6:  # twice the time after which a silent side is dead
            bridge.publish(contracts.Pong(value="x"))
            client.flush()
        until(lambda: got)
        stats = slow.stats()
        assert stats.queued + stats.in_flight <= 4  # what its window lets through
        release.set()
        until(lambda: slow.stats().delivered == 50)


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_p77_whatever_a_handler_raises_its_subscription_lives(bridge, client, contracts, error, caplog):
    got = []

    def on_ping(message):
        got.append(message)
        raise error

    client.subscribe(on_ping, contracts.Ping)
    for _ in range(3):
        bridge.publish(contracts.Ping(value="x"))
    until(lambda: len(got) == 3)
    client.close()
    assert sum("on_ping failed" in line for line in caplog.messages) == 1  # one line a second


def test_async_handlers_are_refused(client, contracts, caplog):
    async def on_ping(message):
        pass

    with pytest.raises(UsageError, match="on_ping is async"):
        client.subscribe(on_ping, contracts.Ping)
    with pytest.raises(UsageError, match="nothing else"):
        client.subscribe(lambda: None, contracts.Ping)
    with pytest.raises(UsageError, match="name the types"):
        client.subscribe(lambda _: None)
    client.subscribe(lambda message: on_ping(message) or None, contracts.Ping)
    client.publish(contracts.Ping(value="x"))
    until(lambda: "gave a coroutine" in caplog.text)


def test_p80_every_call_returns_inside_a_handler(bridge, client, contracts):
    done = []

    def on_ping(message):
        begin = time.monotonic()
        client.publish(contracts.Pong(value="one"))
        client.publish_nowait(contracts.Pong(value="two"))
        client.flush()
        client.subscribe(done.append, contracts.Pong).unsubscribe()
        subscription.unsubscribe()
        client.close()
        done.append(time.monotonic() - begin)

    subscription = client.subscribe(on_ping, contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        bridge.publish(contracts.Ping(value="x"))
        assert values(pongs.wait(2)) == ["one", "two"]
        until(lambda: done)
    assert done[0] < 1
    assert subscription.closed


def test_what_a_handler_publishes_while_the_client_is_closed_is_sent(bridge, client, contracts):
    inside, release = threading.Event(), threading.Event()

    def on_ping(message):
        inside.set()
        release.wait(SECONDS)
        client.publish_nowait(contracts.Pong(value="one"))
        client.publish(contracts.Pong(value="two"))

    client.subscribe(on_ping, contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        bridge.publish(contracts.Ping(value="x"))
        assert inside.wait(SECONDS)
        closing = in_thread(client.close)
        until(lambda: client._handover._closed)
        with pytest.raises(ClosedError):
            client.publish_nowait(contracts.Pong(value="of nobody that the end waits for"))
        release.set()
        closing.join(SECONDS)
        assert values(pongs.wait(2)) == ["one", "two"]


def test_hands_work_side_by_side_where_they_may(loop_thread):
    barrier = threading.Barrier(3)
    hands = Hands("hands of a test", 3)

    async def work():
        await asyncio.gather(*(hands.call(barrier.wait, SECONDS) for _ in range(6)))

    loop_thread.run(work)
    hands.end()


def test_callbacks_run_in_worker_threads_and_may_fail(caplog):
    hands, got = Hands("hands of a test"), []
    options = {"on_gap": got.append, "on_error": lambda _: 1 / 0, "queue": 3}
    hands.adopt(options)
    options["on_error"](ValueError())
    options["on_gap"]("a gap")
    hands.end()
    assert got == ["a gap"]
    assert "on_error failed" in caplog.text
    assert options["queue"] == 3
