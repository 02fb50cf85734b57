"""Small parts of a client on their own: last values, receipts to come, names in a refusal, stamps."""

import asyncio
import gc
import warnings

import pytest

import mycelium
from mycelium import ClosedError, MyceliumClient, QueueFull, Receipt, events
from mycelium.bus.clientstate import ClientState
from mycelium.bus.delivery import LOCAL
from mycelium.bus.lag import DropReason
from mycelium.bus.lastvalues import LastValues
from mycelium.bus.mismatch import named_messages
from mycelium.bus.outcome import new_outcome
from mycelium.bus.parcel import Parcel, Stamp
from mycelium.bus.tasks import Tasks
from mycelium.bus.unconfirmed import Unconfirmed
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, BareBridge, serving, until

PRICES = """
messages:
  Price: {tlv_type: 1000, retain: last, key: [name], fields: {name: {type: String}, value: {type: u32}}}
"""


def test_last_values_are_one_per_key_and_bounded_by_number_and_bytes(monkeypatch):
    monkeypatch.setattr("mycelium.bus.lastvalues._MOST_VALUES", 3)
    price = mycelium.load(PRICES).Price
    last = LastValues()
    for number, name in enumerate("abcdb"):
        last.put(price(name=name, value=number), LOCAL, 10)
    assert [(message.name, message.value, delivery.retained) for message, delivery in last.of(1000)] == [
        ("c", 2, True),
        ("d", 3, True),
        ("b", 4, True),
    ]
    assert repr(last) == "<LastValues, 3 of 30 bytes>"
    monkeypatch.setattr("mycelium.bus.lastvalues._MOST_BYTES", 25)
    last.put(price(name="e", value=5), LOCAL, 10)
    assert [message.name for message, _ in last.of(1000)] == ["b", "e"]
    last.forget(1000)
    assert (len(last), last.of(1000)) == (0, [])


def receipt(first, last, **fields):
    return CORE.Receipt(**{"first": first, "last": last, "matched": 1, "enqueued": 1, "dropped": 0} | fields)


async def test_receipts_of_wide_ranges_are_settled_without_counting_through_them():
    unconfirmed = Unconfirmed(5.0)
    waiters = {number: asyncio.get_running_loop().create_future() for number in (1, 5_000_000, 9_000_000)}
    for number, waiter in waiters.items():
        unconfirmed.expect(waiter, number)
    assert repr(unconfirmed) == "<Unconfirmed, 3 to come>"
    assert unconfirmed.settle(receipt(1, 8_000_000)) == 8_000_000 - 2
    assert await waiters[5_000_000] == Receipt(5_000_000, 1, 1, 0)
    assert len(unconfirmed) == 1
    assert not unconfirmed.explain(7, "nobody waits for it")
    assert unconfirmed.explain(9_000_000, "why")
    unconfirmed.settle(receipt(9_000_000, 9_000_000, code=11, enqueued=2))
    with pytest.raises(QueueFull, match="why; 2 others have the message") as caught:
        await waiters[9_000_000]
    assert caught.value.enqueued == 2


def test_the_messages_of_a_refusal_are_those_that_this_side_knows():
    text = (
        "TYPE_CHANGED Ping.value: no; FIELD_REMOVED messages.Pong: gone; FIELD_ADDED Alien.x: new; VERSION is below 2"
    )
    assert named_messages(text, ["Ping", "Pong", "VERSION", "is"]) == ("Ping", "Pong")
    assert named_messages("schema id 0x7 is another protocol", ["schema", "id"]) == ()


def test_a_parcel_with_everything_has_its_metadata_in_order():
    stamp = Stamp(published_at=1, correlation=bytes(range(16)), asks=True)
    parcel = Parcel(encode_frame(1000, b"abcd"), stamp)
    sealed = parcel.seal(7, 3)
    assert len(sealed) == parcel.size
    assert sealed[6:].hex() == (
        "61626364"
        "02ff08000000" "0100000000000000"
        "03ff10000000" "0700000000000000" "0300000000000000"
        "04ff10000000" "000102030405060708090a0b0c0d0e0f"
        "05ff08000000" "0700000000000000"
    )  # fmt: skip
    plain = Parcel(b"\x06\0\0\0\xe8\x03abcd", Stamp())
    assert plain.seal(7, 3) is plain.frame


def test_a_drop_reason_of_a_newer_bridge_has_its_number_for_a_name():
    assert (DropReason(200).reason, int(DropReason(200))) == ("reason_200", 200)
    with pytest.raises(ValueError, match="'no' is not a valid DropReason"):
        DropReason("no")


async def test_messages_that_the_next_bridge_does_not_take_are_told_and_do_not_end_its_connection(contracts, tmp_path):
    listen = f"unix://{tmp_path}/bus.sock"
    client = MyceliumClient(contracts)
    async with serving(contracts, listen) as (_, bridge):
        await client.connect(bridge.urls[0])
    await until(lambda: client.state is ClientState.RECONNECTING)
    stream = client.events()
    await client.publish(contracts.Ping(value="x" * 10_000))
    await client.publish(contracts.Ping(value="y"))
    got = []
    bus = mycelium.MessageBus(contracts)
    await bus.subscribe(got.append, contracts.Ping)
    async with bus.serve(listen, limits=mycelium.Limits(max_payload=8192)):
        await until(lambda: got)
        assert (client.stats().refused, client.stats().reconnects, client.state) == (1, 1, ClientState.CONNECTED)
        await client.close()
    assert got == [contracts.Ping(value="y")]
    assert events.PublishRefused(3, "limit", None) in [event async for event in stream]
    await bus.close()


def test_a_program_that_ends_while_it_reconnects_leaves_no_warning(tmp_path):
    contracts = mycelium.load(PRICES)

    async def program():
        client = MyceliumClient(contracts)
        async with serving(contracts, f"unix://{tmp_path}/bus.sock") as (_, bridge):
            await client.connect(bridge.urls[0])
            await client.subscribe(print, contracts.Price)
        await until(lambda: client.state is ClientState.RECONNECTING)
        client.publish_nowait(contracts.Price(name="a", value=1))
        waiting = [
            asyncio.ensure_future(client.flush()),
            asyncio.ensure_future(client.messages(contracts.Price).next()),
        ]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()
        return client

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = asyncio.run(program())
        gc.collect()
    assert client.state is ClientState.CLOSED


CORRELATION = bytes(range(16))


def pong_reply(payload):
    """A reply to nobody in particular, as the bridge hands it on."""
    return encode_frame(1011, payload + Metadata(correlation=CORRELATION, deliver_to=1).encode())


async def hear(session, heard):
    """Answer what has to be answered, and keep what comes."""
    while (event := await session.next()) is not None:
        heard.append(event)
        match type(event).__name__:
            case "Subscribe" | "Unsubscribe":
                session.send(CORE.Ack(request=event.request))
            case "Ping":
                session.send(CORE.Pong(nonce=event.nonce))
            case "Goodbye":
                return


def credits_of(heard):
    return sum(one.messages for one in heard if type(one).__name__ == "Credit")


async def test_a_reply_that_cannot_be_read_is_nobodys_credit_and_a_message_is(contracts):
    heard, there = [], asyncio.Event()

    async def serve(session):
        await session.welcome(contracts.schema)
        await asyncio.gather(hear(session, heard), say(session))

    async def say(session):
        await there.wait()
        session.send(CORE.Retained(subscription=1, messages=1), pong_reply(b""))
        session.send(encode_frame(1011, b""), encode_frame(1011, contracts.Pong(value="x").to_bytes()))

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        stream = await client.messages(contracts.Pong, window=8).__aenter__()
        there.set()
        await stream.next(5)
        client._inbox.settle()
        await client.flush()
        assert (client.stats().skipped, credits_of(heard)) == (2, 2)
        assert client._inbox._retained == {}  # the message was the last value, the reply was none
        await client.close()


async def test_what_is_conflated_is_counted_and_neither_logged_nor_told(contracts, caplog):
    there, gaps = asyncio.Event(), []

    async def serve(session):
        await session.welcome(contracts.schema)
        await asyncio.gather(hear(session, []), say(session))

    async def say(session):
        await there.wait()
        for reason in (DropReason.CONFLATED, DropReason.DROPPED_OLDEST, DropReason.DENIED):
            session.send(CORE.Lagged(subscription=1, type_id=1010, dropped=3, reason=reason))
            await asyncio.sleep(1.1 if reason is DropReason.DROPPED_OLDEST else 0)  # one line a second

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        subscription = await client.subscribe(print, contracts.Ping, on_lag="latest", on_gap=gaps.append)
        there.set()
        await until(lambda: len(subscription.stats().dropped) == 3)
        assert subscription.stats().dropped == {"conflated": 3, "dropped_oldest": 3, "denied": 3}
        assert gaps == [events.Gap(("Ping",), 3, "dropped_oldest", "print")]
        assert [line.getMessage() for line in caplog.records] == [
            "too slow: the bridge has dropped 3 messages of Ping (dropped_oldest)",
            "the bridge has dropped 3 messages of Ping (denied)",
        ]
        await client.close()


async def test_an_iterator_that_is_closed_gives_back_the_credit_of_what_nobody_took(contracts):
    """Else whoever shares its subscription at the bridge would get nothing more."""
    got = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        stream = await client.messages(contracts.Ping, window=4).__aenter__()
        await client.subscribe(got.append, contracts.Ping)
        for number in range(20):
            await bus.publish(contracts.Ping(value=str(number)))
        await until(lambda: len(got) == 4)
        await stream.aclose()
        await until(lambda: len(got) == 20)
        assert [(await stream.next(0)).value for _ in range(4)] == ["0", "1", "2", "3"]
        await client.close()


async def test_a_reply_after_the_end_is_refused_and_not_put_where_nobody_takes_it(contracts):
    kept = []

    async def keep(_, delivery):
        kept.append(delivery)

    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], contracts) as asker:
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        await client.subscribe(keep, contracts.Ping)
        with pytest.raises(TimeoutError):
            await asker.request(contracts.Ping(value="?"), contracts.Pong, timeout=0.05)
        await client.close()
        with pytest.raises(ClosedError):
            await kept[0].reply(contracts.Pong(value="!"))
        assert client.stats().buffered == 0


async def test_an_outcome_that_nobody_waits_for_any_more_is_no_unhandled_exception():
    outcome = new_outcome()
    outcome.set_exception(ValueError("nobody looks"))
    await asyncio.sleep(0)
    del outcome
    gc.collect()


async def test_work_that_nobody_waits_for_and_that_fails_is_logged(caplog):
    async def fail():
        raise ValueError("broken")

    tasks = Tasks()
    tasks.start(fail())
    await until(lambda: "work that nobody waited for has failed" in caplog.text)
    await tasks.end()


async def test_a_second_announcement_of_last_values_says_how_many_follow_in_all(contracts):
    there, seen = asyncio.Event(), []

    async def serve(session):
        await session.welcome(contracts.schema)
        await asyncio.gather(hear(session, []), say(session))

    async def say(session):
        await there.wait()
        frames = [encode_frame(1011, contracts.Pong(value=str(number)).to_bytes()) for number in range(3)]
        session.send(CORE.Retained(subscription=1, messages=2), frames[0])
        session.send(CORE.Retained(subscription=1, messages=1), *frames[1:])

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(contracts)
        await client.connect(bridge.url)
        await client.subscribe(lambda _, delivery: seen.append(delivery.retained), contracts.Pong)
        there.set()
        await until(lambda: len(seen) == 3)
        assert seen == [True, True, False]
        await client.close()
