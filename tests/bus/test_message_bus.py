"""The bus inside a process: what reaches whom in which order, and handlers that fail."""

import asyncio
import contextvars
import threading

import pytest

import mycelium
from mycelium import Delivery, EncodeError, MessageBus, RuleError, UsageError
from peers import SECONDS, turns, until


@pytest.fixture
def bus(contracts):
    return MessageBus(contracts)


@pytest.fixture
def types(contracts):
    return contracts


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
