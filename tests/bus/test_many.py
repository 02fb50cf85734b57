"""`publish_many` of a client, where it is not what a loop of `publish` is to itself; its twin on all places is P85."""

import threading

import pytest
from prometheus_client import CollectorRegistry
from spans import Recorder

import mycelium
from mycelium import ClosedError, EncodeError, MyceliumClient, RuleError, UsageError
from mycelium.schema.parse import parse_text
from mycelium.testing import BridgeThread
from peers import serving, until

TEXT = """
messages:
  Tick: {tlv_type: 1001, fields: {number: {type: u64}}}
  Blob: {tlv_type: 1002, fields: {data: {type: bytes}}}
  Clock: {tlv_type: 1003, fields: {at: {type: u64, validation: [{monotonic: true}]}}}
"""
WIDER = TEXT.replace("{number: {type: u64}}", "{number: {type: u64}, note: {type: String, optional: true}}")
PLENTY = 5_000
"""More than go out in one turn of the loop."""


def before(caught):
    return caught.value.__notes__


async def test_a_payload_larger_than_the_bridge_takes_ends_it():
    contracts, got = mycelium.load(TEXT), []
    async with (
        serving(contracts, max_payload=5_000) as (bus, bridge),
        mycelium.connect(bridge.urls[0], contracts) as one,
    ):
        await bus.subscribe(lambda message: got.append(len(message.data)), contracts.Blob)
        with pytest.raises(EncodeError, match="at most 5000") as caught:
            await one.publish_many(contracts.Blob(b"x" * size) for size in (1, 2, 3, 4_994, 4_995, 4))
        await one.flush()
        assert got == [1, 2, 3, 4_994]
        assert before(caught) == ["4 messages of publish_many() were published before that"]


async def test_a_value_that_must_not_decrease_is_looked_at():
    contracts = mycelium.load(TEXT)
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(RuleError) as caught:
            await client.publish_many(map(contracts.Clock, [1, 5, 5, 9, 8, 10]))
        assert before(caught) == ["4 messages of publish_many() were published before that"]


async def test_who_makes_the_messages_may_raise_publish_and_change_the_contracts():
    contracts, got = mycelium.load(TEXT), []
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:

        def messages():
            for number in range(PLENTY):
                if number % 100 == 99:
                    client.publish_nowait(contracts.Tick(number=number))
                elif number == 4_000:
                    contracts.apply(parse_text(WIDER))
                else:
                    yield contracts.Tick(number, note="n") if number > 4_000 else contracts.Tick(number)
            raise LookupError("no more")

        await bus.subscribe(got.append, contracts.Tick, on_lag="block")
        with pytest.raises(LookupError) as caught:
            await client.publish_many(messages())
        await client.flush()
        await until(lambda: len(got) == PLENTY - 1)
    assert before(caught) == [f"{PLENTY - 51} messages of publish_many() were published before that"]
    assert [tick.number for tick in got] == [number for number in range(PLENTY) if number != 4_000]
    assert [tick.note for tick in got if tick.number > 4_000 and tick.number % 100 != 99] == ["n"] * 989


async def test_each_is_counted_and_traced_where_somebody_asks_for_it():
    contracts, registry, recorder = mycelium.load(TEXT), CollectorRegistry(), Recorder()
    async with serving(contracts) as (_, bridge):
        observer = mycelium.observe.MetricsObserver("c", registry)
        async with mycelium.connect(bridge.urls[0], contracts, observer=observer) as client:
            assert await client.publish_many(map(contracts.Tick, range(300))) == 300
            assert client.stats().published == 300
            labels = {"client": "c", "message": "Tick", "outcome": "published"}
            assert registry.get_sample_value("mycelium_client_published_total", labels) == 300
        async with mycelium.connect(
            bridge.urls[0], contracts, tracing=recorder.tracing(most_per_second=None)
        ) as client:
            assert await client.publish_many(map(contracts.Tick, range(300))) == 300
    assert len(recorder.spans) == 300


async def test_where_it_cannot_be_sent_nothing_is_asked_for():
    contracts = mycelium.load(TEXT)
    asked = iter([contracts.Tick(1), contracts.Tick(2)])
    client = MyceliumClient(contracts)
    with pytest.raises(ClosedError) as caught:
        await client.publish_many(asked)
    assert before(caught) == ["0 messages of publish_many() were published before that"]
    assert next(asked) == contracts.Tick(2)


def test_the_synchronous_client_publishes_some_at_a_time():
    contracts, got = mycelium.load(TEXT), []
    with BridgeThread(contracts) as bridge, mycelium.sync.connect(bridge.url, contracts) as client:
        done = threading.Event()

        def take(tick):
            got.append(tick.number)
            if len(got) == 1_500:
                done.set()

        client.subscribe(take, contracts.Tick, on_lag="block")

        def messages():
            yield from map(contracts.Tick, range(1_300))
            raise LookupError("no more")

        with pytest.raises(LookupError):
            client.publish_many(messages())
        assert client.publish_many(map(contracts.Tick, range(1_300, 1_500))) == 200
        assert done.wait(10)
        assert got == list(range(1_500))
        with pytest.raises(EncodeError) as caught:
            client.publish_many(
                contracts.Tick(1 << (number - 1_000) if number > 1_000 else 0) for number in range(2_000)
            )
        assert before(caught) == ["1064 messages of publish_many() were published before that"]
        with pytest.raises(UsageError, match="an iterable"):
            client.publish_many(contracts.Tick(1))
