"""Messages that come alone go past the queues at the bridge: in the same order, and counted as all others are."""

import pytest

import mycelium
from mycelium.bus.outbox import Outbox
from peers import serving, until

TEXT = """
messages:
  Start: {tlv_type: 1001, fields: {number: {type: u64}}}
  Tick: {tlv_type: 1002, fields: {number: {type: u64}}}
"""


@pytest.fixture
def passed(monkeypatch):
    """What has gone past a queue."""
    seen, count = [], Outbox.passed

    def spy(outbox, run):
        seen.append(run.type_ids[0])
        count(outbox, run)

    monkeypatch.setattr(Outbox, "passed", spy)
    return seen


async def one_by_one(client, messages, got):
    """Publish each when the one before has arrived."""
    for number, message in enumerate(messages, 1):
        client.publish_nowait(message)
        await until(lambda number=number: len(got) == number)


@pytest.mark.parametrize("is_counted_by_type", [False, True])
@pytest.mark.parametrize("lag", ["drop_oldest", "block", "latest", "disconnect"])
async def test_they_are_counted_as_if_they_had_been_queued(passed, lag, is_counted_by_type):
    contracts, got = mycelium.load(TEXT), []
    async with serving(contracts) as (bus, bridge):
        if is_counted_by_type:
            bus.exchange.measure()
        async with (
            mycelium.connect(bridge.urls[0], contracts) as publisher,
            mycelium.connect(bridge.urls[0], contracts) as subscriber,
        ):
            await subscriber.subscribe(got.append, contracts.Tick, on_lag=lag, window=2)
            await one_by_one(publisher, map(contracts.Tick, range(50)), got)
            assert [tick.number for tick in got] == list(range(50))
            assert len(passed) > 25, "most of them"
            (session,) = [one for one in bridge.sessions if one.subscriptions]
            assert session.outgoing.messages == 50
            await until(lambda: bus.stats().in_flight < 2)
            stats = bus.stats()
            assert (stats.matched, stats.published, stats.dropped, stats.balanced) == (50, 50, {}, True)
            if is_counted_by_type:
                tally = bus.exchange.meter.tally("tcp")
                assert tally.delivered[1002] == stats.delivered
                assert sum(tally.wait.counts) == 50


class Unwritable:
    """A transport that takes nothing any more."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def write(self, _):
        raise RuntimeError("the handle is closed")


async def test_one_that_the_transport_does_not_take_ends_that_connection_and_is_counted(passed):
    contracts, got = mycelium.load(TEXT), []
    async with (
        serving(contracts) as (bus, bridge),
        mycelium.connect(bridge.urls[0], contracts) as publisher,
        mycelium.connect(bridge.urls[0], contracts) as subscriber,
    ):
        await subscriber.subscribe(got.append, contracts.Tick)
        await one_by_one(publisher, map(contracts.Tick, range(10)), got)
        (session,) = [one for one in bridge.sessions if one.subscriptions]
        protocol, before = session.pass_on.__self__, len(passed)
        protocol._transport = Unwritable(protocol._transport)
        publisher.publish_nowait(contracts.Tick(10))
        await until(lambda: session.reason is not None)
        assert session.reason == "internal"
        assert len(passed) == before + 1, "it went past the queue"
        stats = bus.stats()
        assert (stats.matched, stats.balanced) == (11, True)


async def test_what_a_handler_of_the_bridge_publishes_then_comes_behind_it(passed):
    contracts, got = mycelium.load(TEXT), []
    async with (
        serving(contracts) as (bus, bridge),
        mycelium.connect(bridge.urls[0], contracts) as publisher,
        mycelium.connect(bridge.urls[0], contracts) as subscriber,
    ):

        def answer(start):
            for number in range(start.number * 200, start.number * 200 + 200):
                bus.publish_nowait(contracts.Tick(number))

        await bus.subscribe(answer, contracts.Start)
        await subscriber.subscribe(got.append, contracts.Start, contracts.Tick, on_lag="block")
        for number in range(10):
            publisher.publish_nowait(contracts.Start(number))
            await until(lambda number=number: len(got) == 201 * (number + 1))
        ticks = [one.number for one in got if isinstance(one, contracts.Tick)]
        assert ticks == list(range(2_000))
        assert [got[201 * number] for number in range(10)] == [contracts.Start(number) for number in range(10)]
        assert 0 < len(passed) <= 10, "one at most for a connection and a chunk"


async def test_a_reply_and_its_request_pass_by_and_are_counted(passed):
    contracts = mycelium.load(TEXT)
    async with (
        serving(contracts) as (bus, bridge),
        mycelium.connect(bridge.urls[0], contracts) as replier,
        mycelium.connect(bridge.urls[0], contracts) as asker,
    ):

        @replier.reply(contracts.Start)
        def answer(start):
            return contracts.Tick(start.number)

        await replier.flush()
        for number in range(20):
            assert await asker.request(contracts.Start(number), contracts.Tick) == contracts.Tick(number)
        assert len(passed) > 10
        stats = bus.stats()
        assert (stats.matched, stats.replies, stats.balanced) == (20, 20, True)
        assert sorted(one.outgoing.messages for one in bridge.sessions) == [0, 20]
