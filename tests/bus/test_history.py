"""Any history of subscriptions and messages between a bus and a client over a real socket, against a model.

What was published while a subscription was confirmed arrives, once and in order within its type (a subscription may
share some of its types with an earlier one); what was published before may arrive; nothing does after the end. And
whatever happened, no credit is lost.
"""

import asyncio
import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import mycelium
from peers import until

CONTRACTS = mycelium.load(
    "messages:\n"
    + "".join(f"  M{number}: {{tlv_type: {1000 + number}, fields: {{n: {{type: u32}}}}}}\n" for number in range(4))
)
TYPES = list(CONTRACTS)
WINDOW = 3
SOME = st.sets(st.integers(0, 3), min_size=1)


class Taker:
    """A subscription and what the model knows of it."""

    def __init__(self, types):
        self.types = types
        self.got, self.must = [], []
        self.ended = self.late = False
        self.task = None

    def take(self, message):
        self.got.append((message.TYPE_ID - 1000, message.n))
        self.late = self.ended

    def published(self, kind, number):
        if kind in self.types and self.task.done():
            self.must.append((kind, number))

    @property
    def satisfied(self):
        return set(self.must) <= set(self.got)

    def check(self):
        assert not self.late, "a message after the end"
        assert len(set(self.got)) == len(self.got), "doubled"
        for kind in range(4):
            numbers = [number for its, number in self.got if its == kind]
            assert numbers == sorted(numbers), "out of order"
            assert not numbers or kind in self.types, "not subscribed to"


class History(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner(debug=False)
        self.numbers = itertools.count()
        self.takers = []
        self.run(self.begin())

    def run(self, step):
        return self.runner.run(step)

    async def begin(self):
        self.bus = mycelium.MessageBus(CONTRACTS)
        self.bridge = self.bus.serve("tcp://127.0.0.1:0")
        await self.bridge.start()
        self.client = mycelium.MyceliumClient(CONTRACTS)
        await self.client.connect(self.bridge.urls[0])

    @property
    def live(self):
        return [taker for taker in self.takers if not taker.ended]

    @precondition(lambda self: len(self.live) < 5)
    @rule(types=SOME, slow=st.booleans())
    def subscribe(self, types, slow):
        self.run(self.ask(Taker(types), slow))

    async def ask(self, taker, slow):
        async def take_slowly(message):
            taker.take(message)
            await asyncio.sleep(0)

        classes = [TYPES[kind] for kind in taker.types]
        handler = take_slowly if slow else taker.take
        taker.task = asyncio.ensure_future(self.client.subscribe(handler, *classes, window=WINDOW))
        self.takers.append(taker)
        await asyncio.sleep(0)

    @rule(kinds=st.lists(st.integers(0, 3), min_size=1, max_size=8))
    def publish(self, kinds):
        self.run(self.publish_all(kinds))

    async def publish_all(self, kinds):
        for kind in kinds:
            number = next(self.numbers)
            for taker in self.live:
                taker.published(kind, number)
            self.bus.publish_nowait(TYPES[kind](n=number))

    @rule(turns=st.integers(1, 4))
    def turn(self, turns):
        self.run(self.let_turn(turns))

    async def let_turn(self, turns):
        for _ in range(turns):
            await asyncio.sleep(0)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def unsubscribe(self, data):
        self.run(self.leave(data.draw(st.sampled_from(self.live))))

    async def leave(self, taker):
        subscription = await taker.task
        subscription.close()
        taker.ended = True
        taker.check()

    @precondition(lambda self: self.live)
    @rule()
    def settle(self):
        self.run(self.arrive())

    async def arrive(self):
        for taker in self.live:
            await taker.task
        await until(lambda: all(taker.satisfied for taker in self.live))
        await self.client.flush()
        for taker in self.takers:
            taker.check()

    def teardown(self):
        try:
            self.run(self.finish())
        finally:
            self.runner.close()

    async def finish(self):
        await self.arrive()
        (session,) = self.bridge.sessions

        def quiet():
            self.client._inbox.settle()
            return all(one.outbox.stats().in_flight == one.outbox.queued == 0 for one in session.subscriptions)

        await until(quiet)
        assert all(one.outbox.stats().balanced for one in session.subscriptions)
        assert {type_id for one in session.subscriptions for type_id in one.type_ids} == {
            1000 + kind for taker in self.live for kind in taker.types
        }
        await self.client.close()
        await self.bridge.close()
        await self.bus.close()


History.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestAnyHistory = History.TestCase
