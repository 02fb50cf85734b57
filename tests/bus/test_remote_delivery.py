"""Delivery over sockets, frame by frame: receipts, groups and echoes, and what others must not notice."""

import gc
import time

import pytest
from deliveries import REFUSES, TEXT, counters, error, frame, handled, lagged, pair, paused, plain, receipt, stuck

import mycelium
from mycelium.bus.session import Session
from mycelium.schema.document import document_bytes
from mycelium.wire.frames import encode_frame
from peers import CORE, peer_at, serving, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


# --- receipts ---


async def test_receipts_number_frames_from_the_first_confirm_on_and_answer_each_once(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(frame(types.Job(0)), CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await publisher.barrier() == [receipt(1, 1, 0, 0)]
        await subscriber.subscribe(1, [1000])
        publisher.send(b"".join(frame(types.Job(number)) for number in range(5)))
        assert await publisher.barrier() == [receipt(2, 6, 1, 1)]
        publisher.send(CORE.Confirm(enabled=False), frame(types.Job(2)))
        assert await publisher.barrier() == []
        publisher.send(CORE.Confirm(enabled=True), frame(types.Job(3)))
        assert await publisher.barrier() == [receipt(7, 7, 1, 1)]


async def test_neighbours_with_other_outcomes_get_receipts_of_their_own(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 4, queue=2)
        got = []
        await bus.subscribe(got.append, types.Tick)
        bad = encode_frame(1000, b"\1")
        publisher.send(b"".join([*(frame(types.Job(n)) for n in range(4)), frame(types.Tick(1, 1)), bad]))
        events = await publisher.barrier()
        receipts = [one for one in events if type(one).__name__ == "Receipt"]
        assert receipts[1:] == [
            receipt(2, 3, 1, 1),
            receipt(4, 5, 1, 0, 1, 11),
            receipt(6, 6, 1, 1),
            receipt(7, 7, 0, 0, 0, 9),
        ]
        errors = [one for one in events if type(one).__name__ == "Error"]
        assert [(one.code, one.sequence) for one in errors] == [(11, 4), (9, 7)]


async def test_without_confirm_an_error_carries_no_number_and_comes_once_a_second(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await stuck(publisher, subscriber, types, 4, queue=1)
        for _ in range(3):
            publisher.send(*(frame(types.Job(number)) for number in range(3)))
        assert await publisher.barrier() == [error(11, REFUSES)]
        assert counters(bus)[2] == {"rejected": 8}


# --- groups and echoes ---


async def test_one_of_a_group_over_two_connections_and_this_process_gets_each_message(types):
    async with pair(types) as (bus, bridge, publisher, one), peer_at(bridge.urls[0]) as two:
        local = []
        await bus.subscribe(lambda job: local.append(job.number), types.Job, group="g")
        await one.subscribe(1, [1000], group="g")
        await two.subscribe(1, [], group="g")
        publisher.send(CORE.Confirm(enabled=True))
        for number in range(9):
            publisher.send(frame(types.Job(number)))
            assert await publisher.barrier() == [receipt(number + 1, number + 1, 1, 1)]
        got = [plain(types, await peer.barrier()) for peer in (one, two)]
        assert sorted([*local, *got[0], *got[1]]) == [*range(9)]
        assert (len(local), len(got[0])) == (3, 3)
        await one.close()
        await until(lambda: len(bridge.sessions) == 2)
        for number in range(4):
            publisher.send(frame(types.Job(number)))
            await publisher.barrier()
        assert len(local) == 5
        assert counters(bus) == (13, 13, {}, 0, 0)


async def test_p30_a_client_with_no_echo_gets_others_messages_only(types):
    async with pair(types) as (_, _, publisher, one):
        await one.subscribe(1, [1000], no_echo=True)
        await publisher.subscribe(1, [1000])
        one.send(CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await one.barrier() == [receipt(1, 1, 1, 1)]
        publisher.send(frame(types.Job(2)))
        assert plain(types, [await one.next()]) == [2]
        assert plain(types, [*await publisher.barrier(), *await publisher.barrier()]) == [1, 2]


async def test_p30_a_member_of_a_group_with_no_echo_leaves_its_own_messages_to_the_others(types):
    async with pair(types) as (_, _, one, two):
        await one.subscribe(1, [1000], group="g", no_echo=True)
        one.send(CORE.Confirm(enabled=True), frame(types.Job(1)))
        assert await one.barrier() == [receipt(1, 1, 0, 0)]
        await two.subscribe(1, [1000], group="g")
        one.send(*(frame(types.Job(number)) for number in (2, 3)))
        assert plain(types, await one.barrier()) == [receipt(2, 3, 1, 1)]
        assert plain(types, await two.barrier()) == [2, 3]


# --- what others must not notice, and what must not stay ---


async def test_publishers_that_come_and_go_are_forgotten_while_their_subscriber_stays_stuck(types):
    async with pair(types, block_seconds=0.05) as (bus, bridge, publisher, subscriber):
        await stuck(publisher, subscriber, types, 3, queue=1)
        for number in range(20):
            async with peer_at(bridge.urls[0]) as visitor:
                visitor.send(*(frame(types.Job(number)) for _ in range(3)))
                await visitor.barrier()
        await until(lambda: len(bridge.sessions) == 2 and bus.stats().queued == 1)
        await until(lambda: not bridge._holding)
        gc.collect()
        assert sum(type(one) is Session and one._host is bridge for one in gc.get_objects()) == 2
        assert counters(bus) == (61, 0, {"block_timeout": 59}, 1, 1)


async def test_what_a_client_gave_up_by_replacing_its_types_is_not_sent_though_it_waited_for_room(types):
    async with pair(types) as (bus, _, publisher, subscriber):
        await subscriber.subscribe(1, [1000, 1001], on_lag=3, queue=1, window=1)
        publisher.send(*(frame(types.Job(number)) for number in range(4)), frame(types.Tick(1, 50)))
        assert await publisher.barrier() == [paused(1000), paused(1001)]
        assert plain(types, await subscriber.barrier()) == [0]
        await subscriber.subscribe(1, [1001], on_lag=3, queue=1, window=5)
        assert await handled(subscriber, types, 1) == [lagged(2, 8), 50]
        assert sorted(one.type_ids[0] for one in await publisher.barrier()) == [1000, 1001]
        assert counters(bus) == (5, 1, {"disconnected": 3}, 0, 1)


async def test_a_receipt_comes_as_soon_as_the_last_queue_has_decided(types):
    async with pair(types) as (_, _, publisher, subscriber):
        publisher.send(CORE.Confirm(enabled=True))
        await stuck(publisher, subscriber, types, 3, queue=1)
        waits = []
        for number in range(6):
            publisher.send(frame(types.Job(number)), frame(types.Job(number)))
            await publisher.barrier()
            start = time.perf_counter()
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            await subscriber.next()
            subscriber.send(CORE.Credit(subscription=1, messages=1))
            await publisher.until("Receipt")
            waits.append(time.perf_counter() - start)
            await subscriber.next()
            await publisher.barrier()
        assert sorted(waits)[3] < 0.1  # a tick comes four times a second


async def test_the_first_error_of_a_type_that_a_client_declares_carries_the_number_of_its_frame():
    own = mycelium.load(TEXT + "  Extra: {tlv_type: 1500, fields: {number: {type: u32}}}\n")
    async with serving(mycelium.load(TEXT)) as (_, bridge), peer_at(bridge.urls[0], hello=False) as peer:
        digest = bytes.fromhex(own.schema.digest)
        hello = CORE.Hello(protocol=1, client="own", schema_digest=digest)
        peer.send(peer._connection.send(hello))
        await peer.until("NeedContracts")
        again = CORE.Hello(protocol=1, client="own", schema_digest=digest, contracts=document_bytes(own.schema))
        peer.send(peer._connection.send(again))
        await peer.until("Welcome")
        peer.send(CORE.Confirm(enabled=True), frame(own.Job(1)), frame(own.Extra(1)), frame(own.Extra(2)))
        events = await peer.barrier()
        errors = [one for one in events if type(one).__name__ == "Error"]
        assert [(one.code, one.type_id, one.sequence) for one in errors] == [(8, 1500, 2)]
        assert [one for one in events if one not in errors] == [receipt(1, 1, 0, 0), receipt(2, 3, 0, 0, 0, 8)]
