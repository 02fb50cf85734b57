"""Delivery inside a process: who gets a message, handlers side by side, last values, receipts and the end, exactly."""

import asyncio
import gc

import pytest
from gates import TEXT, Gate, counters, gated

import mycelium
from mycelium import ClosedError, Delivery, DrainTimeout, MessageBus, NoSubscribers, Receipt
from mycelium.events import HandlerFailing
from peers import until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


@pytest.fixture
def bus(types):
    return MessageBus(types, block_timeout=0.05)


# --- handlers ---


async def test_on_error_gets_the_error_and_the_message_and_may_itself_fail(bus, types, caplog):
    got = []

    def on_error(error, message):
        got.append((str(error), message.number))
        raise RuntimeError("in on_error")

    async def handler(message):
        raise ValueError(message.number)

    subscription = await bus.subscribe(handler, types.Job, on_error=on_error)
    for number in range(3):
        bus.publish_nowait(types.Job(number))
    await until(lambda: len(got) == 3)
    assert got == [("0", 0), ("1", 1), ("2", 2)]
    await until(lambda: counters(subscription) == (3, 3, {}, 0, 0))


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_hundred_failures_in_a_row_are_an_event_and_ninety_nine_are_none(bus, types, caplog, is_async):
    caplog.set_level("CRITICAL")
    events, count = bus.events(), 0

    def fail(message):
        nonlocal count
        count += 1
        if message.number != 99:
            raise KeyError(message.number)

    async def fail_later(message):
        fail(message)

    subscription = await bus.subscribe(fail_later if is_async else fail, types.Job)
    for number in range(350):
        bus.publish_nowait(types.Job(number))
    await until(lambda: count == 350)
    assert await events.next(1) == HandlerFailing(subscription.name, 100, "KeyError")
    with pytest.raises(TimeoutError):
        await events.next(0.01)


async def test_concurrency_runs_so_many_at_a_time_and_keeps_the_order_of_each_key(bus, types):
    most, running, order, active = 0, 0, {}, set()

    async def handler(task):
        nonlocal most, running
        assert task.id not in active
        active.add(task.id)
        running += 1
        most = max(most, running)
        for _ in range((task.number * 7) % 5 + 1):
            await asyncio.sleep(0)
        order.setdefault(task.id, []).append(task.number)
        running -= 1
        active.discard(task.id)

    subscription = await bus.subscribe(handler, types.Task, concurrency=3)
    for number in range(200):
        bus.publish_nowait(types.Task(number * number % 7, number))
    await until(lambda: sum(map(len, order.values())) == 200)
    assert most == 3
    assert all(numbers == sorted(numbers) for numbers in order.values())
    await until(lambda: counters(subscription) == (200, 200, {}, 0, 0))


async def test_concurrency_without_a_key_takes_messages_in_any_hand(bus, types):
    gate = Gate()
    subscription = await bus.subscribe(gate, types.Job, concurrency=4, queue=2)
    for number in range(8):
        bus.publish_nowait(types.Job(number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert gate.inside == 4
    assert counters(subscription) == (8, 0, {"dropped_oldest": 2}, 2, 4)
    gate.open()
    await until(lambda: counters(subscription) == (8, 6, {"dropped_oldest": 2}, 0, 0))


# --- groups ---


async def test_of_a_group_one_gets_each_message_and_others_get_all(bus, types):
    hands = [[] for _ in range(3)]
    everything = []
    for hand in hands:
        await bus.subscribe(lambda one, hand=hand: hand.append(one.number), types.Job, group="workers")
    await bus.subscribe(lambda one: everything.append(one.number), types.Job)
    other = []
    await bus.subscribe(lambda one: other.append(one.number), types.Job, group="others")
    for number in range(9):
        assert await bus.publish(types.Job(number), confirm=True) == Receipt(number + 1, 3, 3, 0)
    assert hands == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert everything == other == [*range(9)]
    stats = bus.stats()
    assert (stats.matched, stats.delivered, stats.published) == (27, 27, 9)


async def test_a_member_that_is_busy_is_passed_over(bus, types):
    gate, got = Gate(), []
    await bus.subscribe(gate, types.Job, group="g")

    async def quick(one):
        got.append(one.number)

    await bus.subscribe(quick, types.Job, group="g")
    for number in range(6):
        await bus.publish(types.Job(number))
        await until(lambda number=number: number in gate.got or number in got)
        await asyncio.sleep(0)
    assert (gate.got, got) == ([0], [1, 2, 3, 4, 5])
    gate.open()
    await bus.close()


async def test_who_leaves_a_group_leaves_its_turns_to_the_others(bus, types):
    hands = [[], []]
    members = [await bus.subscribe(hand.append, types.Job, group="g") for hand in hands]
    await members[0].unsubscribe()
    for number in range(3):
        await bus.publish(types.Job(number))
    assert list(map(len, hands)) == [0, 3]
    await members[1].unsubscribe()
    with pytest.raises(NoSubscribers):
        await bus.publish(types.Job(3), mandatory=True)


# --- last values ---


async def test_a_new_subscriber_gets_the_last_value_of_each_key_before_anything_newer(bus, types):
    for number, key in enumerate([1, 2, 1, 3]):
        bus.publish_nowait(types.State(key, number))
    bus.publish_nowait(types.Mode(7))
    bus.publish_nowait(types.Mode(8))
    assert bus.stats().retained == 4
    got = []

    def handler(message, delivery: Delivery):
        got.append((message.number, delivery.retained))

    subscription = await bus.subscribe(handler, types.State, types.Mode)
    last = [(1, True), (2, True), (3, True), (8, True)]
    assert got == last
    bus.publish_nowait(types.State(1, 9))
    assert got == [*last, (9, False)]
    assert counters(subscription) == (5, 5, {}, 0, 0)


async def test_an_iterator_gets_last_values_first_and_they_need_no_room(bus, types):
    for key in range(5):
        bus.publish_nowait(types.State(key, key))
    async with bus.messages(types.State, queue=2) as stream:
        bus.publish_nowait(types.State(0, 10))
        assert counters(stream) == (1, 0, {}, 1, 0)
        assert [(await stream.next()).number for _ in range(6)] == [0, 1, 2, 3, 4, 10]
        assert counters(stream) == (6, 6, {}, 0, 0)


async def test_an_async_handler_gets_last_values_in_its_own_time(bus, types):
    bus.publish_nowait(types.Mode(1))
    gate = Gate()
    subscription = await bus.subscribe(gate, types.Mode, queue=1)
    bus.publish_nowait(types.Mode(2))
    gate.open()
    await until(lambda: counters(subscription) == (2, 2, {}, 0, 0))
    assert gate.got == [1, 2]


async def test_last_values_of_a_handler_that_is_gone_count_nowhere(bus, types):
    for key in range(3):
        bus.publish_nowait(types.State(key, key))
    gate = Gate()
    subscription = await bus.subscribe(gate, types.State)
    await until(lambda: gate.inside)
    subscription.close()
    gate.open()
    await until(lambda: not gate.inside)
    assert counters(subscription) == (1, 1, {}, 0, 0)


# --- no echo ---


async def test_p30_no_echo_leaves_out_what_this_bus_publishes(bus, types):
    got, quiet = [], []
    await bus.subscribe(got.append, types.Job)
    subscription = await bus.subscribe(quiet.append, types.Job, no_echo=True)
    await bus.subscribe(quiet.append, types.Job, no_echo=True, group="g")
    assert await bus.publish(types.Job(1), confirm=True) == Receipt(1, 1, 1, 0)
    assert (len(got), quiet, subscription.stats().matched) == (1, [], 0)


# --- receipts and mandatory ---


async def test_a_receipt_says_how_many_took_the_message_and_counts_from_one(bus, types):
    assert await bus.publish(types.Job(0), confirm=True) == Receipt(1, 0, 0, 0)
    gate, _ = await gated(bus, types.Job, on_lag="drop_newest", queue=1)
    await bus.subscribe(lambda _: None, types.Job)
    assert await bus.publish(types.Job(1), confirm=True) == Receipt(2, 2, 2, 0)
    assert await bus.publish(types.Job(2), confirm=True) == Receipt(3, 2, 1, 1)
    assert await bus.publish(types.Job(3)) is None
    gate.open()
    await bus.close()


async def test_p64_mandatory_needs_somebody_who_wants_this_type(bus, types):
    await bus.subscribe(lambda _: None, types.Tick)
    with pytest.raises(NoSubscribers, match="nobody has subscribed to Job"):
        await bus.publish(types.Job(1), mandatory=True)
    await bus.subscribe(lambda _: None, types.Job)
    assert (await bus.publish(types.Job(1), mandatory=True)).enqueued == 1


# --- the end ---


async def test_p87_a_drain_that_takes_too_long_says_what_was_left(bus, types):
    _, subscription = await gated(bus, types.Job)
    for number in range(3):
        bus.publish_nowait(types.Job(number))
    with pytest.raises(DrainTimeout) as late:
        await bus.drain(timeout=0.01)
    assert (late.value.undelivered, late.value.unconfirmed) == (4, 0)
    with pytest.raises(ClosedError):
        bus.publish_nowait(types.Job(9))
    assert counters(subscription) == (4, 1, {"disconnected": 3}, 0, 0)


async def test_p86_a_drain_handles_everything_first(bus, types):
    got = []

    async def handler(one):
        await asyncio.sleep(0)
        got.append(one.number)

    await bus.subscribe(handler, types.Job)
    for number in range(100):
        bus.publish_nowait(types.Job(number))
    await asyncio.gather(*(bus.drain() for _ in range(3)))
    assert got == [*range(100)]


async def test_the_sums_hold_exactly_with_subscriptions_that_have_ended(bus, types):
    gate, stuck = await gated(bus, types.Job, queue=3)
    gone, _ = await gated(bus, types.Job, queue=2)
    sync = await bus.subscribe(lambda _: None, types.Job)
    for number in range(10):
        bus.publish_nowait(types.Job(number))
    await sync.unsubscribe()
    bus.publish_nowait(types.Job(10))
    gone.open()
    await until(lambda: len(gone.got) == 2)
    stats = bus.stats()
    assert stats.balanced
    # 13 of the first, which got the second's opening message too; 12 of the second; 10 of the sync one
    assert (stats.published, stats.matched, stats.delivered) == (13, 13 + 12 + 10, 3 + 10)
    assert (stats.dropped, stats.queued, stats.in_flight) == ({"dropped_oldest": 9 + 9}, 3, 1)
    assert (stats.subscriptions, stats.sessions) == (2, 0)
    gate.open()
    await stuck.unsubscribe()
    after = bus.stats()
    assert after.balanced
    assert (after.matched, after.queued, after.in_flight, after.subscriptions) == (35, 0, 0, 1)
    assert after.dropped == {"dropped_oldest": 18, "disconnected": 3}


async def test_a_bus_that_is_thrown_away_leaves_nothing_behind(types):
    async def use():
        bus = MessageBus(types)
        for _ in range(3):
            await bus.subscribe(lambda _: None, types.Job, on_lag="block")
        await bus.publish(types.Job(1))
        await bus.close()

    def subscriptions():
        return [one for one in gc.get_objects() if type(one).__name__ == "LocalSubscription"]

    before = subscriptions()  # other tests may have left some to a traceback that somebody still holds
    await use()
    gc.collect()
    assert [one for one in subscriptions() if not any(one is other for other in before)] == []
