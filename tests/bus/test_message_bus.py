"""The bus inside a process: order, queues, handlers that fail, iterators that are cancelled, and its end."""

import asyncio
import contextvars
import gc
import logging
import threading

import pytest

import mycelium
from mycelium import ClosedError, Delivery, EncodeError, MessageBus, RuleError, UsageError
from mycelium.bus.options import Options
from mycelium.bus.subscription import LocalSubscription
from peers import SECONDS, until


@pytest.fixture
def bus(contracts):
    return MessageBus(contracts)


@pytest.fixture
def types(contracts):
    return contracts


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


# --- delivery ---


async def test_the_very_object_reaches_every_subscriber(bus, types):
    got = []
    ping = types.Ping(value="x")
    await bus.subscribe(got.append, types.Ping)
    await bus.subscribe(got.append, types.Ping)
    async with bus.messages(types.Ping) as stream:
        await bus.publish(ping)
        got.append(await stream.next(timeout=SECONDS))
    assert len(got) == 3
    assert all(one is ping for one in got)


async def test_sync_handlers_have_run_when_publish_nowait_returns(bus, types):
    got = []
    await bus.subscribe(got.append, types.Ping)
    bus.publish_nowait(types.Ping(value="x"))
    assert got == [types.Ping(value="x")]


async def test_nobody_gets_what_it_did_not_subscribe_to(bus, types):
    pings, both, topic = [], [], []
    await bus.subscribe(pings.append, types.Ping)
    await bus.subscribe(both.append, types.Ping, types.Pong)
    await bus.subscribe(topic.append, topic="examples")
    messages = [types.Ping(value="1"), types.Pong(value="2"), types.CounterUpdate(1, 2, 3)]
    for message in messages:
        bus.publish_nowait(message)
    assert (pings, both, topic) == (messages[:1], messages[:2], messages)


async def test_types_come_from_the_annotation(bus, types):
    got = []

    def handler(message: "Ping | Pong", delivery: Delivery):  # noqa: F821
        got.append((message, delivery))

    await bus.subscribe(handler)
    bus.publish_nowait(types.Pong(value="x"))
    ((message, delivery),) = got
    assert (message, delivery.publisher, delivery.sequence, delivery.retained) == (types.Pong(value="x"), 0, 1, False)


async def test_order_holds_over_all_types_also_for_a_publish_from_inside_a_delivery(bus, types):
    first, second = [], []

    def relay(message):
        first.append(message.value)
        if isinstance(message, types.Ping) and message.value == "1":
            bus.publish_nowait(types.Pong(value="from inside"))
            bus.publish_nowait(types.Ping(value="2"))
            first.append("returned")

    await bus.subscribe(relay, types.Ping, types.Pong)
    await bus.subscribe(lambda message: second.append(message.value), types.Ping, types.Pong)
    bus.publish_nowait(types.Ping(value="1"))
    assert first == ["1", "returned", "from inside", "2"]
    assert second == ["1", "from inside", "2"]


async def test_async_handlers_and_iterators_see_the_same_order(bus, types):
    got = []

    async def slow(message):
        await asyncio.sleep(0)
        got.append(message.value)

    await bus.subscribe(slow, types.Ping, types.Pong)
    async with bus.messages(types.Ping, types.Pong) as stream:
        for number in range(100):
            bus.publish_nowait((types.Ping, types.Pong)[number % 2](value=str(number)))
        assert [(await stream.next()).value for _ in range(100)] == [str(number) for number in range(100)]
    await until(lambda: len(got) == 100)
    assert got == [str(number) for number in range(100)]


async def test_an_async_handler_gets_one_message_at_a_time(bus, types):
    inside = most = done = 0

    async def handler(_):
        nonlocal inside, most, done
        inside += 1
        most = max(most, inside)
        await turns(2)
        inside -= 1
        done += 1

    await bus.subscribe(handler, types.Ping)
    for _ in range(20):
        bus.publish_nowait(types.Ping(value=""))
    await until(lambda: done == 20)
    assert most == 1


async def test_a_message_is_checked_before_the_first_subscriber_sees_it(bus, types):
    got = []
    await bus.subscribe(got.append, types.Ping, types.TextMessage)
    with pytest.raises(EncodeError, match="Ping.value"):
        bus.publish_nowait(types.Ping(value=5))
    with pytest.raises(RuleError, match="TextMessage.sender"):
        await bus.publish(types.TextMessage(sender="", content="x", timestamp=1))
    assert got == []


async def test_monotonic_fields_are_checked_by_the_publishing_bus():
    contracts = mycelium.load(
        "messages:\n  Tick: {tlv_type: 1000, fields: {at: {type: u8, validation: [{monotonic: true}]}}}\n"
    )
    bus = MessageBus(contracts)
    bus.publish_nowait(contracts.Tick(at=2))
    with pytest.raises(RuleError, match="monotonic"):
        bus.publish_nowait(contracts.Tick(at=1))


@pytest.mark.parametrize("what", ["message of other contracts", "no message at all", "a class"])
async def test_what_is_no_message_of_these_contracts_is_refused(bus, types, what):
    other = mycelium.load("messages:\n  Ping: {tlv_type: 1010, fields: {value: {type: String}}}\n")
    wrong, problem = {
        "message of other contracts": (other.Ping(value="x"), "is not of <Contracts"),
        "no message at all": ("x", "'x' is no message; construct one from the contracts"),
        "a class": (types.Ping, r"Ping is a class; publish a message of it, Ping\(…\)"),
    }[what]
    with pytest.raises(UsageError, match=problem):
        bus.publish_nowait(wrong)


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ((), {}, "has no annotated parameter"),
        (("Ping",), {"topic": "examples"}, "give message types or a topic, not both"),
        ((), {"topic": "nope"}, "no message has the topic 'nope'; there are: examples"),
        (("Ping",), {"queue": 0}, "a queue of 0 messages lets none through; give at least 1"),
        (("Ping",), {"window": -1}, "a window of -1 messages lets none through; give at least 1"),
        *((("Ping",), {"group": group}, "a name of 1 to 128 printable") for group in ("", "g" * 129, "g\0", 7)),
    ],
)
async def test_subscriptions_that_mean_nothing_are_refused(bus, types, arguments, options, problem):
    with pytest.raises(UsageError, match=problem):
        await bus.subscribe(lambda _: None, *(types[name] for name in arguments), **options)


async def test_types_that_are_none_are_refused(bus):
    with pytest.raises(UsageError, match="<class 'int'> is no message type"):
        await bus.subscribe(print, int)
    with pytest.raises(UsageError, match="messages.. needs a type or a topic"):
        await bus.messages().next()


async def test_p84_a_publish_from_another_thread_is_a_clear_error(bus, types):
    await bus.subscribe(print, types.Ping)
    errors = []

    def publish():
        try:
            bus.publish_nowait(types.Ping(value="x"))
        except UsageError as error:
            errors.append(str(error))

    def subscribe():
        try:
            asyncio.run(bus.subscribe(print, types.Ping))
        except UsageError as error:
            errors.append(str(error))

    for call in (publish, subscribe):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert errors == ["a bus belongs to one thread; use loop.call_soon_threadsafe(bus.publish_nowait, message)"] * 2


async def test_a_loop_of_publishes_lets_async_handlers_run(bus, types):
    done = 0

    async def handler(_):
        nonlocal done
        done += 1

    subscription = await bus.subscribe(handler, types.Ping)
    for _ in range(20_000):
        await bus.publish(types.Ping(value=""))
    await until(lambda: done == 20_000)
    assert subscription.stats().dropped == {}


# --- handlers that fail ---


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError], ids=["error", "cancelled"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_p77_a_handler_that_raises_keeps_its_subscription(bus, types, caplog, kind, error):
    got = []

    def fail(message):
        got.append(message.value)
        if message.value in ("1", "2"):
            raise error("no")  # a new one: what is kept of it holds the bus

    async def fail_slowly(message):
        fail(message)

    subscription = await bus.subscribe(fail if kind == "sync" else fail_slowly, types.Ping)
    for number in range(5):
        bus.publish_nowait(types.Ping(value=str(number)))
    await until(lambda: len(got) == 5)
    assert got == ["0", "1", "2", "3", "4"]
    assert subscription.failures == 2
    told = f"handler {subscription.handler.name} failed on Ping"
    assert [record.getMessage() for record in caplog.records] == [told]  # one line a second
    assert subscription.stats().delivered == 5
    assert subscription.stats().balanced


async def test_a_handler_that_waits_for_something_cancelled_lives_on(bus, types, caplog):
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    got = []

    async def handler(message):
        got.append(message)
        await cancelled

    await bus.subscribe(handler, types.Ping)
    for _ in range(3):
        bus.publish_nowait(types.Ping(value=""))
    await until(lambda: len(got) == 3)


async def test_a_failing_handler_does_not_keep_others_from_their_messages(bus, types, caplog):
    got = []

    def fail(_):
        raise ValueError

    await bus.subscribe(fail, types.Ping)
    await bus.subscribe(got.append, types.Ping)
    bus.publish_nowait(types.Ping(value="x"))
    assert len(got) == 1


async def test_a_sync_function_that_gives_a_coroutine_is_told_so(bus, types, caplog):
    async def work(_): ...

    await bus.subscribe(lambda message: work(message), types.Ping)  # noqa: PLW0108  it hides that work is async
    bus.publish_nowait(types.Ping(value="x"))
    assert "gave a coroutine; write `async def`, or await it there" in caplog.text


async def test_a_step_that_fails_in_the_middle_leaves_the_bus_usable(bus, types):
    got = []

    def interrupt(message):
        if message.value == "stop":
            raise KeyboardInterrupt

    await bus.subscribe(interrupt, types.Ping)
    await bus.subscribe(lambda message: got.append(message.value), types.Ping)
    with pytest.raises(KeyboardInterrupt):
        bus.publish_nowait(types.Ping(value="stop"))
    bus.publish_nowait(types.Ping(value="on"))
    assert got == ["on"]
    relay = await bus.subscribe(lambda _: bus.publish_nowait(types.Ping(value="stop")), types.Pong)
    with pytest.raises(KeyboardInterrupt):
        bus.publish_nowait(types.Pong(value="x"))
    bus.publish_nowait(types.Ping(value="on"))
    assert got == ["on", "on"]
    assert relay.stats().balanced


async def test_a_handler_sees_the_context_in_which_it_was_subscribed(bus, types):
    request = contextvars.ContextVar("request", default="nobody")
    got = []

    async def handler(_):
        got.append(request.get())

    request.set("subscriber")
    await bus.subscribe(handler, types.Ping)
    request.set("publisher")
    bus.publish_nowait(types.Ping(value=""))
    await until(lambda: got)
    assert got == ["subscriber"]


# --- queues ---


async def test_p44_a_full_queue_drops_its_oldest_and_counts_them(bus, types):
    gate, got = asyncio.Event(), []

    async def handler(message):
        got.append(message.value)
        await gate.wait()

    subscription = await bus.subscribe(handler, types.Ping, queue=4)
    bus.publish_nowait(types.Ping(value="in the handler"))
    await until(lambda: got)
    for number in range(10):
        bus.publish_nowait(types.Ping(value=str(number)))
    stats = subscription.stats()
    assert (stats.matched, stats.dropped, stats.queued, stats.in_flight) == (11, {"dropped_oldest": 6}, 4, 1)
    assert stats.balanced
    gate.set()
    await until(lambda: len(got) == 5)
    assert got == ["in the handler", "6", "7", "8", "9"]
    assert subscription.stats().delivered == 5


async def test_an_iterators_queue_is_bounded_too(bus, types):
    async with bus.messages(types.Ping, queue=3) as stream:
        for number in range(5):
            bus.publish_nowait(types.Ping(value=str(number)))
        assert [(await stream.next()).value for _ in range(3)] == ["2", "3", "4"]
        assert stream.stats().dropped == {"dropped_oldest": 2}


async def test_an_idle_subscription_has_no_task(bus, types):
    async def handler(_): ...

    await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    assert len(asyncio.all_tasks()) == 2
    await until(lambda: len(asyncio.all_tasks()) == 1)


# --- iterators ---


async def test_messages_are_iterated_and_the_end_of_the_block_unsubscribes(bus, types):
    async with bus.messages(types.Ping) as stream:
        for number in range(3):
            bus.publish_nowait(types.Ping(value=str(number)))
        got = []
        async for message in stream:
            got.append(message.value)
            if len(got) == 3:
                break
    assert got == ["0", "1", "2"]
    assert repr(bus).endswith(", 0 subscriptions>")
    with pytest.raises(ClosedError):
        await stream.next()
    assert [message async for message in stream] == []


async def test_a_plain_loop_unsubscribes_when_it_is_left(bus, types):
    async def publish():
        await until(lambda: bus._dispatcher.subscriptions)
        bus.publish_nowait(types.Ping(value="x"))

    publishing = asyncio.ensure_future(publish())
    async for message in bus.messages(types.Ping):
        assert message.value == "x"
        break
    await publishing
    gc.collect()
    await turns()
    assert not bus._dispatcher.subscriptions


async def test_next_times_out_and_takes_nothing(bus, types):
    async with bus.messages(types.Ping) as stream:
        with pytest.raises(TimeoutError):
            await stream.next(timeout=0)
        with pytest.raises(TimeoutError):
            await stream.next(timeout=0.01)
        bus.publish_nowait(types.Ping(value="x"))
        assert await stream.next(timeout=0) == types.Ping(value="x")


async def test_p81_ten_thousand_cancel_races_lose_nothing_and_double_nothing(bus, types):
    asyncio.get_running_loop().set_debug(False)  # it would take ten times as long
    got, sent = [], 0
    async with bus.messages(types.CounterUpdate) as stream:
        while sent < 10_000:
            waiting = asyncio.ensure_future(stream.next(timeout=SECONDS if sent % 3 else 0))
            for _ in range(sent % 4):
                await asyncio.sleep(0)
            bus.publish_nowait(types.CounterUpdate(sent, 0, 0))
            sent += 1
            if sent % 5:
                waiting.cancel()
            (result,) = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(result, types.CounterUpdate):
                got.append(result.counter_id)
        while stream.stats().queued:
            got.append((await stream.next()).counter_id)
    assert got == list(range(10_000))


async def test_p81_timeouts_that_race_with_arrivals_take_a_message_or_leave_it(bus, types):
    got = []
    async with bus.messages(types.CounterUpdate) as stream:
        for number in range(300):
            asyncio.get_running_loop().call_later(0.0005, bus.publish_nowait, types.CounterUpdate(number, 0, 0))
            try:
                got.append((await stream.next(timeout=0.0005)).counter_id)
            except TimeoutError:
                got.append((await stream.next(timeout=SECONDS)).counter_id)
    assert got == list(range(300))


async def test_concurrent_callers_of_next_share_the_messages(bus, types):
    stream = bus.messages(types.CounterUpdate)
    takers = [asyncio.ensure_future(stream.next(timeout=SECONDS)) for _ in range(50)]
    await turns(60)
    assert len(bus._dispatcher.subscriptions) == 1
    takers[7].cancel()
    for number in range(49):
        bus.publish_nowait(types.CounterUpdate(number, 0, 0))
    results = await asyncio.gather(*takers, return_exceptions=True)
    assert sorted(one.counter_id for one in results if isinstance(one, types.CounterUpdate)) == list(range(49))
    await stream.aclose()


async def test_several_tasks_on_one_iterator_share_its_messages(bus, types):
    got = []

    async def take(stream):
        async for message in stream:
            got.append(message.counter_id)
            await asyncio.sleep(0)

    async with bus.messages(types.CounterUpdate) as stream:
        tasks = [asyncio.ensure_future(take(stream)) for _ in range(5)]
        for number in range(200):
            await bus.publish(types.CounterUpdate(number, 0, 0))
        await until(lambda: len(got) == 200)
    await asyncio.gather(*tasks)
    assert sorted(got) == list(range(200))


async def test_a_consumer_with_a_full_queue_lets_others_run(bus, types):
    async with bus.messages(types.CounterUpdate) as stream:
        for number in range(1000):
            bus.publish_nowait(types.CounterUpdate(number, 0, 0))
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, True)  # noqa: FBT003
        for number in range(200):
            assert (await stream.next()).counter_id == number
        assert ran


async def test_stats_of_a_stream_need_it_to_have_begun(bus, types):
    with pytest.raises(ClosedError, match="has not begun"):
        bus.messages(types.Ping).stats()


async def test_a_stream_that_was_closed_before_it_began_stays_closed(bus, types):
    stream = bus.messages(types.Ping)
    await stream.aclose()
    with pytest.raises(ClosedError):
        await stream.next()
    assert repr(stream) == "<Stream that has not begun>"


# --- unsubscribing ---


async def test_nothing_follows_unsubscribe(bus, types):
    got = []
    subscription = await bus.subscribe(got.append, types.Ping)
    bus.publish_nowait(types.Ping(value="1"))
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    bus.publish_nowait(types.Ping(value="2"))
    assert [message.value for message in got] == ["1"]
    assert subscription.closed


async def test_a_handler_finishes_the_message_that_it_has_and_gets_no_other(bus, types):
    gate, got = asyncio.Event(), []

    async def handler(message):
        await gate.wait()
        got.append(message.value)

    subscription = await bus.subscribe(handler, types.Ping)
    for number in range(3):
        bus.publish_nowait(types.Ping(value=str(number)))
    await turns()
    leaving = asyncio.ensure_future(subscription.unsubscribe())
    await turns()
    assert not leaving.done()
    gate.set()
    await leaving
    assert got == ["0"]
    stats = subscription.stats()
    assert (stats.delivered, stats.dropped) == (1, {"disconnected": 2})
    assert stats.balanced


async def test_a_handler_that_unsubscribes_another_keeps_it_from_the_message_at_hand(bus, types):
    got = []
    subscriptions = []

    def first(_):
        subscriptions[0].close()

    await bus.subscribe(first, types.Ping)
    subscriptions.append(await bus.subscribe(got.append, types.Ping))
    bus.publish_nowait(types.Ping(value="x"))
    assert got == []
    assert subscriptions[0].stats().matched == 0


async def test_p80_unsubscribe_close_and_subscribe_inside_a_handler_return(bus, types):
    done = []

    async def handler(_):
        await bus.subscribe(done.append, types.Pong)
        await subscription.unsubscribe()
        done.append("unsubscribed")
        await bus.close()
        done.append("closed")

    subscription = await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value="x"))
    async with asyncio.timeout(1):
        await until(lambda: done[-1:] == ["closed"])
        await bus.close()
    assert done == ["unsubscribed", "closed"]


async def test_p80_two_handlers_that_both_close_the_bus_return(bus, types):
    done = []

    async def handler(message):
        await bus.close()
        done.append(message.value)

    await bus.subscribe(handler, types.Ping)
    await bus.subscribe(handler, types.Pong)
    bus.publish_nowait(types.Ping(value="1"))
    bus.publish_nowait(types.Pong(value="2"))
    async with asyncio.timeout(1):
        await until(lambda: len(done) == 2)


# --- the end ---


async def test_close_lets_handlers_finish_what_they_have_and_publish_meanwhile(bus, types):
    got = []

    async def relay(message):
        await turns()
        bus.publish_nowait(types.Pong(value=message.value))

    async def take(message):
        await turns()
        got.append(message.value)

    await bus.subscribe(relay, types.Ping)
    await bus.subscribe(take, types.Pong)
    for number in range(10):
        bus.publish_nowait(types.Ping(value=str(number)))
    closing = asyncio.ensure_future(bus.close())
    await turns(1)
    with pytest.raises(ClosedError):
        bus.publish_nowait(types.Ping(value="late"))
    with pytest.raises(ClosedError):
        await bus.subscribe(print, types.Ping)
    await asyncio.gather(closing, bus.close())
    assert got == [str(number) for number in range(10)]


async def test_p88_a_closed_bus_refuses_everything_and_may_be_closed_again(bus, types):
    stream = bus.messages(types.Ping)
    await bus.close()
    await bus.close()
    for refused in (bus.publish(types.Ping(value="x")), bus.subscribe(print, types.Ping), stream.next()):
        with pytest.raises(ClosedError):
            await refused


async def test_close_gives_out_what_an_iterator_has_and_ends_it(bus, types):
    async with bus.messages(types.Ping) as stream:
        bus.publish_nowait(types.Ping(value="x"))
        await bus.close()
        assert [message.value async for message in stream] == ["x"]
        with pytest.raises(ClosedError, match="nothing more comes"):
            await stream.next(timeout=SECONDS)


async def test_close_ends_those_who_wait(bus, types):
    async with bus.messages(types.Ping) as stream:
        waiting = [asyncio.ensure_future(stream.next()) for _ in range(3)]
        await turns()
        await bus.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in results] == [ClosedError] * 3


async def test_a_handler_that_never_returns_is_cancelled_by_close(bus, types, monkeypatch):
    monkeypatch.setattr("mycelium.bus.bus._CLOSE_SECONDS", 0.05)
    cancelled = []

    async def stuck(_):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    subscription = await bus.subscribe(stuck, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    bus.publish_nowait(types.Ping(value=""))
    await turns()
    await bus.close()
    assert cancelled == [True]
    assert subscription.stats().balanced


async def test_a_close_that_is_cancelled_goes_on(bus, types):
    gate = asyncio.Event()

    async def handler(_):
        await gate.wait()

    await bus.subscribe(handler, types.Ping)
    bus.publish_nowait(types.Ping(value=""))
    await turns()
    closing = asyncio.ensure_future(bus.close())
    await turns()
    closing.cancel()
    await asyncio.wait([closing])
    gate.set()
    await bus.close()


# --- one subscription by itself ---


async def test_a_subscription_says_what_it_is(bus, types):
    async def on_ping(_): ...

    subscription = await bus.subscribe(on_ping, types.Ping)
    assert repr(subscription).endswith("on_ping to [1010], 0 queued>")
    await subscription.unsubscribe()
    assert repr(subscription).endswith("on_ping to [1010], closed>")
    assert repr(LocalSubscription(frozenset([1]), None)) == "<Subscription of an iterator to [1], 0 queued>"


async def test_done_is_called_once_for_each_message_whatever_becomes_of_it(types, caplog):
    caplog.set_level(logging.CRITICAL)
    done = []
    subscription = LocalSubscription(frozenset([1010]), None, Options(queue=2))
    for number in range(5):
        subscription.offer(types.Ping(value=str(number)), Delivery(), lambda _, number=number: done.append(number))
    assert done == [0, 1, 2]
    await subscription.next()
    subscription.close()
    subscription.offer(types.Ping(value="late"), Delivery(), lambda _: done.append("late"))
    assert done == [0, 1, 2, 3, 4, "late"]
    assert await subscription.next() == types.Ping(value="4")
    assert done == [0, 1, 2, 3, 4, "late"]


async def test_an_overflow_is_said_once_until_the_queue_has_been_empty_again(contracts, caplog):
    bus = mycelium.MessageBus(contracts)
    async with bus.messages(contracts.Ping, queue=2) as stream:
        for episode in (1, 2):
            for number in range(10):
                bus.publish_nowait(contracts.Ping(str(number)))
            assert caplog.text.count("an iterator is too slow: 2 messages wait, and drop_oldest acts") == episode
            assert [(await stream.next(1)).value, (await stream.next(1)).value] == ["8", "9"]
    await bus.close()
