"""Clients on a bus of Mycelium's own dialect: the same calls, and what the dialect has no word for."""

import asyncio

import pytest
import rustbus
from dialect import CONTRACTS, COUNTED, LAX, bus_at, collecting, note
from rustbus import COUNTER

import mycelium
from mycelium import ConnectError, EncodeError, MyceliumClient, UsageError
from mycelium.events import Connected, Disconnected
from peers import until


@pytest.fixture
def protocol():
    return mycelium.load(CONTRACTS)


@pytest.fixture
def lax():
    return mycelium.load(LAX)


async def test_a_client_has_the_same_calls_there(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        async with mycelium.connect(rust.url, protocol) as one, mycelium.connect(rust.url, protocol) as other:
            got = await collecting(one, protocol.CounterUpdate)
            mine = await collecting(other, protocol.CounterUpdate)
            async with one.messages(protocol.TextMessage) as stream:
                await other.publish(protocol.TextMessage(sender="x", content="y", timestamp=1))
                other.publish_nowait(protocol.CounterUpdate(counter_id=1, value=0, delta=0))
                await other.flush()
                assert (await stream.next(5)).content == "y"
            await until(lambda: got)
            rust.say(COUNTER, COUNTED)
            await until(lambda: len(got) == 2 and mine)
            assert [one.counter_id for one in got] == [1, 7]
            assert [one.counter_id for one in mine] == [7], "its own did not come back"
            assert other.stats().published == 2
        await rust.until(lambda: not rust.members)


async def test_own_messages_are_kept_where_that_is_asked_for(protocol, tmp_path):
    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        mycelium.connect(rust.url, protocol, echo=True) as client,
    ):
        got = await collecting(client, protocol.CounterUpdate)
        await client.publish(protocol.CounterUpdate(counter_id=1, value=0, delta=0))
        rust.say(COUNTER, COUNTED)
        await until(lambda: len(got) == 2)
        assert sorted(one.counter_id for one in got) == [1, 7]
        with pytest.raises(UsageError, match="echo=True"):
            await client.subscribe(print, protocol.TextMessage, no_echo=True)


async def test_what_the_dialect_has_no_word_for_is_refused_with_what_to_do(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        async with mycelium.connect(rust.url, protocol) as client:
            message = protocol.CounterUpdate(counter_id=1, value=0, delta=0)
            for call, words in [
                (client.publish(message, confirm=True), "receipts"),
                (client.publish(message, mandatory=True), "receipts"),
                (client.request(message, protocol.TextMessage), "requests"),
                (client.query("info"), "questions"),
                (client.subscribe(print, protocol.CounterUpdate, group="g"), "group"),
            ]:
                with pytest.raises(UsageError, match=words):
                    await call
        client = MyceliumClient(protocol)
        client.reply(protocol.CounterUpdate)(lambda message: message)
        with pytest.raises(UsageError, match="replies"):
            await client.connect(rust.url)
        for options, words in [({"stamp": True}, "metadata"), ({"from_bridge": True}, "contracts file")]:
            contracts = None if "from_bridge" in options else protocol
            with pytest.raises(UsageError, match=words):
                await MyceliumClient(contracts, **options).connect(rust.url, retry_first=True)
        await rust.until(lambda: not rust.members)


async def test_a_value_that_is_too_long_for_its_room_is_an_error_before_anything_is_sent(lax, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust, mycelium.connect(rust.url, lax) as client:
        with pytest.raises(EncodeError, match=r"Note\.text: has 33 bytes where the struct has room for 32"):
            await client.publish(lax.Note(text="x" * 33))
        with pytest.raises(EncodeError, match=r"Note\.text"):
            client.publish_nowait(lax.Note(text="x" * 33))
        await client.publish(lax.Note(text="x" * 32))
        await rust.until(lambda: rust.seen)
        assert rust.seen == [(1001, note("x" * 32))]


async def test_a_client_whose_handlers_are_slow_lags_by_its_own_policy(protocol, tmp_path):
    release, got, gaps = asyncio.Event(), [], []

    async def slow(message):
        await release.wait()
        got.append(message.counter_id)

    async with (
        bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust,
        mycelium.connect(rust.url, protocol) as client,
    ):
        await client.subscribe(
            slow, protocol.CounterUpdate, on_lag="drop_newest", queue=10, window=10, on_gap=gaps.append
        )
        for index in range(1000):
            rust.say(COUNTER, rustbus.counter(index, 0, 0))
        await until(lambda: gaps)
        release.set()
        await until(lambda: len(got) + sum(gap.count for gap in gaps) == 1000)
        assert got[:10] == list(range(10))
        assert 20 <= len(got) < 1000
        assert got == sorted(got)


async def test_a_bus_that_does_not_read_holds_publishers_up_and_nothing_is_lost(protocol, tmp_path):
    async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
        client = MyceliumClient(protocol, block_timeout=20)
        await client.connect(rust.url)
        await rust.until(lambda: rust.members)
        rust.members[0].transport.pause_reading()
        enough = asyncio.Event()
        publishing = asyncio.ensure_future(_publish(client, protocol, enough))
        await until(lambda: client._outlet.buffer.flow)
        enough.set()
        assert not publishing.done()
        rust.members[0].transport.resume_reading()
        count = await publishing
        await client.close()
        await rust.until(lambda: len(rust.seen) == count)
        assert [payload[-8:] for _, payload in rust.seen] == [index.to_bytes(8, "little") for index in range(count)]


async def _publish(client, contracts, enough):
    """Publish until that is enough; how many messages it was."""
    count = 0
    while not enough.is_set():
        await client.publish(contracts.TextMessage(sender="a", content="b", timestamp=count))
        count += 1
    return count


async def test_a_lost_bus_is_connected_to_again_with_what_was_published_meanwhile(protocol, tmp_path):
    url = f"rust+unix://{tmp_path}/bus.sock"
    events = []
    async with bus_at(url) as rust:
        client = MyceliumClient(protocol)
        stream = client.events()
        await client.connect(url)
        got = await collecting(client, protocol.CounterUpdate)
        await rust.until(lambda: rust.members)
    (tmp_path / "bus.sock").unlink(missing_ok=True)
    async for event in stream:
        events.append(event)
        if isinstance(event, Disconnected):
            break
    await client.publish(protocol.CounterUpdate(counter_id=5, value=0, delta=0))
    async with bus_at(url) as rust:
        await rust.until(lambda: rust.seen)
        assert rust.seen == [(COUNTER, rustbus.counter(5, 0, 0))]
        rust.say(COUNTER, COUNTED)
        await until(lambda: got)
        async for event in stream:
            if isinstance(event, Connected):
                assert event.epoch == 2
                break
        await client.close()


async def test_nobody_there_is_a_connect_error_like_anywhere(protocol, tmp_path):
    with pytest.raises(ConnectError, match="no such file"):
        await MyceliumClient(protocol).connect(f"rust+unix://{tmp_path}/nobody")


def test_blocking_code_has_the_same_client(protocol, tmp_path):
    async def main():
        async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
            await asyncio.to_thread(use, rust.url)
            await rust.until(lambda: rust.seen)
            return rust.seen

    def use(url):
        with mycelium.sync.connect(url, protocol) as client:
            with pytest.raises(EncodeError, match=r"TextMessage\.sender"):
                client.publish_nowait(protocol.TextMessage(sender="x" * 33, content="", timestamp=0))
            client.publish(protocol.CounterUpdate(counter_id=5, value=0, delta=0))

    assert asyncio.run(main()) == [(COUNTER, rustbus.counter(5, 0, 0))]


def test_a_program_that_never_closes_its_client_loses_nothing(protocol, tmp_path):
    seen = []

    async def serve(ready, done):
        async with bus_at(f"rust+unix://{tmp_path}/bus.sock") as rust:
            ready.set()
            await rust.until(lambda: rust.seen)
            seen.extend(rust.seen)
            await done.wait()

    async def main():
        ready, done = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(serve(ready, done))
        await ready.wait()
        await asyncio.to_thread(asyncio.run, careless())
        await until(lambda: seen)
        done.set()
        await serving

    async def careless():
        client = MyceliumClient(protocol)
        await client.connect(f"rust+unix://{tmp_path}/bus.sock")
        client.publish_nowait(protocol.CounterUpdate(counter_id=5, value=0, delta=0))

    asyncio.run(main())
    assert seen == [(COUNTER, rustbus.counter(5, 0, 0))]
