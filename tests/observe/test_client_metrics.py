"""Metrics of clients: what they say after a known story, and whose they are."""

import asyncio
import gc

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import mycelium
from mycelium.bus.clientmeter import ClientMeter, _why
from peers import until

TEXT = """
schema: {id: 33, version: 1, min_compatible: 1}
messages:
  Tick: {tlv_type: 1000, fields: {number: {type: u64}}}
  Line: {tlv_type: 1001, fields: {text: {type: String, validation: [{max_length: 3}]}}}
  Ask: {tlv_type: 1002, fields: {}}
"""


@pytest.fixture
def registry():
    return CollectorRegistry()


def scrape(registry):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((f"mycelium_client_{name}", *sorted(labels.items())), 0)


def observer(registry, name="c"):
    return mycelium.observe.MetricsObserver(name, registry)


async def test_after_a_known_story_everything_is_counted(registry):
    bus = mycelium.MessageBus(TEXT)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        client = mycelium.MyceliumClient(TEXT, observer=observer(registry))
        assert value(scrape(registry), "connected", client="c") == 0
        await client.connect(bridge.urls[0])
        types, done = client.types, []

        async def work(message):
            done.append(message)
            if message.number == 3:
                raise LookupError("three")

        await client.subscribe(work, types.Tick)
        lines = client.messages(types.Line)
        async with lines:
            for number in range(5):
                await client.publish(types.Tick(number))
            client.publish_nowait(types.Line("a"))
            await client.publish(types.Line("b"), confirm=True)
            with pytest.raises(mycelium.RuleError):
                await client.publish(types.Line("abcd"))
            with pytest.raises(mycelium.EncodeError):
                client.publish_nowait(types.Tick(-1))
            with pytest.raises(mycelium.NoSubscribers):
                await client.publish(types.Ask(), mandatory=True)
            with pytest.raises(mycelium.NoResponders):
                await client.request(types.Ask(), types.Ask)
            await bus.subscribe(lambda _: None, bus.contracts.Ask)
            with pytest.raises(TimeoutError):
                await client.request(types.Ask(), types.Ask, timeout=0.01)
            await until(lambda: len(done) == 5 and client.stats().queued == 2)
            found = scrape(registry)
            await lines.next(timeout=5)
        await client.close()
    assert value(found, "connected", client="c") == 1
    assert value(found, "published_total", client="c", message="Tick", outcome="published") == 5
    assert value(found, "published_total", client="c", message="Tick", outcome="encode_error") == 1
    assert value(found, "published_total", client="c", message="Line", outcome="published") == 2
    assert value(found, "published_total", client="c", message="Line", outcome="rule_error") == 1
    assert value(found, "published_total", client="c", message="Ask", outcome="no_subscribers") == 1
    assert value(found, "publish_duration_seconds_count", client="c", message="Tick") == 5
    assert value(found, "publish_duration_seconds_count", client="c", message="Ask") == 1
    assert value(found, "publish_duration_seconds_sum", client="c", message="Ask") > 0
    assert value(found, "received_total", client="c", message="Tick") == 5
    assert value(found, "received_total", client="c", message="Line") == 2
    assert value(found, "receive_queue_messages", client="c", message="Line") == 2
    assert value(found, "handler_duration_seconds_count", client="c", message="Tick") == 5
    assert value(found, "handler_exceptions_total", client="c", message="Tick", exception="LookupError") == 1
    assert value(found, "handlers_in_progress", client="c") == 0
    assert value(found, "request_duration_seconds_count", client="c", message="Ask", outcome="no_responders") == 1
    assert value(found, "request_duration_seconds_count", client="c", message="Ask", outcome="timeout") == 1
    assert value(scrape(registry), "connected", client="c") == 0
    await bus.close()


async def test_what_waits_what_is_dropped_and_what_is_in_a_handler_is_seen(registry):
    bus = mycelium.MessageBus(TEXT)
    go_on = asyncio.Event()

    async def stuck(_):
        await go_on.wait()

    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        client = mycelium.MyceliumClient(TEXT, observer=observer(registry))
        await client.close()
        client = mycelium.MyceliumClient(TEXT, observer=observer(registry))
        await client.connect(bridge.urls[0])
        await client.subscribe(stuck, client.types.Tick, queue=1, window=1)
        for number in range(5):
            bus.publish_nowait(bus.contracts.Tick(number))
        await until(lambda: client.stats().dropped)
        found = scrape(registry)
        go_on.set()
        await client.close()
    assert value(found, "handlers_in_progress", client="c") == 1
    assert value(found, "dropped_total", client="c", message="Tick", reason="dropped_oldest") == 4
    await bus.close()


async def test_reconnects_are_counted_by_why_and_the_buffer_is_seen_meanwhile(registry, tmp_path):
    url = f"unix://{tmp_path}/bus.sock"
    bus = mycelium.MessageBus(TEXT)
    client = mycelium.MyceliumClient(TEXT, observer=observer(registry))
    async with bus.serve(url):
        await client.connect(url)
    await until(lambda: client.state is mycelium.ClientState.RECONNECTING)
    client.publish_nowait(client.types.Tick(1))
    found = scrape(registry)
    assert (value(found, "connected", client="c"), value(found, "send_buffer_messages", client="c")) == (0, 1)
    assert value(found, "send_buffer_bytes", client="c") == 20
    async with bus.serve(url):
        await until(lambda: client.state is mycelium.ClientState.CONNECTED)
        found = scrape(registry)
        await client.close()
    assert value(found, "reconnects_total", client="c", reason="shutdown") == 1
    assert value(found, "published_total", client="c", message="Tick", outcome="published") == 1
    await bus.close()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("the bridge said goodbye: shutdown", "shutdown"),
        ("the bridge said goodbye: anything that a peer may say", "other"),
        ("the bridge refused (slow_consumer): the queue is full", "slow_consumer"),
        ("nothing heard for three heartbeats", "heartbeat"),
        ("the bridge closed it", "eof"),
        ("[Errno 104] Connection reset by peer", "econnreset"),
        ("[Errno 99999] ?", "other"),
        ("", "other"),
    ],
)
def test_why_a_connection_was_lost_is_one_of_few_words(reason, word):
    assert _why(reason) == word


async def test_each_client_has_its_name_until_it_is_closed_or_gone(registry):
    bus = mycelium.MessageBus(TEXT)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        first = mycelium.MyceliumClient(TEXT, observer=observer(registry, "one"))
        with pytest.raises(mycelium.UsageError, match="another client is observed as 'one'"):
            mycelium.MyceliumClient(TEXT, observer=observer(registry, "one"))
        second = mycelium.MyceliumClient(TEXT, observer=observer(registry, "two"))
        await first.connect(bridge.urls[0])
        found = scrape(registry)
        assert [value(found, "connected", client=name) for name in ("one", "two")] == [1, 0]
        await first.close()
        third = mycelium.MyceliumClient(TEXT, observer=observer(registry, "one"))
        assert value(scrape(registry), "connected", client="one") == 0
        del first, second
        gc.collect()
        assert ("mycelium_client_connected", ("client", "two")) not in scrape(registry)
        await third.close()
    with pytest.raises(mycelium.UsageError, match="need its name"):
        observer(registry, "")
    await bus.close()


def test_names_of_exceptions_are_not_counted_without_end():
    client = mycelium.MyceliumClient(TEXT)
    meter = ClientMeter(client)
    types = mycelium.load(TEXT)
    for number in range(300):
        error = type(f"Error{number}", (Exception,), {})
        with pytest.raises(error), meter._handling(types.Tick(1)):
            raise error
    assert len(meter.exceptions) == 201
    assert meter.exceptions["_other", "_other"] == 100


def test_a_synchronous_client_is_observed_from_any_thread(registry):
    from processes import bridge

    with bridge() as (_, url), mycelium.sync.connect(url, observer=observer(registry)) as client:
        got = []
        client.subscribe(got.append, client.types.Ping)
        client.publish(client.types.Ping("x"))
        client.flush()
        found = scrape(registry)
    assert value(found, "connected", client="c") == 1
    assert sum(number for (name, *_), number in found.items() if name == "mycelium_client_published_total") == 1
