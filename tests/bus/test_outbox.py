"""A subscription's queue at the bridge by example; `test_policies` holds it to a model."""

import pytest

from mycelium.bus.lag import DropReason
from mycelium.bus.outbox import Outbox
from mycelium.wire.frames import HEADER
from peers import batch_of

ALL = 1 << 30


def numbered(start, stop, type_id=1000, size=2):
    return batch_of(*((type_id, number.to_bytes(size, "little")) for number in range(start, stop)))


def numbers(batch):
    return [int.from_bytes(batch.payload(index), "little") for index in range(len(batch))]


def taken(outbox, most=ALL):
    """Everything that may be sent now."""
    out = []
    while (batch := outbox.take(most)) is not None:
        out += numbers(batch)
    return out


def test_messages_come_out_in_their_order_whatever_batches_they_came_in():
    outbox = Outbox()
    for start in range(0, 30, 10):
        outbox.put(numbered(start, start + 10))
    assert taken(outbox) == list(range(30))
    assert not outbox.ready


def test_p44_a_full_queue_drops_its_oldest_messages():
    outbox = Outbox(limit=4)
    outbox.put(numbered(0, 3))
    outbox.put(numbered(3, 10))
    assert outbox.queued == 4
    assert outbox.stats().dropped == {"dropped_oldest": 6}
    assert taken(outbox) == [6, 7, 8, 9]


def test_bytes_are_a_bound_as_well_as_messages():
    outbox = Outbox(limit_bytes=100)
    outbox.put(numbered(0, 10, size=14))  # 20 bytes a frame
    assert (outbox.queued, outbox.queued_bytes) == (5, 100)
    assert taken(outbox) == [5, 6, 7, 8, 9]


def test_a_single_message_is_kept_however_large():
    outbox = Outbox(limit_bytes=100)
    outbox.put(numbered(0, 1, size=500))
    assert taken(outbox) == [0]


def test_what_is_dropped_is_told_by_type_and_once():
    outbox = Outbox(limit=1)
    outbox.put(batch_of((1000, b""), (1001, b""), (1000, b""), (1000, b"")))
    assert outbox.losses.untold
    oldest = DropReason.DROPPED_OLDEST
    assert outbox.losses.take_untold() == [(1000, oldest, 2), (1001, oldest, 1)]
    assert (outbox.losses.take_untold(), outbox.losses.untold) == ([], False)


def test_nothing_passes_by_a_queue_that_has_something_or_something_to_say_or_no_credit():
    clear = Outbox(window=1)
    assert clear.is_clear
    clear.passed(numbered(0, 1))
    assert not clear.is_clear, "no credit"
    clear.add_credit(1)
    assert clear.is_clear
    clear.put(numbered(1, 2))
    assert not clear.is_clear, "a message waits"
    assert taken(clear) == [1]
    dropping = Outbox(limit=1)
    dropping.put(numbered(0, 2))
    assert taken(dropping) == [1]
    assert not dropping.is_clear, "the client is to be told of a drop"
    dropping.losses.take_untold()
    assert dropping.is_clear


def test_credit_bounds_what_is_out():
    outbox = Outbox(window=3)
    outbox.put(numbered(0, 10))
    assert taken(outbox) == [0, 1, 2]
    assert not outbox.ready
    assert outbox.stats().in_flight == 3
    outbox.add_credit(2)
    assert outbox.ready
    assert taken(outbox) == [3, 4]
    assert outbox.stats().delivered == 2


def test_a_client_cannot_give_back_more_than_it_has():
    outbox = Outbox(window=3)
    outbox.put(numbered(0, 10))
    assert taken(outbox) == [0, 1, 2]
    outbox.add_credit(0xFFFFFFFF)
    assert taken(outbox) == [3, 4, 5]
    assert outbox.stats().balanced


def test_take_gives_no_more_bytes_than_asked_for_but_at_least_a_message():
    outbox = Outbox()
    outbox.put(batch_of((1000, bytes(1000)), (1000, b"\1"), (1000, b"\2"), (1000, b"\3")))
    assert [len(outbox.take(15)) for _ in range(3)] == [1, 2, 1]


def test_without_a_window_a_message_is_delivered_when_it_is_sent():
    outbox = Outbox()
    outbox.put(numbered(0, 3))
    assert taken(outbox) == [0, 1, 2]
    stats = outbox.stats()
    assert (stats.delivered, stats.in_flight) == (3, 0)


class TestReplacing:
    def test_keeps_what_still_fits(self):
        outbox = Outbox()
        outbox.put(batch_of((1000, b"\0"), (1001, b"\1"), (1001, b"\2"), (1002, b"\3"), (1000, b"\4")))
        outbox.replace(8192, None, lambda type_id: type_id != 1001)
        assert taken(outbox) == [0, 3, 4]
        assert outbox.stats().dropped == {"disconnected": 2}

    def test_leaves_the_new_window_less_what_is_out(self):
        outbox = Outbox(window=4)
        outbox.put(numbered(0, 20))
        assert len(taken(outbox)) == 4
        outbox.replace(8192, 6, lambda _: True)
        assert taken(outbox) == [4, 5]
        outbox.replace(8192, 2, lambda _: True)
        assert taken(outbox) == []
        outbox.add_credit(6)
        assert taken(outbox) == [6, 7, 8, 9, 10, 11]

    def test_begins_a_window_with_nothing_out(self):
        outbox = Outbox()
        outbox.put(numbered(0, 5))
        assert len(taken(outbox)) == 5
        outbox.put(numbered(5, 20))
        outbox.replace(8192, 3, lambda _: True)
        assert taken(outbox) == [5, 6, 7]

    def test_ends_a_window_with_nothing_out(self):
        outbox = Outbox(window=2)
        outbox.put(numbered(0, 5))
        assert taken(outbox) == [0, 1]
        outbox.replace(8192, None, lambda _: True)
        assert outbox.stats().in_flight == 0
        assert taken(outbox) == [2, 3, 4]
        outbox.add_credit(2)  # was under way
        assert outbox.stats().balanced

    def test_holds_the_queue_to_a_smaller_bound(self):
        outbox = Outbox()
        outbox.put(numbered(0, 10))
        outbox.replace(3, None, lambda _: True)
        assert taken(outbox) == [7, 8, 9]

    def test_lets_go_of_chunks_of_which_little_is_left(self):
        outbox = Outbox()
        outbox.put(batch_of((1000, b"\1"), *((1001, bytes(100)) for _ in range(50))))
        outbox.replace(8192, None, lambda type_id: type_id == 1000)
        assert len(outbox.take(ALL).data) == HEADER.size + 1


def test_shows_what_it_holds():
    outbox = Outbox(window=5)
    outbox.put(numbered(0, 3))
    assert repr(outbox) == "<Outbox of 3 messages, 24 bytes, credit 5>"


@pytest.mark.parametrize("most", [1, 7, 8, 9, 1000])
def test_any_slice_gives_every_message_once(most):
    outbox = Outbox()
    for start in range(0, 100, 9):
        outbox.put(numbered(start, min(100, start + 9)))
    assert taken(outbox, most) == list(range(100))
