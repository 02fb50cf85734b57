"""A plan holds until somebody changes what it depends on; by plan or not, the bus does the same."""

import asyncio
import gc
import threading
import weakref

import pytest

import mycelium
from mycelium import Delivery, MessageBus, MyceliumClient, RuleError, UsageError
from mycelium.bus.figures import Figures
from peers import SECONDS, serving

TEXT = """
messages:
  Tick: {tlv_type: 1000, domain: ticks, fields: {number: {type: u32}}}
  Tock: {tlv_type: 1001, fields: {number: {type: u32}}}
"""


@pytest.fixture
def types():
    return mycelium.load(TEXT)


def edit(types, old, new):
    """Have another generation come into force."""
    types.apply(mycelium.load(TEXT.replace(old, new)).schema)


async def planned(types, got):
    """A bus with a handler for Tick, and a plan: one message has been published."""
    bus = MessageBus(types)
    await bus.subscribe(lambda message: got.append(message.number), types.Tick)
    bus.publish_nowait(types.Tick(0))
    assert types.Tick in bus._plans.in_force
    assert got == [0]
    return bus


# --- what a plan depends on ---


async def test_whoever_subscribes_gets_the_next_message(types):
    got, more = [], []
    bus = await planned(types, got)
    await bus.subscribe(more.append, types.Tick)
    bus.publish_nowait(types.Tick(1))
    assert (got, more) == ([0, 1], [types.Tick(1)])
    await bus.close()


async def test_whoever_unsubscribes_gets_none(types):
    got, more = [], []
    bus = await planned(types, got)
    subscription = await bus.subscribe(more.append, types.Tick)
    bus.publish_nowait(types.Tick(1))
    await subscription.unsubscribe()
    bus.publish_nowait(types.Tick(2))
    assert (got, more) == ([0, 1, 2], [types.Tick(1)])
    await bus.close()


async def test_an_iterator_beside_a_handler_gets_its_messages_too(types):
    got = []
    bus = await planned(types, got)
    async with bus.messages(types.Tick) as stream:
        bus.publish_nowait(types.Tick(1))
        await bus.publish(types.Tick(2))
        assert [(await stream.next(SECONDS)).number, (await stream.next(SECONDS)).number] == [1, 2]
    assert got == [0, 1, 2]
    assert bus.stats().balanced
    await bus.close()


async def test_a_type_that_comes_to_a_topic_is_planned_anew(types):
    """Its handler gets messages of a type that it did not get before."""
    got = []
    bus = await planned(types, [])
    await bus.subscribe(lambda message: got.append(type(message).__name__), topic="ticks")
    bus.publish_nowait(types.Tock(1))
    edit(types, "1001, ", "1001, domain: ticks, ")
    for subscription in bus._dispatcher.subscriptions:  # what a reload has done
        if subscription.topic:
            bus._dispatcher.extend(subscription, frozenset([1000, 1001]))
    bus.publish_nowait(types.Tock(2))
    assert got == ["Tock"]
    await bus.close()


async def test_a_rule_that_an_edit_has_brought_is_kept(types):
    got = []
    bus = await planned(types, got)
    edit(types, "number: {type: u32}", "number: {type: u32, validation: [{max: 10}]}")
    with pytest.raises(RuleError):
        bus.publish_nowait(types.Tick(11))
    bus.publish_nowait(types.Tick(10))
    assert got == [0, 10]
    edit(types, "", "")
    bus.publish_nowait(types.Tick(11))
    assert got == [0, 10, 11]
    await bus.close()


async def test_a_rule_that_another_thread_has_brought_is_kept(types):
    got = []
    bus = await planned(types, got)
    new = mycelium.load(TEXT.replace("number: {type: u32}", "number: {type: u32, validation: [{max: 10}]}")).schema
    thread = threading.Thread(target=types.apply, args=[new])
    thread.start()
    thread.join(SECONDS)
    assert not bus._plans.in_force
    with pytest.raises(RuleError):
        bus.publish_nowait(types.Tick(11))
    bus.publish_nowait(types.Tick(10))
    assert got == [0, 10]
    assert types.Tick in bus._plans.in_force
    await bus.close()


async def test_a_plan_that_is_made_while_other_contracts_come_into_force_is_not_kept(types):
    got = []
    bus, lineage = MessageBus(types), types.registry.lineage
    await bus.subscribe(lambda message: got.append(message.number), types.Tick)
    compile_codec = lineage.compile

    def compile_late(*args):
        """What the plan is being made of is replaced meanwhile."""
        lineage.compile = compile_codec
        codec = compile_codec(*args)
        edit(types, "number: {type: u32}", "number: {type: u32, validation: [{max: 10}]}")
        return codec

    lineage.compile = compile_late
    with pytest.raises(RuleError):
        bus.publish_nowait(types.Tick(11))
    assert lineage.compile is compile_codec
    with pytest.raises(RuleError):
        bus.publish_nowait(types.Tick(11))
    bus.publish_nowait(types.Tick(10))
    assert got == [10]
    await bus.close()


async def test_contracts_keep_no_bus_alive(types):
    bus = await planned(types, [])
    await bus.close()
    plans = weakref.ref(bus._plans)
    del bus
    gc.collect()
    assert plans() is None
    edit(types, "1001, ", "1001, domain: ticks, ")


async def test_values_that_must_not_decrease_since_an_edit_do_not(types):
    got = []
    bus = await planned(types, got)
    edit(types, "number: {type: u32}", "number: {type: u32, validation: [{monotonic: true}]}")
    bus.publish_nowait(types.Tick(5))
    with pytest.raises(RuleError, match="monotonic"):
        bus.publish_nowait(types.Tick(4))
    assert got == [0, 5]
    await bus.close()


async def test_a_message_that_an_edit_has_removed_is_refused(types):
    bus = await planned(types, [])
    tick = types.Tick(1)
    edit(types, "  Tick: {tlv_type: 1000, domain: ticks, fields: {number: {type: u32}}}\n", "")
    with pytest.raises(UsageError):
        bus.publish_nowait(tick)
    await bus.close()


async def test_last_values_are_kept_once_the_contract_says_so(types):
    got, late = [], []
    bus = await planned(types, got)
    edit(types, "domain: ticks", "domain: ticks, retain: last")
    bus.publish_nowait(types.Tick(7))
    await bus.subscribe(lambda message, delivery: late.append((message.number, delivery.retained)), types.Tick)
    assert (got, late) == ([0, 7], [(7, True)])
    await bus.close()


async def test_a_handler_that_wants_to_know_more_is_told(types):
    got, more = [], []
    bus = await planned(types, got)

    def curious(_, delivery: Delivery):
        more.append((delivery.publisher, delivery.sequence))

    await bus.subscribe(curious, types.Tick)
    bus.publish_nowait(types.Tick(1))
    assert (got, more) == ([0, 1], [(0, 2)])
    await bus.close()


async def test_members_of_a_group_take_turns(types):
    got, one, other = [], [], []
    bus = await planned(types, got)
    member = await bus.subscribe(one.append, types.Tick, group="workers")
    await bus.subscribe(other.append, types.Tick, group="workers")
    for number in range(1, 5):
        bus.publish_nowait(types.Tick(number))
    assert (got, len(one), len(other)) == ([0, 1, 2, 3, 4], 2, 2)
    await member.unsubscribe()
    bus.publish_nowait(types.Tick(5))
    assert (len(one), len(other)) == (2, 3)
    assert bus.stats().balanced
    await bus.close()


async def test_who_leaves_out_echoes_is_left_out(types):
    got, more = [], []
    bus = await planned(types, got)
    await bus.subscribe(more.append, types.Tick, no_echo=True)
    bus.publish_nowait(types.Tick(1))
    assert (got, more, bus.stats().matched) == ([0, 1], [], 2)
    await bus.close()


async def test_a_socket_client_gets_what_is_published_since_it_came_and_none_when_it_has_gone(types):
    got, far = [], asyncio.Queue()
    async with serving(types) as (bus, bridge):
        await bus.subscribe(lambda message: got.append(message.number), types.Tick)
        bus.publish_nowait(types.Tick(0))
        client = MyceliumClient(types)
        await client.connect(bridge.urls[0])
        async with client:
            subscription = await client.subscribe(far.put_nowait, types.Tick)
            bus.publish_nowait(types.Tick(1))
            assert await asyncio.wait_for(far.get(), SECONDS) == types.Tick(1)
            await subscription.unsubscribe()
            receipt = await bus.publish(types.Tick(2), confirm=True)
        assert (receipt.matched, got, far.qsize()) == (1, [0, 1, 2], 0)


async def test_plans_end_with_the_bus(types):
    bus = await planned(types, [])
    await bus.close()
    assert not bus._plans.in_force
    with pytest.raises(mycelium.ClosedError):
        bus.publish_nowait(types.Tick(1))
    assert not bus._plans.in_force


async def test_nobody_publishes_by_plan_from_another_thread(types):
    got, refused = [], []
    bus = await planned(types, got)

    def publish():
        with pytest.raises(UsageError, match="belongs to one thread"):
            bus.publish_nowait(types.Tick(1))
        refused.append(True)

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(SECONDS)
    assert (got, refused) == ([0], [True])
    await bus.close()


async def test_what_is_no_message_of_the_contracts_gets_no_plan(types):
    bus = await planned(types, [])
    for nothing in (1, types.Tick, mycelium.load(TEXT).Tick(1)):
        with pytest.raises(UsageError):
            bus.publish_nowait(nothing)
        assert set(bus._plans.in_force) == {types.Tick}
    await bus.close()


# --- what is counted ---


def by_type(bus):
    """What a bus has received and delivered since somebody asked for figures by type."""
    figures = Figures(bus.exchange, bus.exchange.measure())
    return dict(+figures.received_by_type()), dict(+figures.delivered_by_type())


async def test_a_receipt_says_that_the_one_handler_has_the_message(types):
    bus = await planned(types, [])
    receipt = await bus.publish(types.Tick(1), confirm=True)
    assert (receipt.matched, receipt.enqueued, receipt.dropped) == (1, 1, 0)
    await bus.close()


async def test_figures_by_type_begin_when_somebody_asks_for_them(types):
    bus = await planned(types, [])
    assert by_type(bus) == ({}, {})
    for number in range(3):
        bus.publish_nowait(types.Tick(number))
    assert by_type(bus) == ({1000: 3}, {1000: 3})
    assert (bus.stats().published, bus.stats().delivered) == (4, 4)
    await bus.close()


async def test_figures_by_type_tell_the_types_of_one_handler_apart(types):
    got = []
    bus = MessageBus(types)
    subscription = await bus.subscribe(lambda message: got.append(type(message).__name__), types.Tick, types.Tock)
    by_type(bus)
    for number in range(3):
        bus.publish_nowait(types.Tick(number))
        if number:
            bus.publish_nowait(types.Tock(number))
    assert by_type(bus) == ({1000: 3, 1001: 2}, {1000: 3, 1001: 2})
    assert (got.count("Tick"), got.count("Tock"), subscription.stats().delivered) == (3, 2, 5)
    await bus.close()


async def test_figures_by_type_go_on_over_every_change_and_pile_nothing_up(types):
    """Of an edit, of others that come and go, and with the same handler before and after."""
    bus = await planned(types, [])
    (subscription,) = bus._dispatcher.subscriptions
    by_type(bus)
    for number in range(4):
        bus.publish_nowait(types.Tick(number))
        edit(types, "number: {type: u32}", f"number: {{type: u32, validation: [{{max: {10 + number}}}]}}")
        bus.publish_nowait(types.Tick(number))
        await (await bus.subscribe(lambda _: None, types.Tock)).unsubscribe()
        bus.publish_nowait(types.Tick(number))
        assert by_type(bus) == ({1000: 3 * (number + 1)}, {1000: 3 * (number + 1)})
    stats = bus.stats()
    assert (stats.published, stats.matched, stats.delivered, subscription.stats().delivered) == (13, 13, 13, 13)
    assert (len(subscription.counts.calls), bus.exchange.planned.number) == (1, 1)
    await bus.close()


@pytest.mark.parametrize("measured", [False, True])
async def test_a_handler_that_ends_its_subscription_is_counted_as_one_that_was_interrupted(types, measured):
    bus = MessageBus(types)
    seen = []

    def leave(message):
        if message.number:
            subscription.close()
            seen.append(subscription.stats())

    subscription = await bus.subscribe(leave, types.Tick)
    if measured:
        bus.exchange.measure()
    for number in range(3):
        bus.publish_nowait(types.Tick(number))
    assert [(one.matched, one.delivered, one.in_flight, one.balanced) for one in seen] == [(2, 1, 1, True)]
    after, stats = subscription.stats(), bus.stats()
    assert (after.matched, after.delivered, after.in_flight, after.balanced) == (2, 2, 0, True)
    assert (stats.matched, stats.delivered, stats.dropped, stats.balanced) == (2, 1, {"disconnected": 1}, True)
    assert stats.published == 3
    if measured:
        figures = Figures(bus.exchange, bus.exchange.measure())
        assert by_type(bus) == ({1000: 3}, {1000: 1})
        assert dict(+figures.dropped) == {(1000, "local", "disconnected"): 1}
    await bus.close()


@pytest.mark.parametrize("measured", [False, True])
async def test_the_numbers_of_messages_grow_whatever_goes_by_plan_between_them(types, measured):
    bus = await planned(types, [])
    if measured:
        bus.exchange.measure()
    numbers = []

    def curious(_, delivery: Delivery):
        numbers.append(delivery.sequence)

    await bus.subscribe(curious, types.Tock)
    for number in range(4):
        bus.publish_nowait(types.Tick(number))
        bus.publish_nowait(types.Tock(number))
        if number == 1:
            await bus.subscribe(lambda _: None, types.Tick)
    assert numbers[0] > 1
    assert numbers == sorted(set(numbers))
    assert bus.stats().published == 9
    await bus.close()


async def test_a_member_of_a_group_is_told_the_same_number_as_others(types):
    bus, numbers = MessageBus(types), []

    def curious(_, delivery: Delivery):
        numbers.append(delivery.sequence)

    await bus.subscribe(curious, types.Tick, group="workers")
    await bus.subscribe(curious, types.Tick)
    for number in range(2):
        bus.publish_nowait(types.Tick(number))
    assert numbers == [1, 1, 2, 2]
    await bus.close()


# --- inside a delivery ---


@pytest.mark.parametrize("handlers", [1, 3])
async def test_the_law_holds_inside_every_handler(types, handlers):
    bus, seen = MessageBus(types), []

    def look(_):
        one = [each.stats() for each in subscriptions]
        assert all(each.balanced for each in one)
        seen.append((bus.stats().balanced, bus.stats().in_flight))

    subscriptions = [await bus.subscribe(look, types.Tick) for _ in range(handlers)]
    for number in range(3):
        bus.publish_nowait(types.Tick(number))
        await bus.publish(types.Tick(number))
    assert seen == [(True, 1)] * 6 * handlers
    stats = bus.stats()
    assert (stats.matched, stats.delivered, stats.in_flight, stats.published) == (6 * handlers, 6 * handlers, 0, 6)
    await bus.close()


async def test_what_handlers_publish_comes_behind_what_they_have(types):
    bus, got = MessageBus(types), []

    def first(message):
        got.append(("first", message.number))
        if message.number < 3:
            bus.publish_nowait(types.Tick(message.number + 1))
            assert got[-1] == ("first", message.number)

    await bus.subscribe(first, types.Tick)
    await bus.subscribe(lambda message: got.append(("second", message.number)), types.Tick)
    bus.publish_nowait(types.Tick(0))
    assert got == [(who, number) for number in range(4) for who in ("first", "second")]
    assert (bus.stats().published, bus.stats().balanced) == (4, True)
    await bus.close()


async def test_who_is_ended_by_a_handler_before_gets_nothing_more(types):
    bus, got = MessageBus(types), []
    await bus.subscribe(lambda _: later.close(), types.Tick)
    later = await bus.subscribe(got.append, types.Tick)
    bus.publish_nowait(types.Tick(1))
    assert (got, later.stats().matched, bus.stats().matched) == ([], 0, 1)
    await bus.close()


async def test_whoever_a_handler_subscribes_gets_the_next_message(types):
    bus, got = MessageBus(types), []
    bus.on(types.Tick)(lambda _: bus.on(types.Tick)(got.append))
    bus.publish_nowait(types.Tick(1))
    assert got == []
    bus.publish_nowait(types.Tick(2))
    assert got == [types.Tick(2)]
    await bus.close()


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_handler_that_raises_keeps_nobody_from_the_message(types, caplog, error):
    bus, got, told = MessageBus(types), [], []

    def failing(_):
        raise error

    subscription = await bus.subscribe(failing, types.Tick, on_error=lambda *failure: told.append(failure))
    await bus.subscribe(got.append, types.Tick)
    bus.publish_nowait(types.Tick(1))
    await bus.publish(types.Tick(2))
    assert got == [types.Tick(1), types.Tick(2)]
    assert (subscription.failures, subscription.stats().delivered, bus.stats().balanced) == (2, 2, True)
    assert len(told) == (2 if error is ValueError else 0)
    assert "failed on Tick" in caplog.text
    await bus.close()


async def test_an_exit_goes_through_and_the_bus_goes_on(types):
    bus, got = MessageBus(types), []

    def leaving(message):
        got.append(message.number)
        bus.publish_nowait(types.Tock(message.number))
        if message.number == 1:
            raise SystemExit

    await bus.subscribe(leaving, types.Tick)
    await bus.subscribe(lambda message: got.append(-message.number), types.Tock)
    with pytest.raises(SystemExit):
        bus.publish_nowait(types.Tick(1))
    bus.publish_nowait(types.Tick(2))
    assert got == [1, -1, 2, -2]
    assert (bus.stats().in_flight, bus.stats().balanced) == (0, True)
    await bus.close()
