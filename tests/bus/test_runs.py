"""Messages that came together fare as they would have one by one, whoever takes them."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mycelium
from mycelium.bus.delivery import LOCAL
from mycelium.bus.handlers import describe
from mycelium.bus.options import options_of
from mycelium.bus.subscription import LocalSubscription
from mycelium.events import Gap
from peers import SECONDS

CONTRACTS = mycelium.load("""
messages:
  Tick: {tlv_type: 1000, fields: {number: {type: u32}}}
  State: {tlv_type: 1001, key: id, qos: {on_lag: latest}, fields: {id: {type: u8}, number: {type: u32}}}
  Job: {tlv_type: 1002, qos: {on_lag: drop_newest}, fields: {number: {type: u32}}}
""")
Tick, State, Job = CONTRACTS
ALL = frozenset([1000, 1001, 1002])
POLICIES = st.sampled_from([None, "drop_oldest", "drop_newest", "latest", "block", "reject"])
RUNS = st.lists(st.lists(st.tuples(st.sampled_from([Tick, State, Job]), st.integers(0, 1)), min_size=1), max_size=5)


def made(runs):
    numbers = iter(range(1 << 20))
    return [[cls(key, next(numbers)) if cls is State else cls(next(numbers)) for cls, key in run] for run in runs]


def iterator(**options):
    return LocalSubscription(ALL, None, options_of(**options))


async def everything(subscription):
    subscription.close()
    got = []
    with contextlib.suppress(mycelium.ClosedError):
        while True:
            got.append(await subscription.next())
    return got


@given(runs=RUNS, on_lag=POLICIES, queue=st.integers(1, 12), taken=st.integers(0, 4))
def test_an_iterator_gets_of_runs_what_it_gets_of_messages(runs, on_lag, queue, taken):
    async def compare():
        together, alone = iterator(on_lag=on_lag, queue=queue), iterator(on_lag=on_lag, queue=queue)
        done = {together: 0, alone: 0}

        def finishing(subscription):
            def finish(messages):
                done[subscription] += messages

            return finish

        for run in made(runs):
            together.offer_run(run, finishing(together))
            for message in run:
                alone.offer(message, LOCAL, finishing(alone))
            for _ in range(min(taken, alone.load)):
                assert await together.next(SECONDS) == await alone.next(SECONDS)
            assert together.stats() == alone.stats()
            assert together.stats().balanced
            assert done[together] == done[alone]
        assert await everything(together) == await everything(alone)
        assert done[together] == done[alone] == sum(map(len, runs))

    asyncio.run(compare())


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_async_handler_gets_every_message_of_a_run_in_order(concurrency):
    got, done = [], []

    async def handle(message):
        got.append(message.number)
        await asyncio.sleep(0)

    subscription = LocalSubscription(ALL, describe(handle), options_of(concurrency=concurrency))
    run = made([[(Tick, 0), (Job, 0)] * 50])[0]
    subscription.offer_run(run, done.append)
    stats = subscription.stats()
    assert (stats.matched, stats.queued, stats.balanced) == (100, 100, True)
    await subscription.idle()
    assert got == list(range(100))
    assert sum(done) == 100
    assert (subscription.stats().delivered, subscription.stats().balanced) == (100, True)
    subscription.close()


async def test_messages_of_one_key_are_handled_one_after_the_other_though_they_came_together():
    inside, most = {}, []

    async def handle(message):
        inside[message.id] = inside.get(message.id, 0) + 1
        most.append((inside[message.id], sum(inside.values())))
        await asyncio.sleep(0)
        inside[message.id] -= 1

    subscription = LocalSubscription(ALL, describe(handle), options_of(concurrency=2, on_lag="drop_oldest"))
    subscription.offer_run([State(number % 2, number) for number in range(20)], lambda _: None)
    await subscription.idle()
    assert len(most) == 20
    assert (max(one for one, _ in most), max(both for _, both in most)) == (1, 2)
    subscription.close()


async def test_a_run_wakes_as_many_as_it_has_messages_for():
    subscription = iterator()
    waiting = [asyncio.ensure_future(subscription.next()) for _ in range(4)]
    await asyncio.sleep(0)
    subscription.offer_run([Tick(1), Tick(2), Tick(3)], lambda _: None)
    done, pending = await asyncio.wait(waiting, timeout=0.05)
    assert sorted(one.result().number for one in done) == [1, 2, 3]
    for one in pending:
        one.cancel()
    await asyncio.wait(pending)
    subscription.close()


async def test_who_gives_up_leaves_a_run_to_the_others():
    """A call that was woken and is cancelled in the same moment hands its turn on."""
    subscription = iterator()
    first, second = (asyncio.ensure_future(subscription.next()) for _ in range(2))
    await asyncio.sleep(0)
    subscription.offer_run([Tick(1)], lambda _: None)
    first.cancel()
    assert (await asyncio.wait_for(second, SECONDS)).number == 1
    assert first.cancelled()
    assert subscription.stats().delivered == 1
    subscription.close()


async def test_a_gap_comes_between_the_runs_between_which_it_was():
    subscription = iterator(gaps=True)
    subscription.offer_run([Tick(1), Tick(2)], lambda _: None)
    subscription.interrupted()
    subscription.offer_run([Tick(3)], lambda _: None)
    got = await everything(subscription)
    assert [type(one) for one in got] == [Tick, Tick, Gap, Tick]


async def test_an_ended_subscription_takes_nothing_of_a_run():
    for subscription in (iterator(), LocalSubscription(ALL, describe(print), options_of())):
        done = []
        subscription.close()
        subscription.offer_run([Tick(1), Tick(2)], done.append)
        assert (subscription.stats().matched, sum(done)) == (0, 2)


async def test_an_iterator_lets_others_have_their_turn_however_much_waits():
    subscription = iterator()
    subscription.offer_run([Tick(number) for number in range(1000)], lambda _: None)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for number in range(1000):
        assert (await subscription.next()).number == number
    counting.cancel()
    await asyncio.wait([counting])
    assert turns > 10
    subscription.close()


async def test_another_thread_takes_nothing():
    subscription = iterator()
    subscription.offer_run([Tick(1)], lambda _: None)
    with pytest.raises(mycelium.UsageError, match="belongs to one thread"):
        await asyncio.to_thread(asyncio.run, subscription.next())
    assert (await subscription.next()).number == 1
    subscription.close()
