"""Delivery inside a process: lag policies, groups, gaps, last values, requests, receipts and the end, exactly."""

import asyncio
import gc

import pytest

import mycelium
from mycelium import (
    BackpressureTimeout,
    ClosedError,
    Delivery,
    DrainTimeout,
    MessageBus,
    NoResponders,
    NoSubscribers,
    QueueFull,
    Receipt,
    UsageError,
    WouldDeadlock,
)
from mycelium.bus.errors import Refused
from mycelium.events import Gap, HandlerFailing, Recovered, SlowConsumer
from peers import SECONDS, until

TEXT = """
messages:
  Job: {tlv_type: 1000, fields: {number: {type: u32}}}
  Tick: {tlv_type: 1001, key: symbol, qos: {on_lag: latest}, fields: {symbol: {type: u8}, number: {type: u32}}}
  State: {tlv_type: 1002, key: id, retain: last, fields: {id: {type: u8}, number: {type: u32}}}
  Mode: {tlv_type: 1003, retain: last, fields: {number: {type: u32}}}
  Ask: {tlv_type: 1004, fields: {number: {type: u32}}}
  Answer: {tlv_type: 1005, fields: {number: {type: u32}}}
  Task: {tlv_type: 1006, key: id, fields: {id: {type: u8}, number: {type: u32}}}
"""


@pytest.fixture
def types():
    return mycelium.load(TEXT)


@pytest.fixture
def bus(types):
    return MessageBus(types, block_timeout=0.05)


class Gate:
    """A handler that takes a message and waits to be let go on."""

    def __init__(self):
        self.got = []
        self.gaps = []
        self._open = asyncio.Event()
        self.inside = 0

    async def __call__(self, message):
        self.got.append(message.number)
        self.inside += 1
        await self._open.wait()
        self.inside -= 1

    def open(self):
        self._open.set()


async def gated(bus, *types, **options):
    """A subscription with a message in its handler."""
    gate = Gate()
    subscription = await bus.subscribe(gate, *types, on_gap=gate.gaps.append, **options)
    bus.publish_nowait(
        types[0](*([0] * (len(types[0].__annotations__) or 1)) if types[0].__name__ == "Job" else (0, 0))
    )
    await until(lambda: gate.got)
    gate.got.clear()
    return gate, subscription


def counters(subscription):
    stats = subscription.stats()
    assert stats.balanced
    return stats.matched, stats.delivered, stats.dropped, stats.queued, stats.in_flight


# --- the six policies ---


@pytest.mark.parametrize(
    ("on_lag", "delivered", "dropped"),
    [
        ("drop_oldest", [6, 7, 8, 9], {"dropped_oldest": 6}),
        (None, [6, 7, 8, 9], {"dropped_oldest": 6}),
        ("drop_newest", [0, 1, 2, 3], {"dropped_newest": 6}),
        ("latest", [9], {"conflated": 9}),
    ],
)
async def test_p44_policies_that_leave_the_publisher_alone(bus, types, on_lag, delivered, dropped):
    gate, subscription = await gated(bus, types.Job, on_lag=on_lag, queue=4)
    for number in range(10):
        bus.publish_nowait(types.Job(number))
    assert counters(subscription) == (11, 0, dropped, len(delivered), 1)
    assert gate.gaps == []
    gate.open()
    await until(lambda: len(gate.got) == len(delivered) and not gate.inside)
    assert gate.got == delivered
    assert counters(subscription) == (11, 1 + len(delivered), dropped, 0, 0)
    ((reason, count),) = dropped.items()
    told = [] if reason == "conflated" else [Gap(("Job",), count, reason, subscription.name)]
    assert gate.gaps == told


async def test_p44_latest_keeps_one_of_each_key_in_the_place_of_the_first(bus, types):
    gate, subscription = await gated(bus, types.Tick, queue=4)
    for number, symbol in enumerate([1, 2, 1, 3, 2, 1, 1, 3, 2, 1]):
        bus.publish_nowait(types.Tick(symbol, number))
    assert counters(subscription) == (11, 0, {"conflated": 7}, 3, 1)
    gate.open()
    await until(lambda: len(gate.got) == 3)
    assert gate.got == [9, 8, 7]


async def test_p44_latest_with_more_keys_than_the_queue_holds_drops_the_oldest(bus, types):
    gate, subscription = await gated(bus, types.Tick, on_lag="latest", queue=4)
    for number in range(10):
        bus.publish_nowait(types.Tick(number, number))
    assert counters(subscription) == (11, 0, {"dropped_oldest": 6}, 4, 1)
    gate.open()
    await until(lambda: len(gate.got) == 4)
    assert gate.got == [6, 7, 8, 9]
    assert gate.gaps == [Gap(("Tick",), 6, "dropped_oldest", subscription.name)]


@pytest.mark.parametrize("on_lag", ["reject", "block"])
async def test_p44_publish_nowait_is_refused_where_a_queue_is_full_and_others_are_served(bus, types, on_lag):
    got, late = [], []
    await bus.subscribe(lambda one: got.append(one.number), types.Job)
    gate, subscription = await gated(bus, types.Job, on_lag=on_lag, queue=4)
    await bus.subscribe(lambda one: late.append(one.number), types.Job)
    for number in range(10):
        if number < 4:
            bus.publish_nowait(types.Job(number))
            continue
        with pytest.raises(QueueFull) as refused:
            bus.publish_nowait(types.Job(number))
        assert refused.value.enqueued == 2
    assert counters(subscription) == (11, 0, {"rejected": 6}, 4, 1)
    gate.open()
    await until(lambda: len(gate.got) == 4)
    assert (gate.got, got, late) == ([0, 1, 2, 3], [0, *range(10)], [*range(10)])
    assert gate.gaps == []


async def test_p44_reject_raises_for_an_awaited_publish_too_and_waits_for_nothing(bus, types):
    gate, _ = await gated(bus, types.Job, on_lag="reject", queue=1)
    await bus.publish(types.Job(1))
    with pytest.raises(QueueFull, match="0 others have the message"):
        await bus.publish(types.Job(2))
    assert bus.stats().blocked_seconds == 0
    gate.open()
    await bus.close()


async def test_p44_disconnect_ends_the_subscription_and_the_publisher_goes_on(bus, types):
    gate, subscription = await gated(bus, types.Job, on_lag="disconnect", queue=4)
    for number in range(10):
        bus.publish_nowait(types.Job(number))
    assert subscription.closed
    assert counters(subscription) == (6, 0, {"disconnected": 5}, 0, 1)
    gate.open()
    await until(lambda: not gate.inside)
    assert counters(subscription) == (6, 1, {"disconnected": 5}, 0, 0)
    stats = bus.stats()
    assert (stats.matched, stats.delivered, stats.dropped) == (6, 1, {"disconnected": 5})


async def test_p44_disconnect_lets_an_iterator_have_what_it_has_and_tells_it_why(bus, types):
    async with bus.messages(types.Job, on_lag="disconnect", queue=4) as stream:
        for number in range(10):
            bus.publish_nowait(types.Job(number))
        assert [(await stream.next()).number for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(Refused, match=r"slow_consumer.*lag policy is disconnect"):
            await stream.next()


async def test_p44_each_message_goes_by_its_own_policy_where_the_subscription_has_none(bus, types):
    gate, subscription = await gated(bus, types.Job, types.Tick, queue=4)
    for number in range(5):
        bus.publish_nowait(types.Job(number))
        bus.publish_nowait(types.Tick(1, 100 + number))
    assert counters(subscription) == (11, 0, {"dropped_oldest": 3, "conflated": 3}, 4, 1)
    gate.open()
    await until(lambda: len(gate.got) == 4)
    assert gate.got == [2, 3, 4, 104]


# --- block ---


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


# --- gaps and episodes ---


async def test_the_policy_that_is_told_is_the_one_that_acts_also_where_the_contract_names_it(bus, types):
    events = bus.events()
    gate, subscription = await gated(bus, types.Tick, queue=1)
    bus.publish_nowait(types.Tick(1, 1))
    bus.publish_nowait(types.Tick(2, 2))
    assert await events.next(1) == SlowConsumer(subscription.name, ("Tick",), "latest", 1)
    gate.open()
    await bus.close()


async def test_p51_fifty_overflows_are_one_episode(bus, types):
    events = bus.events()
    gate, subscription = await gated(bus, types.Job, queue=4)
    for number in range(54):
        bus.publish_nowait(types.Job(number))
    gate.open()
    await until(lambda: len(gate.got) == 4)
    bus.publish_nowait(types.Job(99))
    await until(lambda: len(gate.got) == 5)
    assert counters(subscription)[2] == {"dropped_oldest": 50}
    name = subscription.name
    assert [await events.next(1) for _ in range(3)] == [
        SlowConsumer(name, ("Job",), "drop_oldest", 4),
        Gap(("Job",), 50, "dropped_oldest", name),
        Recovered(name, ("Job",), 50),
    ]
    with pytest.raises(TimeoutError):
        await events.next(0.01)


async def test_gaps_of_each_type_are_told_apart_before_the_next_message(bus, types):
    gate, _ = await gated(bus, types.Job, types.Task, queue=2)
    for number in range(3):
        bus.publish_nowait(types.Job(number))
        bus.publish_nowait(types.Task(1, number))
    gate.open()
    await until(lambda: len(gate.got) == 2)
    assert sorted((one.types, one.count) for one in gate.gaps) == [(("Job",), 2), (("Task",), 2)]


async def test_a_gap_is_told_within_a_second_though_no_message_is_taken(bus, types, monkeypatch):
    monkeypatch.setattr("mycelium.bus.gaps._REPORT_SECONDS", 0.01)
    gate, subscription = await gated(bus, types.Job, queue=1)
    for number in range(3):
        bus.publish_nowait(types.Job(number))
    await until(lambda: gate.gaps)
    assert gate.gaps == [Gap(("Job",), 2, "dropped_oldest", subscription.name)]
    gate.open()
    await subscription.unsubscribe()
    assert len(gate.gaps) == 1


async def test_gaps_inline_stand_where_the_messages_are_missing(bus, types):
    async with bus.messages(types.Job, queue=2, gaps=True) as stream:
        bus.publish_nowait(types.Job(0))
        assert (await stream.next()).number == 0
        for number in range(1, 5):
            bus.publish_nowait(types.Job(number))
        assert await stream.next() == Gap(("Job",), 2, "dropped_oldest", "an iterator")
        assert [(await stream.next()).number for _ in range(2)] == [3, 4]
        assert stream.stats().balanced


async def test_on_gap_that_raises_harms_nobody(bus, types, caplog):
    def fail(_):
        raise ValueError

    async with bus.messages(types.Job, queue=1, on_gap=fail) as stream:
        for number in range(2):
            bus.publish_nowait(types.Job(number))
        assert (await stream.next()).number == 1
    assert "on_gap of an iterator failed" in caplog.text


async def test_nothing_ticks_on_for_a_subscription_that_ended_with_gaps(bus, types):
    stream = bus.messages(types.Job, queue=1)
    async with stream:
        for number in range(2):
            bus.publish_nowait(types.Job(number))
        assert stream._subscription._gaps._timer is not None
    assert stream._subscription._gaps._timer is None


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


# --- requests ---


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
