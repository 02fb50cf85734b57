"""What the bridge refuses a client that it has let in: publishes, metadata and subscriptions."""

import asyncio

import pytest

import mycelium
from mycelium import MyceliumClient, Refused
from mycelium.wire.frames import encode_frame
from peers import BareBridge, serving, until


async def test_a_refused_publish_is_told_to_on_error_whatever_that_raises(contracts, caplog):
    refused = []

    def on_error(error):
        refused.append(error)
        raise ValueError

    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, on_error=on_error) as client:
            client._outlet.enter(encode_frame(4242, b""))
            await client.flush()
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            assert [(type(one), one.code) for one in refused] == [(Refused, 8)]
            assert str(refused[0]) == "the bridge refused (unknown_type): the bridge's contracts have no type id 4242"
    assert "on_error of" in caplog.text


async def test_what_the_bridge_refuses_is_logged_without_the_messages_values(contracts, caplog):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        client._outlet.enter(encode_frame(1001, bytes.fromhex("0100 00000000 0200 09000000") + b"canary999"))
        await client.flush()
    assert "the bridge refused (invalid_payload) a TextMessage" in caplog.text
    assert "canary" not in caplog.text


async def test_forged_metadata_is_denied(contracts):
    refused = []
    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, stamp=True, on_error=refused.append) as client:
            client._outlet.buffer._session = client.session + 1
            await client.publish(contracts.Ping(value="x"))
            await client.flush()
            assert [one.code for one in refused] == [10]


async def test_a_refused_subscription_raises_and_leaves_nothing(contracts):
    async with serving(contracts, types=1) as (bus, bridge), mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(Refused, match="limit"):
            await client.subscribe(print, contracts.Ping, contracts.Pong)
        assert not client._inbox.dispatcher.subscriptions
        got = []
        await client.subscribe(got.append, contracts.Ping)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: got)


async def test_a_subscription_that_is_not_answered_times_out_and_leaves_nothing(contracts):
    asked = []

    async def say_nothing(session):
        await session.welcome(contracts.schema)
        while (event := await session.next()) is not None:
            asked.append(type(event).__name__)

    async with BareBridge(say_nothing) as bridge:
        client = MyceliumClient(contracts, timeout=0.1)
        await client.connect(bridge.url)
        with pytest.raises(TimeoutError):
            await client.subscribe(print, contracts.Ping)
        with pytest.raises(TimeoutError):
            await client.flush()
        cancelled = asyncio.ensure_future(client.subscribe(print, contracts.Pong))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert not client._inbox.dispatcher.subscriptions
        await until(lambda: asked == ["Subscribe", "Unsubscribe", "Ping", "Subscribe", "Unsubscribe"])
        client._life.conversation.abort("enough")
        await client.close()
