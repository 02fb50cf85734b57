"""What has to hold wherever the same code runs: on a MessageBus, and on a client over any socket (reliability, P85).

Each check is a coroutine function of a `Place`. Where the results of a place may differ, the figures of reliability 2.3
are the same with `window=1` and handlers, which is how the checks about full queues subscribe.
"""

import asyncio
import contextlib
import itertools

import pytest

import mycelium
from mycelium.events import Gap

SECONDS = 10.0
"""How long anything may take; it is there for hangs, not for timing."""

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Place:
    """Somewhere to publish and to subscribe.

    `new()` gives a client of its own where there are any, else the bus.
    """

    def __init__(self, contracts, bus, new):
        self.contracts = contracts
        self.bus = bus
        self.new = new
        self.is_local = False

    async def settled(self, *clients):
        """Wait until everything that was published is with its subscribers' queues."""
        for client in clients:
            if isinstance(client, mycelium.MyceliumClient):
                await client.flush()


async def until(holds):
    """Let the loop turn until something is so."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110  there is no event for what a check looks at
            await asyncio.sleep(0.001)


class Gate:
    """An async handler that waits until it may go on, and the list of what it got."""

    def __init__(self):
        self.got = []
        self.open = asyncio.Event()

    async def __call__(self, message):
        await self.open.wait()
        self.got.append(message.counter_id)


class Numbers:
    """Publishes CounterUpdates of the numbers from 1."""

    def __init__(self, place, client):
        self.place = place
        self.client = client

    def __call__(self, number):
        return self.place.contracts.CounterUpdate(counter_id=number, value=0, delta=0)

    async def publish(self, *numbers):
        for number in numbers:
            await self.client.publish(self(number))
            await self.place.settled(self.client)  # each has met the queue before the next one comes


async def full_queue(place, on_lag, count=10):
    """A handler that is stuck, a queue of four, ten messages: the gate, its subscription and its gaps."""
    subscriber, publisher = await place.new(), await place.new()
    gate, gaps = Gate(), []
    subscription = await subscriber.subscribe(
        gate, place.contracts.CounterUpdate, on_lag=on_lag, queue=4, window=1, on_gap=gaps.append
    )
    numbers = Numbers(place, publisher)
    await numbers.publish(1)
    await until(lambda: subscription.stats().in_flight == 1)
    with contextlib.suppress(mycelium.QueueFull):
        for number in range(2, count + 1):
            with contextlib.suppress(mycelium.QueueFull):
                await numbers.publish(number)
    return gate, subscription, gaps


def dropped(gaps, reason):
    return sum(gap.count for gap in gaps if gap.reason == reason)


def told(error):
    """How many messages of `publish_many` were published before an error, as that says."""
    (note,) = [one for one in error.__notes__ if one.startswith("publish_many()")]
    return int(note.split()[3])


# --- full queues (P44) ---


@check
async def p44_drop_oldest_keeps_the_newest(place):
    gate, subscription, gaps = await full_queue(place, "drop_oldest")
    gate.open.set()
    await until(lambda: len(gate.got) == 5 and subscription.stats().delivered == 5)
    await until(lambda: subscription.stats().dropped)
    assert gate.got == [1, 7, 8, 9, 10]
    assert subscription.stats() == mycelium.SubscriptionStats(10, 5, {"dropped_oldest": 5}, 0, 0)
    assert dropped(gaps, "dropped_oldest") == 5
    assert {(gap.types, gap.reason) for gap in gaps} == {(("CounterUpdate",), "dropped_oldest")}


@check
async def p44_drop_newest_keeps_the_oldest(place):
    gate, subscription, gaps = await full_queue(place, "drop_newest")
    gate.open.set()
    await until(lambda: len(gate.got) == 5 and subscription.stats().delivered == 5)
    await until(lambda: sum(subscription.stats().dropped.values()) == 5)
    assert gate.got == [1, 2, 3, 4, 5]
    assert subscription.stats() == mycelium.SubscriptionStats(10, 5, {"dropped_newest": 5}, 0, 0)
    assert dropped(gaps, "dropped_newest") == 5


@check
async def p44_latest_keeps_one_of_a_type_and_reports_no_gap(place):
    gate, subscription, gaps = await full_queue(place, "latest")
    gate.open.set()
    await until(lambda: len(gate.got) == 2 and subscription.stats().delivered == 2)
    await until(lambda: sum(subscription.stats().dropped.values()) == 8)
    assert gate.got == [1, 10]
    assert subscription.stats() == mycelium.SubscriptionStats(10, 2, {"conflated": 8}, 0, 0)
    assert gaps == []


@check
async def p44_reject_tells_a_publisher_that_asks(place):
    gate, subscription, gaps = await full_queue(place, "reject")
    publisher = await place.new()
    with pytest.raises(mycelium.QueueFull) as caught:
        await publisher.publish(place.contracts.CounterUpdate(11, 0, 0), confirm=True)
    assert caught.value.enqueued == 0
    gate.open.set()
    await until(lambda: len(gate.got) == 5 and subscription.stats().delivered == 5)
    await until(lambda: sum(subscription.stats().dropped.values()) == 6)
    assert gate.got == [1, 2, 3, 4, 5]
    assert subscription.stats() == mycelium.SubscriptionStats(11, 5, {"rejected": 6}, 0, 0)
    assert gaps == []


@check
async def p45_block_holds_the_publisher_until_there_is_room(place):
    gate, subscription, gaps = await full_queue(place, "block", count=5)
    publisher = await place.new()
    waiting = asyncio.ensure_future(publisher.publish(place.contracts.CounterUpdate(6, 0, 0), confirm=True))
    await place.settled(publisher)
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.open.set()
    receipt = await waiting
    assert (receipt.matched, receipt.enqueued, receipt.dropped) == (1, 1, 0)
    await until(lambda: len(gate.got) == 6 and subscription.stats().delivered == 6)
    assert gate.got == [1, 2, 3, 4, 5, 6]
    assert subscription.stats() == mycelium.SubscriptionStats(6, 6, {}, 0, 0)
    assert gaps == []


@check
async def p45_block_gives_up_after_its_time(place):
    gate, subscription, _ = await full_queue(place, "block", count=5)
    publisher = await place.new()
    with pytest.raises(mycelium.BackpressureTimeout) as caught:
        await publisher.publish(place.contracts.CounterUpdate(6, 0, 0), confirm=True)
    assert caught.value.enqueued == 0
    gate.open.set()
    await until(lambda: len(gate.got) == 5 and subscription.stats().delivered == 5)
    await until(lambda: subscription.stats().dropped == {"block_timeout": 1})


@check
async def p43_a_stuck_handler_holds_up_nobody_else(place):
    subscriber, other, publisher = await place.new(), await place.new(), await place.new()
    gate, got = Gate(), []
    await subscriber.subscribe(gate, place.contracts.CounterUpdate, queue=4, window=1)
    await other.subscribe(lambda message: got.append(message.counter_id), place.contracts.CounterUpdate)
    await Numbers(place, publisher).publish(*range(50))
    await until(lambda: len(got) == 50)
    assert got == list(range(50))
    gate.open.set()


# --- publishing ---


@check
async def what_one_publishes_arrives_in_order_across_types(place):
    subscriber, publisher = await place.new(), await place.new()
    got = []
    await subscriber.subscribe(got.append, place.contracts.Ping, place.contracts.Pong)
    sent = [place.contracts[name](value=str(number)) for number in range(50) for name in ("Ping", "Pong")]
    for message in sent:
        await publisher.publish(message)
    await until(lambda: len(got) == len(sent))
    assert got == sent


@check
async def many_messages_are_published_as_one_by_one(place):
    subscriber, publisher = await place.new(), await place.new()
    got = []
    await subscriber.subscribe(got.append, place.contracts.Ping, place.contracts.Pong, on_lag="block")
    sent = [place.contracts[name](value=str(number)) for number in range(3_000) for name in ("Ping", "Pong")]
    assert await publisher.publish_many(iter(sent)) == len(sent)
    await until(lambda: len(got) == len(sent))
    assert got == sent
    assert await publisher.publish_many([]) == 0


@check
async def one_of_many_that_is_wrong_ends_it_and_says_where(place):
    subscriber, publisher = await place.new(), await place.new()
    got, numbers = [], iter(range(1_000))
    await subscriber.subscribe(got.append, place.contracts.CounterUpdate)
    messages = (place.contracts.CounterUpdate(number, 1 << (number - 470), 0) for number in numbers if number >= 470)
    with pytest.raises(mycelium.EncodeError, match="value") as caught:
        await publisher.publish_many(messages)
    assert caught.value.__notes__ == ["publish_many() had published 31 before this"]
    assert next(numbers) == 502  # those behind it were not asked for
    await until(lambda: len(got) == 31)
    for wrong in (place.contracts.Ping("x"), None, 7):
        with pytest.raises(mycelium.UsageError, match="an iterable of messages"):
            await publisher.publish_many(wrong)
    with pytest.raises(mycelium.UsageError, match="no message"):
        await publisher.publish_many("text")


@check
async def many_that_wait_for_room_may_be_cancelled(place):
    subscriber, publisher = await place.new(), await place.new()
    text, got, open_ = place.contracts.TextMessage, [], asyncio.Event()

    async def take(message):
        await open_.wait()
        got.append(message.timestamp)

    def messages():
        for number in range(1_000):
            made.append(number)
            yield text(sender="s", content="x" * 40_000, timestamp=number)

    made = []
    subscription = await subscriber.subscribe(take, text, on_lag="block", queue=4, window=1)
    publishing = asyncio.ensure_future(publisher.publish_many(messages()))
    await until(lambda: subscription.stats().in_flight == 1 and len(made) > 5)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await publishing
    published = told(caught.value)
    assert published >= 5  # one in the handler, four in the queue
    open_.set()
    await until(lambda: len(got) >= published and subscription.stats().in_flight == 0)
    assert got == list(range(published))  # what is told as published is, and the one that waited is not


@check
async def what_is_told_of_many_that_are_cancelled_in_anothers_turn_is_exact(place):
    subscriber, publisher = await place.new(), await place.new()
    text, got = place.contracts.TextMessage, []
    await subscriber.subscribe(lambda message: got.append(message.timestamp), text, on_lag="block")
    for turns in range(1, 6):
        del got[:]
        long = (text(sender="s", content="x" * 20_000, timestamp=number) for number in range(1_000))
        publishing = asyncio.ensure_future(publisher.publish_many(long))
        for _ in range(turns):
            await asyncio.sleep(0)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await publishing
        await publisher.publish(text(sender="s", content="the last", timestamp=1_000))
        await until(lambda: got[-1:] == [1_000])
        assert got == [*range(told(caught.value)), 1_000]


@check
async def others_have_their_turns_while_many_are_published(place):
    publisher, turns = await place.new(), []

    async def turn():
        while True:
            turns.append(number)
            await asyncio.sleep(0)

    def messages():
        nonlocal number
        for number in range(20_000):
            yield place.contracts.CounterUpdate(number, 0, 0)

    number = 0
    other = asyncio.ensure_future(turn())
    await publisher.publish_many(messages())
    other.cancel()
    # 64 KiB are 1,639 of these, each a frame of 40 bytes.
    assert max(later - earlier for earlier, later in itertools.pairwise([*turns, 19_999])) <= 1_639


@check
async def a_receipt_says_whom_a_message_fitted(place):
    publisher = await place.new()
    for number in (1, 2):
        receipt = await publisher.publish(place.contracts.Ping(value="x"), confirm=True)
        assert receipt == mycelium.Receipt(number, 0, 0, 0)
    await (await place.new()).subscribe(lambda _: None, place.contracts.Ping)
    assert await publisher.publish(place.contracts.Ping(value="x"), confirm=True) == mycelium.Receipt(3, 1, 1, 0)


@check
async def p64_a_mandatory_message_needs_somebody_who_wants_it(place):
    publisher = await place.new()
    await (await place.new()).subscribe(lambda _: None, place.contracts.Pong)
    with pytest.raises(mycelium.NoSubscribers, match="nobody has subscribed to Ping"):
        await publisher.publish(place.contracts.Ping(value="x"), mandatory=True)


@check
async def messages_are_checked_before_anybody_sees_them(place):
    got = []
    client = await place.new()
    await client.subscribe(got.append, place.contracts.CounterUpdate, place.contracts.TextMessage)
    with pytest.raises(mycelium.EncodeError):
        await client.publish(place.contracts.CounterUpdate(1, 1 << 40, 0))
    with pytest.raises(mycelium.RuleError):
        await client.publish(place.contracts.TextMessage(sender="", content="c", timestamp=1))
    with pytest.raises(mycelium.UsageError):
        await client.publish("no message")
    await place.settled(client)
    assert got == []


# --- requests ---


@check
async def a_request_is_answered_by_whoever_replies(place):
    server, client = await place.new(), await place.new()
    Ping, Pong = place.contracts.Ping, place.contracts.Pong  # noqa: N806  they are classes

    @server.reply(Ping)
    async def answer(message):
        return Pong(value=f"{message.value}!")

    await until(lambda: place.bus.stats().subscriptions == 1)
    got = []
    await client.subscribe(got.append, Pong)
    replies = await asyncio.gather(*(client.request(Ping(value=str(number)), Pong) for number in range(20)))
    assert [reply.value for reply in replies] == [f"{number}!" for number in range(20)]
    assert got == []  # a reply is for who has asked


@check
async def a_request_that_nobody_answers_is_refused_at_once(place):
    client = await place.new()
    with pytest.raises(mycelium.NoResponders, match="nobody answers Ping"):
        await client.request(place.contracts.Ping(value="?"), place.contracts.Pong, timeout=SECONDS)


@check
async def a_reply_that_comes_too_late_is_dropped(place):
    server, client = await place.new(), await place.new()
    deliveries = []

    async def ask_later(message, delivery):
        deliveries.append(delivery)

    await server.subscribe(ask_later, place.contracts.Ping)
    with pytest.raises(TimeoutError, match="no Pong came within 0.05 s"):
        await client.request(place.contracts.Ping(value="?"), place.contracts.Pong, timeout=0.05)
    await deliveries[0].reply(place.contracts.Pong(value="late"))
    await place.settled(server, client)


@check
async def a_message_that_is_no_request_has_nobody_to_reply_to(place):
    server, client = await place.new(), await place.new()
    deliveries = []

    def note(message, delivery):
        deliveries.append(delivery)

    await server.subscribe(note, place.contracts.Ping)
    await client.publish(place.contracts.Ping(value="x"))
    await until(lambda: deliveries)
    assert not deliveries[0].is_request
    with pytest.raises(mycelium.UsageError, match="nobody waits for a reply"):
        await deliveries[0].reply(place.contracts.Pong(value="x"))


# --- groups ---


@check
async def one_of_a_group_gets_each_message(place):
    publisher = await place.new()
    shares = [[], [], []]
    for share in shares:
        client = await place.new()
        await client.subscribe(
            lambda message, share=share: share.append(message.counter_id),
            place.contracts.CounterUpdate,
            group="workers",
        )
    outside = []
    await (await place.new()).subscribe(
        lambda message: outside.append(message.counter_id), place.contracts.CounterUpdate
    )
    for number in range(30):
        await publisher.publish(place.contracts.CounterUpdate(number, 0, 0))
    await until(lambda: len(outside) == 30 and sum(map(len, shares)) == 30)
    assert sorted(number for share in shares for number in share) == list(range(30))
    assert all(share == sorted(share) and share for share in shares)


# --- handlers ---


@check
async def handlers_side_by_side_keep_the_order_of_each_key(place):
    contracts = place.contracts
    subscriber, publisher = await place.new(), await place.new()
    running, most, got = 0, 0, {}

    async def work(message):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        got.setdefault(message.symbol, []).append(message.price)
        running -= 1

    await subscriber.subscribe(work, contracts.Quote, concurrency=4)
    for price in range(20):
        for symbol in ("a", "b", "c"):
            await publisher.publish(contracts.Quote(symbol=symbol, price=price))
    await until(lambda: sum(map(len, got.values())) == 60)
    assert got == {symbol: list(range(20)) for symbol in ("a", "b", "c")}
    assert 2 <= most <= 3


@check
async def p77_a_handler_that_raises_keeps_its_subscription(place):
    subscriber, publisher = await place.new(), await place.new()
    got, errors = [], []

    async def fail(message):
        got.append(message.counter_id)
        raise ValueError(message.counter_id)

    subscription = await subscriber.subscribe(
        fail, place.contracts.CounterUpdate, on_error=lambda error, message: errors.append((str(error), message))
    )
    await Numbers(place, publisher).publish(1, 2, 3)
    await until(lambda: subscription.stats().delivered == 3)
    assert got == [1, 2, 3]
    assert [text for text, _ in errors] == ["1", "2", "3"]


@check
async def on_subscribes_a_function_that_stays_what_it_is(place):
    subscriber, publisher = await place.new(), await place.new()
    got = []

    @subscriber.on(place.contracts.Ping)
    def take(message):
        got.append(message.value)

    await until(lambda: place.bus.stats().subscriptions == 1)
    await publisher.publish(place.contracts.Ping(value="x"))
    await until(lambda: got == ["x"])
    take(place.contracts.Ping(value="y"))
    assert got == ["x", "y"]


# --- last values ---


@check
async def a_new_subscriber_first_gets_the_last_value_of_each_key(place):
    contracts = place.contracts
    publisher = await place.new()
    for price in range(3):
        for symbol in ("a", "b"):
            await publisher.publish(contracts.Price(symbol=symbol, price=price))
    await place.settled(publisher)
    first, second = await place.new(), await place.new()
    for client in (first, second, second):  # the third one joins a subscription that is there
        got = []

        def take(message, delivery, got=got):
            got.append((message.symbol, message.price, delivery.retained))

        subscription = await client.subscribe(take, contracts.Price)
        await until(lambda got=got: len(got) == 2)
        assert got == [("a", 2, True), ("b", 2, True)]
        await until(lambda subscription=subscription: subscription.stats().matched == 2)
        assert subscription.stats() == mycelium.SubscriptionStats(2, 2, {}, 0, 0)
    await publisher.publish(contracts.Price(symbol="a", price=9))
    await until(lambda: got[-1] == ("a", 9, False))


# --- iterators ---


@check
async def an_iterator_gives_out_gaps_in_their_place(place):
    subscriber, publisher = await place.new(), await place.new()
    async with subscriber.messages(place.contracts.CounterUpdate, queue=2, window=1, gaps=True) as stream:
        await Numbers(place, publisher).publish(*range(10))
        got = []
        while not got or getattr(got[-1], "counter_id", None) != 9:
            got.append(await stream.next(SECONDS))
    numbers = [one.counter_id for one in got if not isinstance(one, Gap)]
    lost = sum(one.count for one in got if isinstance(one, Gap))
    assert numbers == sorted(numbers)
    assert len(numbers) + lost == 10
    assert numbers[-2:] == [8, 9]


@check
async def p81_a_message_is_never_lost_to_a_timeout(place):
    subscriber, publisher = await place.new(), await place.new()
    async with subscriber.messages(place.contracts.CounterUpdate) as stream:
        got = []
        for number in range(30):
            with contextlib.suppress(TimeoutError):
                got.append(await stream.next(0))
            await publisher.publish(place.contracts.CounterUpdate(number, 0, 0))
        while len(got) < 30:
            got.append(await stream.next(SECONDS))
    assert [message.counter_id for message in got] == list(range(30))


# --- the end ---


@check
async def p86_drain_lets_handlers_finish_and_publish(place):
    worker, listener = await place.new(), await place.bus_client()
    handled, replies = [], []

    async def work(message):
        await asyncio.sleep(0)
        handled.append(message.value)
        await worker.publish(place.contracts.Pong(value=message.value))

    await listener.subscribe(lambda message: replies.append(message.value), place.contracts.Pong)
    await worker.subscribe(work, place.contracts.Ping)
    publisher = await place.bus_client()
    for number in range(100):
        await publisher.publish(place.contracts.Ping(value=str(number)))
    await place.settled(publisher)
    await until(lambda: handled)
    await asyncio.gather(*(worker.drain() for _ in range(3)))
    assert handled[: len(replies)] == replies
    await place.settled(listener)
    await until(lambda: len(replies) == len(handled))


@check
async def p87_a_drain_that_takes_too_long_says_what_is_left(place):
    worker = await place.new()
    gate = Gate()
    await worker.subscribe(gate, place.contracts.CounterUpdate)
    publisher = await place.bus_client()
    for number in range(3):
        await publisher.publish(place.contracts.CounterUpdate(number, 0, 0))
    await place.settled(publisher)
    await until(lambda: worker.stats().in_flight == 1 and worker.stats().queued == 2)
    with pytest.raises(mycelium.DrainTimeout) as caught:
        await worker.drain(0.05)
    assert (caught.value.undelivered, caught.value.unconfirmed) == (3, 0)
    with pytest.raises(mycelium.ClosedError):
        await worker.publish(place.contracts.Ping(value="x"))


@check
async def p88_after_drain_nothing_is_taken(place):
    client = await place.new()
    await client.drain()
    await client.drain()
    with pytest.raises(mycelium.ClosedError):
        await client.publish(place.contracts.Ping(value="x"))
    with pytest.raises(mycelium.ClosedError):
        await client.subscribe(lambda _: None, place.contracts.Ping)
    with pytest.raises(mycelium.ClosedError):
        await client.request(place.contracts.Ping(value="x"), place.contracts.Pong)


@check
async def p80_the_end_may_be_asked_for_inside_a_handler(place):
    client, publisher = await place.new(), await place.bus_client()
    ended = asyncio.Event()

    async def stop(message):
        await client.drain(SECONDS)
        ended.set()

    await client.subscribe(stop, place.contracts.Ping)
    await publisher.publish(place.contracts.Ping(value="x"))
    async with asyncio.timeout(SECONDS):
        await ended.wait()


# --- options ---


@check
async def options_that_make_no_sense_are_refused(place):
    client = await place.new()
    for options in ({"queue": 0}, {"window": 0}, {"concurrency": 0}, {"on_lag": "sometimes"}, {"group": ""}, {"q": 1}):
        with pytest.raises(mycelium.UsageError):
            await client.subscribe(lambda _: None, place.contracts.Ping, **options)


@check
async def counters_agree_when_all_is_quiet(place):
    subscriber, publisher = await place.new(), await place.new()
    subscriptions = [await subscriber.subscribe(lambda _: None, place.contracts.Ping) for _ in range(3)]
    for _ in range(100):
        await publisher.publish(place.contracts.Ping(value="x"))
    await until(lambda: all(one.stats().delivered == 100 for one in subscriptions))
    assert all(one.stats() == mycelium.SubscriptionStats(100, 100, {}, 0, 0) for one in subscriptions)
    await until(lambda: place.bus.stats().in_flight == 0)
    assert place.bus.stats().balanced
