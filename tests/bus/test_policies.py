"""Both queues under all six lag policies against one model: a plain list, the law, and the order kept."""

from collections import Counter, OrderedDict
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, precondition, rule
from policies import TYPES, Item, Policies, run_of

from mycelium.bus.delivery import Delivery
from mycelium.bus.holds import Hold
from mycelium.bus.keys import key_of
from mycelium.bus.lag import DropReason, Lag
from mycelium.bus.ledger import Ledger
from mycelium.bus.localqueue import LocalQueue
from mycelium.bus.outbox import HOLD_BYTES, Outbox
from mycelium.bus.retained import LastValue, Retained
from mycelium.wire.frames import HEADER
from peers import batch_of


class LocalPolicies(Policies):
    def __init__(self):
        super().__init__()
        self.queue = LocalQueue(4, lambda: self.told.append("slow" if self.queue.is_slow else "recovered"))
        self.done = Counter()
        self.runs = []
        """Of each run how many messages are not done with."""
        self.in_runs = 0

    losses = property(lambda self: self.queue.losses)

    def size_of(self, _):
        return 1

    def offer(self, item, deadline):
        done = partial(self.finish, item.message.number)
        return self.queue.put(item.message, Delivery(), done, item.lag, deadline)

    def finish(self, number, messages):
        self.done[number] += messages

    @rule(
        keys=st.lists(st.integers(0, 2), min_size=1, max_size=5), lag=st.sampled_from(sorted(set(Lag) - {Lag.LATEST}))
    )
    def put_a_run(self, keys, lag):
        """Where there is room for all of it a run is taken as its messages would be one by one; else none of them."""
        items = [Item(TYPES[key % 2](key, next(self.numbers), b""), lag, 1) for key in keys]
        fits = len(self.model.waiting) + len(items) <= 4
        number = len(self.runs)

        def finish(messages):
            self.runs[number] -= messages

        assert self.queue.put_run([one.message for one in items], Delivery(), finish) == fits
        if fits:
            self.runs.append(len(items))
            self.in_runs += len(items)
            assert [self.model.put(one, None) for one in items] == [None] * len(items)

    def took(self, entry):
        message, _, done, _ = entry
        item = next(one for one in self.model.queue if one.message is message)
        self.removed(item)
        done(1)
        self.model.delivered += 1
        self.model.settle()
        return item

    @rule()
    def pop(self):
        head = self.model.queue[0] if self.model.queue else None
        entry = self.queue.pop()
        if head is None:
            assert entry is None
        else:
            assert self.took(entry) is head

    @rule(busy=st.sets(st.integers(0, 2)))
    def pop_free(self, busy):
        """A message without a key is never in anybody's way."""
        lanes = {(1000, (key,)): 1 for key in busy}
        free = [one for one in self.model.queue if one.type_id == 1001 or one.message.id not in busy]
        entry = self.queue.pop_free(lanes)
        if not free:
            assert entry is None
            return
        message, _, done, _ = entry
        assert message is free[0].message
        item = next(one for one in self.model.queue if one.message is message)
        self.model.queue.remove(item)
        done(1)
        self.model.delivered += 1
        self.model.settle()

    @rule(now=st.integers(0, 50))
    def expire(self, now):
        late = [one for one in self.model.held if one.deadline is not None and one.deadline <= now]
        self.model.give_up(late, DropReason.BLOCK_TIMEOUT)
        self.queue._holds.expire(now)

    @invariant()
    def every_message_is_done_with_once(self):
        assert set(self.done.values()) <= {1}
        assert min(self.runs, default=0) >= 0
        assert len(self.done) == self.model.delivered + self.model.dropped.total() - self.done_of_runs()
        assert len(self.queue) == len(self.model.waiting)

    def teardown(self):
        self.queue.clear(DropReason.DISCONNECTED)
        assert len(self.queue) == 0
        assert len(self.done) + self.done_of_runs() == self.model.matched
        assert set(self.runs) <= {0}

    def done_of_runs(self):
        return self.in_runs - sum(self.runs)


class RemotePolicies(Policies):
    limit_bytes = 120

    def __init__(self):
        super().__init__()
        self.ledger = Ledger(1 << 30)
        self.outbox = Outbox(
            4,
            3,
            self.limit_bytes,
            self.ledger,
            lambda: self.told.append("slow" if self.outbox.is_slow else "recovered"),
        )
        self.credit = 3
        self.backlog = []
        self.retained = Retained(self.ledger, most_keys=4)
        self.last = OrderedDict()

    losses = property(lambda self: self.outbox.losses)

    def size_of(self, pad):
        return HEADER.size + len(TYPES[0](0, 0, bytes(pad)).to_bytes())

    def offer(self, item, deadline):
        frame = batch_of((item.type_id, item.message.to_bytes()))
        slot = (item.type_id, key_of(item.message))
        return self.outbox.put(frame, item.lag, slot, deadline)

    @precondition(lambda self: not self.model.held)
    @rule(pads=st.lists(st.integers(0, 30), min_size=1, max_size=7))
    def put_a_run_under_drop_oldest(self, pads):
        items = self.items(pads, Lag.DROP_OLDEST)
        assert self.outbox.alike(run_of(items), 0, Lag.DROP_OLDEST, None, exactly=True) == len(items)
        self.outbox.put(run_of(items))
        self.model.matched += len(items)
        self.model.queue += items
        self.model.trim()

    @rule(
        target=Policies.holds,
        pads=st.lists(st.integers(0, 30), min_size=1, max_size=9) | st.integers(0, 9).map(lambda count: [3] * count),
        lag=st.sampled_from(sorted(set(Lag) - {Lag.LATEST})),
        deadline=st.none() | st.integers(1, 50),
        exactly=st.booleans(),
    )
    def put_as_many_as_are_alike(self, pads, lag, deadline, exactly):
        """What becomes of a run is what would become of its messages one by one."""
        items, held = self.items(pads, lag), []
        run = run_of(items)
        while items:
            start = len(run) - len(items)
            count = self.outbox.alike(run, start, lag, deadline, exactly=exactly)
            wanted = [self.model.put(item, deadline) for item in items[:count]]
            got = self.outbox.put(run.part(start, start + count), lag, None, deadline)
            if isinstance(got, Hold):
                assert wanted == ["held"] * count
                assert count == 1 or not exactly
                got.when_decided(partial(self.decided, got))
                held.append(items[0])
                for item in items[:count]:
                    item.hold = got
            elif lag is not Lag.DROP_OLDEST:
                assert wanted == [got] * count
            del items[:count]
        return multiple(*held)

    def items(self, pads, lag):
        return [Item(TYPES[pad % 2](0, next(self.numbers), bytes(pad)), lag, self.size_of(pad)) for pad in pads]

    def check_taken(self, batch, expected):
        got = [batch.payload(index) for index in range(len(batch))]
        assert got == [one.message.to_bytes() for one in expected]

    @rule(most=st.integers(1, 300))
    def take(self, most):
        batch = self.outbox.take(most)
        if self.backlog and self.credit != 0:
            item = self.backlog.pop(0)
            self.check_taken(batch, [item])
            self.model.matched += 1
        elif self.credit == 0 or not self.model.queue:
            assert batch is None
            return
        else:
            items = self.model.queue[: len(batch)]
            self.check_taken(batch, items)
            assert batch.size <= most or len(batch) == 1
            for item in items:
                self.removed(item)
            self.model.settle()
        if self.credit is None:
            self.model.delivered += len(batch)
        else:
            assert len(batch) <= self.credit
            self.credit -= len(batch)
            self.model.out += len(batch)

    @precondition(lambda self: self.outbox.is_clear)
    @rule(pad=st.integers(0, 30), lag=st.sampled_from(sorted(set(Lag))))
    def send_past_the_queue(self, pad, lag):
        """Where a message may pass by it is counted as one that is put and taken, whatever its policy."""
        before_it = [*self.model.queue, *self.model.held, *self.backlog]
        assert (before_it, dict(self.outbox.losses.pending), self.credit == 0) == ([], {}, False)
        (item,) = self.items([pad], lag)
        self.outbox.passed(run_of([item]))
        self.model.matched += 1
        if self.credit is None:
            self.model.delivered += 1
        else:
            self.credit -= 1
            self.model.out += 1

    @rule(messages=st.integers(0, 8))
    def give_credit(self, messages):
        self.outbox.add_credit(messages)
        if self.credit is not None:
            given = min(messages, self.model.out)
            self.credit += given
            self.model.out -= given
            self.model.delivered += given

    @rule(pads=st.lists(st.integers(0, 30), max_size=5))
    def retain(self, pads):
        """Last values are replaced, and forgotten, also those that somebody has still to be sent."""
        for item in self.items(pads, Lag.DROP_OLDEST):
            slot = (item.type_id, item.message.number % 3)
            self.retained.keep(slot, LastValue(item.type_id, batch_of((item.type_id, item.message.to_bytes()))))
            self.last.pop(slot, None)
            self.last[slot] = item
            if len(self.last) > 4:
                self.last.popitem(last=False)

    @rule(types=st.sets(st.sampled_from([1000, 1001])))
    def remember(self, types):
        """Last values wait outside the queue, as they were at that moment."""
        self.outbox.remember(self.retained.of(types.__contains__))
        self.backlog += [one for one in self.last.values() if one.type_id in types]

    @rule(
        limit=st.integers(1, 6),
        window=st.none() | st.integers(1, 5),
        types=st.sets(st.sampled_from([1000, 1001]), min_size=1),
    )
    def replace(self, limit, window, types):
        self.outbox.replace(limit, window, types.__contains__)
        model = self.model
        model.limit = limit
        if window is None:
            model.delivered += model.out
            model.out = 0
        self.credit = None if window is None else max(0, window - model.out)
        self.backlog = [one for one in self.backlog if one.type_id in types]
        model.give_up([one for one in model.held if one.type_id not in types], DropReason.DISCONNECTED)
        kept = [one for one in model.queue if one.type_id in types]
        if len(kept) < len(model.queue):
            model.dropped["disconnected"] += len(model.queue) - len(kept)
        model.queue = kept
        model.trim(quietly=True)
        model.settle()

    @rule(most=st.integers(1, 100))
    def relieve(self, most):
        before = self.outbox.queued
        self.outbox.relieve(most)
        gone = before - self.outbox.queued
        model = self.model
        assert bool(gone) == bool(model.queue)
        lost, model.queue = model.queue[:gone], model.queue[gone:]
        assert sum(one.size for one in lost[:-1]) < most
        for one in lost:
            model.lose(one, DropReason.MEMORY)
        if lost:
            model.settle()

    @precondition(lambda self: len(self.given) > 3)
    @rule(handled=st.booleans())
    def clear(self, handled):
        self.outbox.clear(DropReason.DISCONNECTED, handled=handled)
        model = self.model
        model.give_up(list(model.held), DropReason.DISCONNECTED)
        for one in model.queue:
            model.lose(one, DropReason.DISCONNECTED)
        model.queue, self.backlog = [], []
        if handled:
            model.delivered += model.out
        elif model.out:
            model.dropped["disconnected"] += model.out
        model.out = 0
        model.settle()
        assert self.ledger.used == self.retained.bytes

    @invariant()
    def counters_and_bytes_are_exact(self):
        stats, model = self.outbox.stats(), self.model
        assert stats.balanced
        assert (stats.matched, stats.delivered, stats.in_flight) == (model.matched, model.delivered, model.out)
        assert stats.queued == len(model.waiting)
        assert self.outbox.queued_bytes == sum(one.size for one in model.waiting)
        assert self.outbox.remembered == len(self.backlog)
        assert self.outbox.ready == (self.credit != 0 and bool(model.queue or self.backlog))
        sendable = [*self.backlog, *model.queue][: self.credit]
        assert self.outbox.sendable_bytes == sum(one.size for one in sendable)

    @invariant()
    def the_ledger_counts_each_chunk_once(self):
        outbox = self.outbox
        held = [cell.batch for cell in outbox._holds]
        snapshots = {run.snapshot for _, _, run in outbox._backlog._runs}
        old = [kept.value.frame for one in (*snapshots, *self.retained.of(lambda _: True)) for kept in one.values()]
        chunks = {id(one.data): len(one.data) for one in (*old, *outbox._queue, *held)}
        assert self.ledger.used == sum(chunks.values()) + HOLD_BYTES * len(held)

    def teardown(self):
        self.outbox.clear(DropReason.DISCONNECTED, handled=False)
        assert (self.ledger.used, self.outbox.queued, self.outbox.queued_bytes) == (self.retained.bytes, 0, 0)


LocalPolicies.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
RemotePolicies.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestALocalQueue = LocalPolicies.TestCase
TestAnOutbox = RemotePolicies.TestCase
