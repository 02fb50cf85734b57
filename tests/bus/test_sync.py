"""The synchronous client: the same calls over real bridges, and publishing without waiting."""

import asyncio
import contextlib
import gc
import threading
import time

import pytest
from processes import ROOT
from threads import SECONDS, in_thread, until, values

import mycelium
from mycelium import BufferFull, ClosedError, ConnectionLost, EncodeError, MyceliumClient, UsageError
from mycelium.bus.handover import Handover

pytestmark = pytest.mark.usefixtures("no_thread_left")


# --- the same calls ---


def test_every_call_of_the_asynchronous_client_is_there():
    inward = {"on_batch", "on_notice", "on_tick", "on_loop_end", "on_lost", "second_hello", "connect"}
    public = {name for name in vars(MyceliumClient) if not name.startswith("_")} - inward
    assert public - set(dir(mycelium.sync.SyncClient)) == set()


def test_publish_subscribe_and_messages(bridge, client):
    ping, pong = client.types.Ping, client.types.Pong
    got = []
    with bridge.collect(ping) as pings, client.messages(pong) as pongs:
        client.subscribe(got.append, pong)
        for number in range(100):
            client.publish(ping(value=str(number)))
            bridge.publish(pong(value=str(number)))
        client.flush()
        expected = [str(number) for number in range(100)]
        assert values(pings.wait(100)) == expected
        assert [pongs.next(timeout=SECONDS).value for _ in range(100)] == expected
        until(lambda: len(got) == 100)
        assert values(got) == expected
        with pytest.raises(TimeoutError):
            pongs.next(timeout=0.01)
        assert pongs.stats().delivered == 100


def test_types_come_from_the_annotation_and_from_topics(bridge, client):
    got, also = [], []

    @client.on()
    def on_pong(message: "Pong"):  # noqa: F821  it is in the contracts
        got.append(message)

    client.subscribe(also.append, topic=client.types.Pong.TOPIC)
    bridge.publish(client.types.Pong(value="x"))
    until(lambda: got and also)
    assert got == also == [client.types.Pong(value="x")]


def test_a_delivery_is_one_whose_reply_blocks(bridge, client, contracts):
    seen = []

    def on_ping(message, delivery):
        with pytest.raises(UsageError, match="nobody waits for a reply"):
            delivery.reply(message)
        seen.append(delivery)

    client.subscribe(on_ping, contracts.Ping)
    with mycelium.sync.connect(bridge.url, contracts, stamp=True) as other:
        other.publish(contracts.Ping(value="x"))
        until(lambda: seen)
        assert (seen[0].publisher, seen[0].sequence, seen[0].is_request) == (other.session, 1, False)
    assert isinstance(seen[0], mycelium.sync.SyncDelivery)


def test_a_function_that_replies_is_called_for_what_is_no_request_too(bridge, client, contracts):
    called = []

    @client.reply(contracts.Ping)
    def answer(message):
        called.append(message)
        return contracts.Pong(value=message.value)

    bridge.publish(contracts.Ping(value="x"))
    until(lambda: called)


def test_queries_events_and_names(client):
    assert client.name in str(client.query("sessions"))
    assert client.query("info")
    assert isinstance(client.session, int)
    events = client.events()
    with pytest.raises(TimeoutError):
        events.next(timeout=0)
    client.close()
    assert all(isinstance(event, mycelium.events.Event) for event in events)
    assert "closed" in repr(client)


def test_request_and_reply(bridge, client, contracts):
    @client.reply(contracts.Ping)
    def answer(message):
        return contracts.Pong(value=message.value + "!")

    def on_pong(message, delivery):
        delivery.reply(contracts.Ping(value="back"))

    client.subscribe(on_pong, contracts.Pong)
    with mycelium.sync.connect(bridge.url, contracts) as other:
        assert other.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS).value == "?!"
        assert other.request(contracts.Pong(value="?"), contracts.Ping, timeout=SECONDS).value == "back"


def test_a_request_that_nobody_answers(client, contracts):
    with pytest.raises(mycelium.NoResponders):
        client.request(contracts.Ping(value="?"), contracts.Pong)


def test_a_confirmed_publish_and_counters(client, contracts):
    receipt = client.publish(contracts.Ping(value="x"), confirm=True)
    assert (receipt.matched, receipt.enqueued) == (0, 0)
    with pytest.raises(mycelium.NoSubscribers):
        client.publish(contracts.Ping(value="x"), confirm=True, mandatory=True)
    assert client.stats() is not None
    assert client.state is not None


def test_p86_drain_lets_handlers_finish_and_closes(bridge, client, contracts):
    client.subscribe(lambda _: client.publish(contracts.Pong(value="x")), contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        for _ in range(50):
            bridge.publish(contracts.Ping(value="x"))
        client.flush()
        client.drain(timeout=SECONDS)
        assert len(pongs.wait(50)) == 50
    with pytest.raises(ClosedError):
        client.publish(contracts.Ping(value="x"))


def test_p87_a_drain_that_takes_too_long_closes_nevertheless(bridge, client, contracts):
    inside, release = threading.Event(), threading.Event()
    client.subscribe(lambda _: (inside.set(), release.wait(SECONDS)), contracts.Ping)
    bridge.publish(contracts.Ping(value="x"))
    assert inside.wait(SECONDS)
    with pytest.raises(mycelium.DrainTimeout):
        client.drain(timeout=0.1)
    release.set()
    with pytest.raises(ClosedError):
        client.flush()


def test_a_stream_that_is_thrown_away_unsubscribes(bridge, client, contracts):
    stream = client.messages(contracts.Ping)
    with pytest.raises(TimeoutError):
        stream.next(timeout=0)
    assert "1 subscriptions" in repr(client)
    del stream
    gc.collect()
    until(lambda: "0 subscriptions" in repr(client))


# --- publishing without waiting ---


def test_publish_nowait_checks_in_the_calling_thread(client, contracts):
    with pytest.raises(EncodeError):
        client.publish_nowait(contracts.Ping(value=1))
    other = mycelium.load((ROOT / "contracts.yaml").read_text())
    with pytest.raises(UsageError, match="take the type from the contracts"):
        client.publish_nowait(other.Ping(value="x"))


def test_publish_nowait_is_bounded(bridge, client, contracts):
    release = threading.Event()
    client._thread.soon(lambda: release.wait(SECONDS))  # nothing leaves meanwhile
    big = contracts.Ping(value="x" * 60_000)
    with bridge.collect(contracts.Ping) as pings:
        count = 0
        with contextlib.suppress(BufferFull):
            while True:
                client.publish_nowait(big)
                count += 1
        with pytest.raises(BufferFull, match=r"publish\(\) instead"):
            client.publish_nowait(big)
        release.set()
        client.flush()
        assert 7 * 1024 * 1024 < count * 60_000 < 8 * 1024 * 1024
        assert len(pings.wait(count)) == count
    client.publish_nowait(big)


def test_what_could_not_be_published_is_logged_and_a_lost_connection_raised_by_the_next(loop_thread, caplog, contracts):
    sent, errors = [], [ValueError("secret"), ConnectionLost("cut"), BufferFull("full")]

    def publish_nowait(message):
        if errors:
            raise errors.pop(0)
        sent.append(message)

    async def publish(message):
        sent.append(message)

    handover = Handover(loop_thread, publish_nowait, publish)
    for number in range(2):
        assert handover.put(contracts.Ping(value=str(number)), 10)
        loop_thread.run(handover.passed)
    with pytest.raises(ConnectionLost):
        handover.put(contracts.Ping(value="2"), 10)
    for number in (3, 4):
        handover.put(contracts.Ping(value=str(number)), 10)
    loop_thread.run(lambda: handover.end(SECONDS))
    assert not handover.put(contracts.Ping(value="5"), 10)
    assert values(sent) == ["3", "4"]
    assert "a Ping of publish_nowait was not published: ValueError" in caplog.text
    assert "secret" not in caplog.text


def without_room(loop_thread, contracts):
    """A handover of five messages that nobody takes."""

    def publish_nowait(message):
        raise BufferFull("full")

    async def publish(message):
        await asyncio.sleep(SECONDS)

    handover = Handover(loop_thread, publish_nowait, publish)
    for _ in range(5):
        handover.put(contracts.Ping(value="x"), 10)
    return handover


def test_what_has_no_room_at_the_end_is_counted_in_the_log(loop_thread, caplog, contracts):
    handover = without_room(loop_thread, contracts)
    loop_thread.run(lambda: handover.end(0.01))
    assert "closed before 5 messages" in caplog.text


def test_after_the_end_nobody_waits_for_what_is_not_published_any_more(loop_thread, contracts):
    handover = without_room(loop_thread, contracts)
    waiting = [in_thread(loop_thread.run, handover.passed) for _ in range(2)]
    until(lambda: len(handover._waiting) == 4 + 2)
    began = time.monotonic()
    loop_thread.run(lambda: handover.end(0.01))
    for one in waiting:
        one.join(SECONDS)
    loop_thread.run(handover.passed)
    loop_thread.run(lambda: handover.end(SECONDS))
    assert time.monotonic() - began < SECONDS / 2


def test_requests_to_a_topic_are_replied_to(bridge, client, contracts):
    @client.reply(topic=contracts.Ping.TOPIC, on_lag="block")
    def answer(message):
        return contracts.Pong(value=type(message).__name__)

    with mycelium.sync.connect(bridge.url, contracts) as other:
        assert other.request(contracts.Ping(value="?"), contracts.Pong).value == "Ping"
