"""Small parts of a client on their own: last values, receipts to come, names in a refusal, stamps."""

import asyncio
import gc
import warnings

import pytest
from peers import CORE, serving, until

import mycelium
from mycelium import MyceliumClient, QueueFull, Receipt, events
from mycelium.bus.clientstate import ClientState
from mycelium.bus.delivery import LOCAL
from mycelium.bus.lag import DropReason
from mycelium.bus.lastvalues import LastValues
from mycelium.bus.mismatch import named_messages
from mycelium.bus.parcel import Parcel, Stamp
from mycelium.bus.unconfirmed import Unconfirmed
from mycelium.wire.frames import encode_frame

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
