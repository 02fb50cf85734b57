"""What does not fit into a queue inside a process: the six lag policies, and what is told of gaps."""

import pytest
from gates import TEXT, counters, gated

import mycelium
from mycelium import MessageBus, QueueFull
from mycelium.bus.errors import Refused
from mycelium.events import Gap, Recovered, SlowConsumer
from peers import until


@pytest.fixture
def types():
    return mycelium.load(TEXT)


@pytest.fixture
def bus(types):
    return MessageBus(types, block_timeout=0.05)


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
