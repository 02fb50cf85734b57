"""`publish_many` of a client, where it is not what a loop of `publish` is to itself; its twin on all places is P85."""

import asyncio
import os
import signal
import threading

import pytest
from prometheus_client import CollectorRegistry
from spans import Recorder

import mycelium
from mycelium import ClosedError, EncodeError, MyceliumClient, RuleError, UsageError
from mycelium.bus.publisher import Publisher
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
OTHER = "messages: {Other: {tlv_type: 1004, fields: {}}}"
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
        assert before(caught) == ["publish_many() had published 4 before this"]


async def test_a_value_that_must_not_decrease_is_looked_at():
    contracts = mycelium.load(TEXT)
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(RuleError) as caught:
            await client.publish_many(map(contracts.Clock, [1, 5, 5, 9, 8, 10]))
        assert before(caught) == ["publish_many() had published 4 before this"]


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
    assert before(caught) == [f"publish_many() had published {PLENTY - 51} before this"]
    assert [tick.number for tick in got] == [number for number in range(PLENTY) if number != 4_000]
    assert [tick.note for tick in got if tick.number > 4_000 and tick.number % 100 != 99] == ["n"] * 989


def test_a_message_is_published_although_its_type_goes_right_afterwards():
    contracts = mycelium.load(TEXT)
    publisher, tick = Publisher(contracts), contracts.Tick(1)
    assert publisher.frame(tick)
    contracts.apply(parse_text(OTHER))
    assert publisher.runner(tick) is None
    with pytest.raises(UsageError, match="is not of"):
        publisher.frame(tick)


async def test_types_that_take_turns_come_in_their_order():
    contracts, got = mycelium.load(TEXT), []
    tick, blob, clock = contracts.Tick, contracts.Blob, contracts.Clock
    sent = [*map(tick, range(3_000)), *map(clock, range(300))]
    sent += [make(number) for number in range(500) for make in (tick, lambda number: blob(b"x" * number), tick)]
    sent += [blob(bytes(70_000)), blob(bytes(70_000)), tick(1)]
    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        await bus.subscribe(got.append, tick, blob, clock)
        assert await client.publish_many(iter(sent)) == len(sent) == client.stats().published
        await client.flush()
    assert got == sent


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
    with pytest.raises(ClosedError):
        await client.publish_many(asked)
    bus = mycelium.MessageBus(contracts)
    await bus.close()
    with pytest.raises(ClosedError):
        await bus.publish_many(asked)
    assert next(asked) == contracts.Tick(1)


async def test_an_iterator_that_has_ended_is_not_asked_again():
    contracts, asked = mycelium.load(TEXT), []

    class Popping:
        def __iter__(self):
            return self

        def __next__(self):
            asked.append(1)
            if len(asked) == 3:
                raise StopIteration
            return contracts.Tick(len(asked))

    async with serving(contracts) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        assert await client.publish_many(Popping()) == 2
        assert len(asked) == 3
        asked.clear()
        assert await bus.publish_many(Popping()) == 2
        assert len(asked) == 3


async def test_an_async_iterator_is_refused_with_what_to_write():
    async def messages():
        yield None

    with pytest.raises(UsageError, match="async for message in"):
        await mycelium.MessageBus(TEXT).publish_many(messages())


@pytest.fixture
def place():
    contracts = mycelium.load(TEXT)
    with BridgeThread(contracts) as bridge, mycelium.sync.connect(bridge.url, contracts) as client:
        yield contracts, bridge, client


class Received(list):
    """What a subscription of a synchronous client got, and when it is enough."""

    def __init__(self, client, *types):
        self._more = threading.Condition()
        client.subscribe(self._take, *types, on_lag="block")

    def _take(self, message):
        with self._more:
            self.append(message.number)
            self._more.notify_all()

    def wait_for(self, count):
        with self._more:
            assert self._more.wait_for(lambda: len(self) >= count, 10)
        return list(self)


def test_the_synchronous_client_publishes_what_was_made_before_an_error(place):
    contracts, _, client = place
    got = Received(client, contracts.Tick)

    def messages():
        yield from map(contracts.Tick, range(1_300))
        raise LookupError("no more")

    with pytest.raises(LookupError) as caught:
        client.publish_many(messages())
    assert before(caught) == ["publish_many() had published 1300 before this"]
    assert client.publish_many(map(contracts.Tick, range(1_300, 1_500))) == 200
    assert got.wait_for(1_500) == list(range(1_500))
    with pytest.raises(EncodeError) as caught:
        client.publish_many(contracts.Tick(1 << number) for number in range(100))
    assert before(caught) == ["publish_many() had published 64 before this"]
    with pytest.raises(UsageError, match="an iterable"):
        client.publish_many(contracts.Tick(1))


def test_what_one_thread_publishes_beside_many_stays_in_its_order(place):
    contracts, _, client = place
    got = Received(client, contracts.Tick)

    def messages():
        for number in range(0, 300, 3):
            yield contracts.Tick(number)
            client.publish_nowait(contracts.Tick(number + 1))
            client.publish(contracts.Tick(number + 2))

    assert client.publish_many(messages()) == 100
    assert got.wait_for(300) == list(range(300))


def test_each_of_many_is_on_its_way_before_the_next_is_made(place):
    contracts, _, client = place
    got = Received(client, contracts.Tick)
    seen = []

    def messages():
        for number in range(3):
            yield contracts.Tick(number)
            seen.append(got.wait_for(number + 1))

    client.publish_many(messages())
    assert seen == [[0], [0, 1], [0, 1, 2]]


def test_many_wait_where_the_loop_has_too_much(place):
    contracts, _, client = place
    enough = threading.Semaphore(0)
    client.subscribe(lambda _: enough.release(), contracts.Blob, on_lag="block")
    count = 60
    assert (
        client.publish_many(contracts.Blob(bytes(500_000)) for _ in range(count)) == count
    )  # 30 MB, of which 8 may wait
    assert all(enough.acquire(timeout=10) for _ in range(count))


def test_ctrl_c_ends_many_at_once(place):
    contracts, _, client = place

    def messages():
        yield from map(contracts.Tick, range(100))
        os.kill(os.getpid(), signal.SIGINT)
        yield from map(contracts.Tick, iter(lambda: 0, 1))  # for ever

    with pytest.raises(KeyboardInterrupt) as caught:
        client.publish_many(messages())
    (told,) = before(caught)
    assert int(told.split()[3]) >= 100


def test_where_many_cannot_be_sent_nothing_is_made(place):
    contracts, _, client = place
    asked = iter([contracts.Tick(1)])

    async def in_a_loop():
        with pytest.raises(UsageError, match="event loop"):
            client.publish_many(asked)

    asyncio.run(in_a_loop())
    client.close()
    with pytest.raises(ClosedError):
        client.publish_many(asked)
    assert next(asked) == contracts.Tick(1)
