"""Publishers that wait for room inside a process: for how long, in which order, and not for themselves."""

import asyncio

import pytest
from gates import TEXT, counters, gated

import mycelium
from mycelium import BackpressureTimeout, MessageBus, WouldDeadlock
from peers import until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


@pytest.fixture
def bus(types):
    return MessageBus(types, block_timeout=0.05)


async def test_p45_publish_waits_for_room_and_goes_on_when_there_is_some(types):
    bus = MessageBus(types)
    gate, subscription = await gated(bus, types.Job, on_lag="block", queue=2)
    published = []

    async def publish():
        for number in range(6):
            await bus.publish(types.Job(number))
            published.append(number)

    publishing = asyncio.ensure_future(publish())
    for _ in range(10):
        await asyncio.sleep(0)
    assert published == [0, 1]
    assert counters(subscription) == (4, 0, {}, 3, 1)
    gate.open()
    await publishing
    await until(lambda: len(gate.got) == 6 and not gate.inside)
    assert gate.got == [0, 1, 2, 3, 4, 5]
    assert counters(subscription) == (7, 7, {}, 0, 0)
    assert bus.stats().blocked_seconds > 0


async def test_p45_without_room_in_time_the_publisher_is_told_who_has_it(bus, types):
    got = []
    await bus.subscribe(lambda one: got.append(one.number), types.Job)
    gate, subscription = await gated(bus, types.Job, on_lag="block", queue=1)
    await bus.publish(types.Job(1))
    start = asyncio.get_running_loop().time()
    with pytest.raises(BackpressureTimeout, match=r"no room within 0.05 s; 1 others have the message") as timeout:
        await bus.publish(types.Job(2))
    assert 0.045 <= asyncio.get_running_loop().time() - start < 1
    assert timeout.value.enqueued == 1
    assert got == [0, 1, 2]
    assert counters(subscription) == (3, 0, {"block_timeout": 1}, 1, 1)
    assert bus.stats().blocked_seconds == pytest.approx(0.05, abs=0.04)
    gate.open()
    await until(lambda: gate.got == [1])


async def test_p45_a_publish_that_is_cancelled_says_what_became_of_the_message(types):
    bus = MessageBus(types)
    gates = [(await gated(bus, types.Job, on_lag="block", queue=1)) for _ in range(1)]
    gate, subscription = gates[0]
    await bus.publish(types.Job(1))
    publishing = asyncio.ensure_future(bus.publish(types.Job(2)))
    for _ in range(3):
        await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await publishing
    note = "publish was cancelled: 1 full subscriptions do not get the message, all others have it"
    assert cancelled.value.__notes__ == [note]
    assert counters(subscription) == (3, 0, {"block_timeout": 1}, 1, 1)
    gate.open()
    await until(lambda: gate.got == [1])
    await bus.publish(types.Job(3))
    await until(lambda: gate.got == [1, 3])


async def test_p45_blocked_publishers_are_served_in_their_order(types):
    bus = MessageBus(types)
    gate, _ = await gated(bus, types.Job, on_lag="block", queue=1)
    publishing = [asyncio.ensure_future(bus.publish(types.Job(number))) for number in range(1, 8)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*publishing)
    await until(lambda: len(gate.got) == 7)
    assert gate.got == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("kind", ["handler", "iterator"])
async def test_p45_the_end_of_a_subscription_lets_its_publishers_go_at_once(types, kind):
    bus = MessageBus(types, block_timeout=20)
    if kind == "handler":
        gate, subscription = await gated(bus, types.Job, on_lag="block", queue=1)
        gate.open()
        await until(lambda: not gate.inside)
        gate._open.clear()
        bus.publish_nowait(types.Job(0))
        await until(lambda: gate.inside)
    else:
        subscription = bus._subscribe(
            None, None, (types.Job,), None, mycelium.bus.options.options_of(on_lag="block", queue=1)
        )
    await bus.publish(types.Job(1))
    publishing = asyncio.ensure_future(bus.publish(types.Job(2)))
    await asyncio.sleep(0)
    subscription.close()
    async with asyncio.timeout(1):
        await publishing
    if kind == "handler":
        gate.open()
        await until(lambda: not gate.inside)
    else:
        assert (await subscription.next()).number == 1
    assert counters(subscription)[2]["disconnected"] == (2 if kind == "handler" else 1)
    assert counters(subscription)[3:] == (0, 0)


async def test_p45_a_handler_that_would_wait_for_itself_is_told_at_once(types):
    bus = MessageBus(types)
    told, done = [], asyncio.Event()

    async def handler(message):
        if message.number:
            return
        for number in range(1, 4):
            try:
                await bus.publish(types.Job(number))
            except WouldDeadlock as error:
                told.append(str(error))
        done.set()

    await bus.subscribe(handler, types.Job, on_lag="block", queue=2)
    async with asyncio.timeout(1):
        await bus.publish(types.Job(0))
        await done.wait()
    (text,) = told
    assert text.startswith("a handler of Job waits for room in its own queue of Job; publish from a task of its own")


async def test_p45_a_task_of_its_own_may_publish_into_the_full_queue_of_its_handler(types):
    bus = MessageBus(types)
    tasks, got = [], []

    async def handler(message):
        got.append(message.number)
        if not message.number:
            tasks.extend(asyncio.ensure_future(bus.publish(types.Job(number))) for number in range(1, 5))
            await asyncio.sleep(0)

    await bus.subscribe(handler, types.Job, on_lag="block", queue=1)
    await bus.publish(types.Job(0))
    await until(lambda: len(got) == 5)
    await asyncio.gather(*tasks)
    assert got == [0, 1, 2, 3, 4]


async def test_a_block_queue_keeps_its_order_when_others_of_its_messages_only_drop(types):
    """A message that goes by `latest` comes behind those that wait for room, and takes nobody's place but its own."""
    bus = MessageBus(
        mycelium.load(TEXT.replace("Job: {tlv_type: 1000,", "Job: {tlv_type: 1000, qos: {on_lag: block},"))
    )
    types = bus.contracts
    stream = bus.messages(types.Job, types.Tick, queue=2)
    async with stream:
        publishing = [asyncio.ensure_future(bus.publish(types.Job(number))) for number in range(4)]
        await asyncio.sleep(0)
        for number in (10, 11, 12):
            bus.publish_nowait(types.Tick(1, number))
        await asyncio.sleep(0)
        got = [(await stream.next(1)).number for _ in range(4)]
        await asyncio.gather(*publishing)
        assert got == [1, 2, 3, 12]
        assert stream.stats().dropped == {"dropped_oldest": 1, "conflated": 2}
        assert stream.stats().balanced
