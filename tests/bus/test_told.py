"""What happens to a client is told: slowness, ends that nobody asked for, messages that were never sent."""

import asyncio

import pytest

import mycelium
from mycelium import MyceliumClient, events
from peers import SECONDS, serving, until


class Heard:
    """The events of a bus or client, as they come."""

    def __init__(self, told):
        self.events = []
        self._task = asyncio.ensure_future(self._listen(told.events()))

    async def _listen(self, stream):
        async for event in stream:
            self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def end(self):
        async with asyncio.timeout(SECONDS):
            await self._task


async def test_a_client_that_is_too_slow_is_told_so_and_when_it_keeps_up_again(contracts):
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts)
        heard, gate = Heard(client), asyncio.Event()
        await client.connect(bridge.urls[0])

        async def wait(message):
            await gate.wait()

        await client.subscribe(wait, contracts.Ping, queue=2, window=1)
        for number in range(10):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await client.flush()
        gate.set()
        await until(lambda: heard.of(events.Recovered))
        (slow,), (recovered,) = heard.of(events.SlowConsumer), heard.of(events.Recovered)
        assert (slow.types, slow.on_lag, slow.queued) == (("Ping",), "drop_oldest", None)
        assert (recovered.subscriber, recovered.types) == (slow.subscriber, ("Ping",))
        assert recovered.dropped == sum(gap.count for gap in heard.of(events.Gap)) > 0
        await client.close()
        await heard.end()


@pytest.mark.parametrize("place", ["bus", "client"])
async def test_a_subscription_that_the_policy_ends_says_so_and_the_others_go_on(contracts, place, caplog):
    async with serving(contracts) as (bus, bridge):
        client = bus if place == "bus" else MyceliumClient(contracts)
        heard, gate, got, gaps = Heard(client), asyncio.Event(), [], []
        if place == "client":
            await client.connect(bridge.urls[0])

        async def wait(message):
            await gate.wait()

        subscription = await client.subscribe(
            wait, contracts.Ping, on_lag="disconnect", queue=2, window=1, on_gap=gaps.append
        )
        await client.subscribe(lambda message: got.append(message.value), contracts.Pong)
        for number in range(10):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.closed and heard.of(events.SubscriptionRefused))
        (refused,) = heard.of(events.SubscriptionRefused)
        assert (refused.types, refused.code) == (("Ping",), 14)
        assert (gaps[-1].types, gaps[-1].count, gaps[-1].reason) == (("Ping",), None, "disconnected")
        assert "has ended" in caplog.text
        await until(lambda: bus.exchange.matched(1011) == 1)
        bus.publish_nowait(contracts.Pong(value="x"))
        await until(lambda: got == ["x"])
        gate.set()
        await client.close()
        await heard.end()


async def test_messages_that_a_closed_client_never_sent_are_told(contracts, caplog):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts, name="forgetful")
        heard = Heard(client)
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is mycelium.ClientState.RECONNECTING)
    for _ in range(3):
        await client.publish(contracts.Ping(value="x"))
    with pytest.raises(mycelium.DrainTimeout, match="3 not sent or not confirmed"):
        await client.drain(0.05)
    await heard.end()
    assert heard.of(events.Closed) == [events.Closed("this client has closed it; 3 messages were not sent")]
    assert "the client forgetful is closed, and 3 messages were not sent" in caplog.text
