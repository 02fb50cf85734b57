"""Who gets a type: by name, or everything that its connection does not name; runs of frames with the same takers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mycelium
from mycelium.bus.exchange import Exchange
from mycelium.bus.lag import DropReason
from mycelium.bus.limits import Limits
from mycelium.bus.options import GROUP_PROBLEM
from mycelium.bus.outbox import Outbox
from mycelium.bus.remote import RemoteSubscriptions
from mycelium.bus.remotesubscription import RemoteSubscription
from mycelium.handle import core_protocol
from peers import batch_of

CORE = core_protocol()
CONTRACTS = mycelium.load((Path(__file__).parents[2] / "contracts.yaml").read_text())
STRANGER = SimpleNamespace(subscriptions=None)
"""A publisher without subscriptions."""


class Connection:
    """The subscriptions of one connection, with what they were told."""

    client = "c"
    tally = None

    def __init__(self, exchange, limits=None):
        self.readies = self.laggings = 0
        self.subscriptions = RemoteSubscriptions(exchange, limits or Limits(), self)

    def ready(self):
        self.readies += 1

    def pass_on(self, *_):
        return False

    def lags(self):
        self.laggings += 1

    def too_slow(self, problem):
        raise AssertionError(problem)

    def warn(self, line, reason, text, **values):
        pass

    def subscribe(self, number, *type_ids, **options):
        wish = CORE.Subscribe(request=1, subscription=number, type_ids=list(type_ids), **options)
        problem = self.subscriptions.problem_with(wish)
        if problem is None:
            self.subscriptions.put(wish)
        return problem

    def taken(self):
        """Everything that may be sent, as (subscription, type ids)."""
        out = []
        while (taken := self.subscriptions.take(1 << 20)) is not None:
            subscription, batch = taken
            out.append((subscription.number, batch.type_ids))
        return out


@pytest.fixture
def exchange(contracts):
    return Exchange(contracts)


def takers(exchange, type_id):
    return [one.number for one in exchange.router.takers(type_id)]


def test_a_type_goes_to_who_named_it(exchange):
    one, two = Connection(exchange), Connection(exchange)
    one.subscribe(1, 1000, 1001)
    two.subscribe(2, 1001)
    assert [takers(exchange, type_id) for type_id in (1000, 1001, 1002)] == [[1], [1, 2], []]


def test_all_means_every_type_that_no_other_subscription_of_the_connection_names(exchange):
    one, two = Connection(exchange), Connection(exchange)
    one.subscribe(1)
    one.subscribe(2, 1000)
    two.subscribe(3)
    assert [takers(exchange, type_id) for type_id in (1000, 1001)] == [[2, 3], [1, 3]]
    one.subscriptions.drop(2)
    assert takers(exchange, 1000) == [1, 3]


def test_what_ended_gets_nothing(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000)
    one.subscriptions.drop(1)
    assert takers(exchange, 1000) == []
    one.subscribe(2)
    one.subscriptions.clear(DropReason.DISCONNECTED, handled=True)
    assert takers(exchange, 1000) == []
    assert repr(exchange.router) == "<Router of 0 types and 0 subscriptions to all>"


def runs(exchange, batch):
    return [
        (batch.type_ids[start:stop], [one.number for one in takers])
        for start, stop, takers in exchange.router.runs(batch)
    ]


def test_neighbours_with_the_same_takers_are_one_run_whatever_their_types(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000, 1001)
    one.subscribe(2, 1002)
    batch = batch_of(*((type_id, b"") for type_id in (1000, 1001, 1000, 1002, 1002, 1003, 1001)))
    assert runs(exchange, batch) == [([1000, 1001, 1000], [1]), ([1002, 1002], [2]), ([1003], []), ([1001], [1])]


def test_a_batch_with_one_set_of_takers_is_routed_whole(exchange):
    Connection(exchange).subscribe(1)
    batch = batch_of((1000, b"a"), (1001, b"b"))
    assert [(start, stop) for start, stop, _ in exchange.router.runs(batch)] == [(0, 2)]


def test_a_batch_that_nobody_takes_is_one_run_for_nobody(exchange):
    assert runs(exchange, batch_of((1000, b""), (1001, b""))) == [([1000, 1001], [])]


@given(st.lists(st.sampled_from([1000, 1001, 1002, 1003]), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_runs_give_each_taker_its_frames_in_order(type_ids):
    exchange = Exchange(CONTRACTS)
    wanted = {1: {1000}, 2: {1001, 1002}, 3: {1000, 1002}}
    for number, types in wanted.items():
        Connection(exchange).subscribe(number, *types)
    batch = batch_of(*((type_id, bytes([index])) for index, type_id in enumerate(type_ids)))
    got = {number: [] for number in wanted}
    for start, stop, takers in exchange.router.runs(batch):
        for taker in takers:
            got[taker.number] += [batch.payload(index)[0] for index in range(start, stop)]
    assert got == {
        number: [index for index, type_id in enumerate(type_ids) if type_id in types]
        for number, types in wanted.items()
    }


def test_a_short_run_of_a_long_chunk_has_bytes_of_its_own(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000)
    exchange.publish_batch(batch_of((1000, b"a"), *((1001, bytes(50)) for _ in range(20))), STRANGER, None)
    _, batch = one.subscriptions.take(1 << 20)
    assert len(batch.data) == batch.size


# --- subscriptions of one connection ---


def offer(exchange, *type_ids):
    exchange.publish_batch(batch_of(*((type_id, b"x") for type_id in type_ids)), STRANGER, None)


def test_subscriptions_send_in_turn(exchange):
    one = Connection(exchange)
    for number in (1, 2):
        one.subscribe(number, 1000 + number, window=2)
    for _ in range(2):
        offer(exchange, 1001, 1002)
    assert one.taken() == [(1, [1001]), (2, [1002]), (1, [1001]), (2, [1002])]
    assert one.readies


def test_a_subscription_without_credit_waits_for_it_and_says_when_it_lags(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000, window=1, queue=2)
    offer(exchange, 1000)
    assert one.taken() == [(1, [1000])]
    told = one.readies
    offer(exchange, 1000, 1000)
    assert (one.taken(), one.readies, one.laggings) == ([], told, 0)
    offer(exchange, 1000)
    assert one.laggings == 1
    one.subscriptions.add_credit(1, 1)
    assert one.readies == told + 1
    assert one.taken() == [(1, [1000])]
    assert one.subscriptions.queued == 1


def test_credit_for_an_unknown_number_has_crossed_its_unsubscribe(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000, window=1)
    offer(exchange, 1000, 1000)
    assert one.taken() == [(1, [1000])]
    one.subscriptions.add_credit(9, 5)
    assert one.taken() == []


def test_the_same_number_again_replaces_types_and_keeps_what_fits(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000, 1001, window=1)
    offer(exchange, 1000)
    assert one.taken() == [(1, [1000])]
    offer(exchange, 1000, 1001, 1000)
    one.subscribe(1, 1000, 1002, window=3)
    assert takers(exchange, 1001) == []
    assert takers(exchange, 1002) == [1]
    assert one.taken() == [(1, [1000]), (1, [1000])]
    assert len(one.subscriptions) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"on_lag": 0}, None),
        ({"on_lag": 5}, None),
        ({"on_lag": 6}, "no lag policy has the number 6; there are 0 to 5"),
        ({"group": "g"}, None),
        ({"group": "é" * 128}, None),
        *(({"group": group}, GROUP_PROBLEM) for group in ("", "g" * 129, "g\n", "\x1b[2J", "\u202e")),
        ({"window": 0}, "a window or queue of 0 messages delivers nothing; leave it out for the default"),
        ({"queue": 0}, "a window or queue of 0 messages delivers nothing; leave it out for the default"),
    ],
)
def test_options_that_cannot_be_are_refused(exchange, options, problem):
    refused = Connection(exchange).subscribe(1, 1000, **options)
    assert refused == (None if problem is None else (1, problem))


def test_a_type_belongs_to_one_subscription_of_a_connection(exchange):
    one, other = Connection(exchange), Connection(exchange)
    assert one.subscribe(1, 1000) is None
    assert one.subscribe(2, 1000, 1001) == (1, "type ids [1000] belong to another subscription of this connection")
    assert takers(exchange, 1001) == []
    assert other.subscribe(2, 1000, 1001) is None


def test_a_connection_has_all_types_once(exchange):
    one = Connection(exchange)
    assert one.subscribe(1) is None
    assert one.subscribe(1) is None
    assert one.subscribe(2) == (1, "another subscription of this connection has all types already")


def test_p37_the_subscription_over_the_limit_is_refused_alone(exchange):
    one = Connection(exchange, Limits(subscriptions=2))
    assert [one.subscribe(number, 1000 + number) for number in (1, 2)] == [None, None]
    assert one.subscribe(3, 1003) == (3, "more than 2 subscriptions")
    assert one.subscribe(2, 1004) is None


def test_types_over_the_limit_are_refused(exchange):
    one = Connection(exchange, Limits(types=3))
    assert one.subscribe(1, 1000, 1001) is None
    assert one.subscribe(2, 1002, 1003) == (3, "more than 3 types")
    assert one.subscribe(1, 1004, 1005, 1006) is None


def test_types_that_the_client_cannot_read_now_are_counted_and_told(exchange):
    one = Connection(exchange)
    one.subscribe(1, 1000, 1001)
    one.subscriptions.blocked = frozenset({1000})
    offer(exchange, 1000, 1001, 1000)
    assert one.laggings
    (subscription,) = one.subscriptions
    assert subscription.outbox.losses.take_untold() == [(1000, DropReason.SCHEMA, 2)]
    assert one.taken() == [(1, [1001])]
    assert subscription.outbox.stats().dropped == {"schema": 2}


def test_a_queue_over_the_bridges_limit_is_refused_and_the_limit_is_the_default(exchange):
    one = Connection(exchange, Limits(queue=2))
    assert one.subscribe(1, 1000, window=1, queue=3) == (3, "a queue of 3 messages; this bridge allows 2")
    assert one.subscribe(1, 1000, window=1) is None
    offer(exchange, *[1000] * 5)
    assert one.subscriptions.queued == 2


def test_shows_what_it_is(exchange):
    one = Connection(exchange)
    subscription = RemoteSubscription(one.subscriptions, 3, frozenset({1001, 1000}), Outbox())
    assert repr(subscription) == "<RemoteSubscription 3 to [1000, 1001], <Outbox of 0 messages, 0 bytes, credit None>>"
    assert repr(one.subscriptions) == "<RemoteSubscriptions []>"
