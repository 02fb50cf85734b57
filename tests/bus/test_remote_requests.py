"""Requests over sockets, frame by frame: who may ask and reply, and what becomes of replies to nobody."""

import asyncio

import pytest
from deliveries import ID, TEXT, counters, frame, pair, plain

import mycelium
from mycelium.wire.metadata import Metadata
from peers import CORE, SECONDS, peer_at, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


async def test_a_reply_reaches_the_asking_session_alone_whether_or_not_it_subscribed(types):
    async with pair(types) as (bus, bridge, asking, answering), peer_at(bridge.urls[0]) as other:
        await other.subscribe(1, [1005])
        await answering.subscribe(1, [1004], window=1)
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        request = await answering.next()
        assert Metadata.from_tags(_tags(types, request)).reply_to == asking.session
        reply = frame(types.Answer(2), correlation=ID, deliver_to=asking.session)
        answering.send(reply)
        got = await asking.next()
        assert got.to_bytes() == reply
        assert await answering.barrier() == []
        answering.send(reply)
        (refused,) = await answering.barrier()
        assert (refused.code, refused.type_id, refused.fatal) == (10, 1005, False)
        assert await other.barrier() == []
        assert (bus.stats().replies, bus.stats().replies_dropped, bus.stats().matched) == (1, {"late": 1}, 1)


def _tags(types, batch):
    tags = {}
    types.registry.by_id[batch.type_ids[0]].codec.decode(batch.payload(0), tags)
    return tags


async def test_replies_to_nobody_are_denied_or_counted(types):
    async with pair(types) as (bus, bridge, asking, answering):
        await answering.subscribe(1, [1004])
        answering.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        (refused,) = await answering.barrier()
        assert refused.code == 10
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        await answering.next()
        await asking.close()
        await until(lambda: len(bridge.sessions) == 1)
        answering.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        assert await answering.barrier() == []
        assert bus.stats().replies_dropped == {"disconnected": 1}


async def test_a_request_that_nobody_wants_is_answered_so_and_its_reply_is_denied(types):
    async with pair(types) as (_, _, asking, other):
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        assert await asking.barrier() == [CORE.NoResponders(correlation=ID)]
        other.send(frame(types.Answer(1), correlation=ID, deliver_to=asking.session))
        (refused,) = await other.barrier()
        assert refused.code == 10


async def test_a_requester_must_not_ask_in_the_name_of_another(types):
    async with pair(types) as (_, _, asking, other):
        await other.subscribe(1, [1004])
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=other.session))
        (refused,) = await asking.barrier()
        assert (refused.code, await other.barrier()) == (10, [])


async def test_the_bridges_own_process_asks_as_session_0_and_answers_clients(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        request = asyncio.ensure_future(bus.request(types.Ask(1), types.Answer, timeout=SECONDS))
        metadata = Metadata.from_tags(_tags(types, await answering.next()))
        assert metadata.reply_to == 0
        reply = frame(types.Answer(2), correlation=metadata.correlation, deliver_to=0)
        answering.send(reply)
        assert (await request).number == 2
        answering.send(reply)
        (refused,) = await answering.barrier()
        assert (refused.code, refused.fatal, refused.message) == (10, False, "somebody has replied to this already")
        assert (bus.stats().replies, bus.stats().replies_dropped) == (1, {"late": 1})
        await answering.close()

        @bus.reply(types.Ask)
        def answer(ask):
            return types.Answer(ask.number + 10)

        asking.send(frame(types.Ask(5), correlation=ID, reply_to=asking.session))
        got = await asking.next()
        assert plain(types, [got]) == [15]
        assert Metadata.from_tags(_tags(types, got)) == Metadata(correlation=ID, deliver_to=asking.session)


async def test_handlers_of_the_process_that_answer_too_late_or_nobody_are_counted(types):
    async with pair(types) as (bus, bridge, asking, leaving):
        gates = {1: asyncio.Event(), 2: asyncio.Event()}

        async def answer(ask, delivery: mycelium.Delivery):
            await gates[ask.number].wait()
            await delivery.reply(types.Answer(ask.number))

        for _ in range(2):
            await bus.subscribe(answer, types.Ask, concurrency=2)
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        leaving.send(frame(types.Ask(2), correlation=ID, reply_to=leaving.session))
        assert (await asking.barrier(), await leaving.barrier()) == ([], [])
        gates[1].set()
        assert plain(types, [await asking.next()]) == [1]
        assert await asking.barrier() == []
        await leaving.close()
        await until(lambda: len(bridge.sessions) == 1)
        gates[2].set()
        await until(lambda: counters(bus) == (4, 4, {}, 0, 0))
        assert (bus.stats().replies, bus.stats().replies_dropped) == (1, {"late": 1, "disconnected": 2})


async def test_a_reply_passes_no_queue_and_no_credit(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        await asking.subscribe(1, [1005], window=1, queue=1)
        for number in range(3):
            bus.publish_nowait(types.Answer(number))
        await asking.next()
        asking.send(frame(types.Ask(1), correlation=ID, reply_to=asking.session))
        await answering.next()
        answering.send(frame(types.Answer(99), correlation=ID, deliver_to=asking.session))
        assert 99 in plain(types, [await asking.next(), *(await asking.barrier())])


async def test_replies_that_come_second_never_send_a_session_away(types):
    async with pair(types) as (bus, _, asking, answering):
        await answering.subscribe(1, [1004])
        asked = bytes(15) + b"\1"
        asking.send(frame(types.Ask(1), correlation=asked, reply_to=asking.session))
        reply = frame(types.Answer(2), correlation=asked, deliver_to=asking.session)
        await answering.next()
        answering.send(*[reply] * 200)
        told = await answering.barrier()
        assert [one.message for one in told] == ["somebody has replied to this already"]
        assert bus.stats().replies_dropped == {"late": 199}
        await answering.barrier()  # it is still there
