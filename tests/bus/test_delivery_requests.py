"""Requests inside a process: the first reply counts, and who cannot get one learns it."""

import asyncio

import pytest
from gates import TEXT, Gate, counters

import mycelium
from mycelium import Delivery, MessageBus, NoResponders, QueueFull, UsageError
from peers import SECONDS, until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


@pytest.fixture
def bus(types):
    return MessageBus(types, block_timeout=0.05)


async def test_a_request_gets_the_first_reply_and_later_ones_are_counted(bus, types):
    @bus.reply(types.Ask)
    def first(ask):
        return types.Answer(ask.number + 1)

    @bus.reply(types.Ask)
    async def second(ask):
        await asyncio.sleep(0)
        return types.Answer(ask.number + 2)

    assert await bus.request(types.Ask(1), types.Answer) == types.Answer(2)
    await until(lambda: bus.stats().replies_dropped == {"late": 1})
    assert len(bus.exchange.answers.awaited) == 0


async def test_a_request_that_nobody_has_subscribed_to_fails_at_once(bus, types):
    with pytest.raises(NoResponders, match="nobody answers Ask"):
        await bus.request(types.Ask(1), types.Answer)
    await bus.subscribe(print, types.Ask, no_echo=True)
    with pytest.raises(NoResponders):
        await bus.request(types.Ask(1), types.Answer)


async def test_a_request_without_a_reply_times_out_and_the_late_one_is_counted(bus, types):
    gate, deliveries = asyncio.Event(), []

    async def handler(_, delivery: Delivery):
        deliveries.append(delivery)
        await gate.wait()
        await delivery.reply(types.Answer(1))

    await bus.subscribe(handler, types.Ask)
    with pytest.raises(TimeoutError, match=r"no Answer came within 0.01 s"):
        await bus.request(types.Ask(1), types.Answer, timeout=0.01)
    gate.set()
    await until(lambda: bus.exchange.answers.awaited.late == 1)
    bus.publish_nowait(types.Ask(2))
    await until(lambda: len(deliveries) == 2)
    assert [one.is_request for one in deliveries] == [True, False]


async def test_a_reply_of_another_type_is_a_clear_error(bus, types):
    bus.reply(types.Ask)(lambda _: types.Job(1))
    with pytest.raises(UsageError, match="Job came as the reply, not Answer"):
        await bus.request(types.Ask(1), types.Answer)


async def test_a_request_to_somebody_without_room_fails_at_once_under_reject(bus, types):
    gate, subscription = Gate(), None
    subscription = await bus.subscribe(gate, types.Ask, on_lag="reject", queue=1)
    bus.publish_nowait(types.Ask(0))
    await until(lambda: gate.inside)
    bus.publish_nowait(types.Ask(1))
    with pytest.raises(QueueFull) as full:
        await bus.request(types.Ask(2), types.Answer, timeout=SECONDS)
    assert full.value.enqueued == 0
    assert counters(subscription) == (3, 0, {"rejected": 1}, 1, 1)
    gate.open()
    await bus.close()


async def test_a_request_that_waits_for_room_is_given_up_with_its_requester(bus, types):
    gate = Gate()
    subscription = await bus.subscribe(gate, types.Ask, on_lag="block", queue=1)
    bus.publish_nowait(types.Ask(0))
    await until(lambda: gate.inside)
    bus.publish_nowait(types.Ask(1))
    with pytest.raises(TimeoutError):
        await bus.request(types.Ask(2), types.Answer, timeout=0.01)
    assert counters(subscription) == (3, 0, {"block_timeout": 1}, 1, 1)
    gate.open()
    await until(lambda: gate.got == [0, 1])
