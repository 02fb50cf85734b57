"""Last values over sockets, frame by frame: announced, sent as announced, and read by the contracts that hold."""

import asyncio

import pytest
from deliveries import ID, TEXT, counters, frame, handled, pair, plain

import mycelium
from mycelium.wire.buffer import Batch
from peers import CORE, SECONDS, peer_at, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


async def test_last_values_are_announced_and_come_before_anything_newer(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        for number, key in enumerate([1, 2, 1, 3]):
            publisher.send(frame(types.State(key, number)))
        await publisher.barrier()
        await subscriber.subscribe(1, [1002, 1000], window=2)
        publisher.send(frame(types.State(9, 10)), frame(types.Job(11)))
        await publisher.barrier()
        assert await handled(subscriber, types, 5) == [CORE.Retained(subscription=1, messages=3), 1, 2, 3, 10, 11]
        assert counters(bus) == (5, 5, {}, 0, 0)


async def test_without_last_values_nothing_is_announced_and_a_second_subscribe_gets_new_types_only(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await subscriber.subscribe(1, [1002])
        assert await subscriber.barrier() == []
        bus.publish_nowait(types.State(1, 5))
        assert plain(types, [await subscriber.next()]) == [5]
        await subscriber.subscribe(1, [1002, 1000])
        assert await subscriber.barrier() == []
        await subscriber.subscribe(1, [1000])
        await subscriber.subscribe(1, [1000, 1002])
        assert await handled(subscriber, types, 1) == [CORE.Retained(subscription=1, messages=1), 5]
        await publisher.subscribe(7, [])
        assert await handled(publisher, types, 1) == [CORE.Retained(subscription=7, messages=1), 5]


async def test_last_values_wait_for_credit_and_count_when_they_are_taken(types):
    async with pair(types) as (bus, _, _, subscriber):
        for key in range(5):
            bus.publish_nowait(types.State(key, key))
        await subscriber.subscribe(1, [1002], window=2, queue=1)
        got = []
        while len(got) < 3:
            got += plain(types, [await subscriber.next()])
        assert (got, counters(bus)) == ([CORE.Retained(subscription=1, messages=5), 0, 1], (2, 0, {}, 0, 2))
        await subscriber.close()
        await until(lambda: counters(bus) == (2, 0, {"disconnected": 2}, 0, 0))
        assert bus.exchange.ledger.used == bus.exchange.retained.bytes


async def test_last_values_are_sent_as_announced_whatever_is_published_meanwhile(types):
    async with pair(types) as (bus, _, _, subscriber):
        for key in range(5):
            bus.publish_nowait(types.State(key, key))
        await subscriber.subscribe(1, [1002], window=1)
        for key in range(5):
            bus.publish_nowait(types.State(key, 10 + key))
        subscriber.send(CORE.Subscribe(request=9, subscription=1, type_ids=[1002]))
        got = []
        while len(got) < 12:
            got += [one for one in plain(types, [await subscriber.next()]) if type(one).__name__ != "Ack"]
        numbers = [one for one in got if isinstance(one, int)]
        assert numbers == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert [one.messages for one in got if one not in numbers] == [5, 4]
        assert bus.exchange.ledger.used == bus.exchange.retained.bytes


async def test_a_last_value_of_a_client_says_who_published_it_and_asks_nobody(types):
    async with pair(types) as (bus, _, publisher, _):
        publisher.send(frame(types.State(1, 5), published_at=77, origin=(publisher.session, 3)))
        publisher.send(frame(types.State(2, 6), correlation=ID, reply_to=publisher.session))
        await publisher.barrier()
        got = []

        def handler(state, delivery: mycelium.Delivery):
            got.append((state.number, delivery.retained, delivery.publisher, delivery.sequence, delivery.published_at))
            assert not delivery.is_request

        await bus.subscribe(handler, types.State)
        assert got == [(5, True, publisher.session, 3, 77), (6, True, None, None, None)]


async def test_a_last_value_that_forced_contracts_cannot_read_breaks_no_subscribe(types):
    async with pair(types) as (bus, _, publisher, _):
        publisher.send(frame(types.State(1, 5)))
        await publisher.barrier()
        fields = "fields: {id: {type: u8}, number: {type: %s}}}\n  Ask"
        types.apply(mycelium.load(TEXT.replace(fields % "u32", fields % "u64")).schema)
        got = []
        await bus.subscribe(lambda one: got.append(one.number), types.State)
        bus.publish_nowait(types.State(1, 1 << 40))
        assert got == [1 << 40]


async def test_last_values_that_forced_contracts_cannot_read_are_there_again_with_those_that_can(types):
    schema = types.schema
    fields = "fields: {id: {type: u8}, number: {type: %s}}}\n  Ask"
    async with pair(types) as (bus, bridge, _, _):

        async def announced(number):
            async with peer_at(bridge.urls[0]) as peer:
                await peer.subscribe(number, [1002])
                events = await peer.barrier()
                return [one.messages for one in events if type(one).__name__ == "Retained"]

        bus.publish_nowait(types.State(1, 1))
        bus.publish_nowait(types.State(2, 2))
        types.apply(mycelium.load(TEXT.replace(fields % "u32", fields % "u64")).schema)
        assert await announced(1) == []
        bus.publish_nowait(types.State(1, 1 << 40))
        assert await announced(1) == [1]
        types.apply(schema)
        assert await announced(1) == [1]
        bus.publish_nowait(types.State(3, 3))
        got = []
        await bus.subscribe(lambda one: got.append(one.number), types.State)
        assert got == [2, 3]
        assert bus.stats().retained == 3


async def test_last_values_that_new_contracts_cannot_read_are_not_sent(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(frame(types.State(id=1, number=7)))
        await publisher.barrier()
        types.apply(mycelium.load(TEXT.replace("id: {type: u8}, number", "id: {type: u16}, number")).schema)
        await subscriber.subscribe(1, [1002])
        assert await subscriber.barrier() == []


async def test_a_bridge_that_closes_sends_the_last_values_that_it_has_announced(types):
    async with pair(types) as (_, bridge, publisher, subscriber):
        for number in range(3):
            publisher.send(frame(types.State(id=number, number=number)))
        await publisher.barrier()
        await subscriber.subscribe(1, [1002], window=1)
        assert await subscriber.next() == CORE.Retained(subscription=1, messages=3)
        closing = asyncio.ensure_future(bridge.close(SECONDS))
        got = []
        while (event := await subscriber.next()) is not None:
            if isinstance(event, Batch):
                got += plain(types, [event])
                subscriber.send(CORE.Credit(subscription=1, messages=1))
            elif type(event).__name__ == "Goodbye":
                subscriber.send(event)
                publisher.send(event)
        assert got == [0, 1, 2]
        await closing
