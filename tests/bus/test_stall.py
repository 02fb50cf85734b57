"""A peer that does not read: how much and how long is too much."""

from mycelium.bus.limits import Limits
from mycelium.bus.outgoing import Outgoing
from mycelium.bus.stall import Stall

STALL = Limits(
    outbound_bytes=1000, outbound_soft_bytes=100, outbound_soft_seconds=60, stall_seconds=10, unsent_seconds=30
)


def test_p46_one_byte_over_the_outbound_limit_is_too_much():
    assert Stall(STALL, 0, 0, 50).check(0, 0, 50, 1000) is None
    assert Stall(STALL, 0, 0, 50).check(0, 0, 50, 1001) == "1001 bytes wait for it, over 1000"


def test_p47_ten_seconds_without_a_byte_taken_are_too_long():
    stall = Stall(STALL, 0, 10, 50)
    assert stall.check(9.999, 10, 50, 40) is None
    assert stall.check(10, 10, 50, 40) == "it has read nothing for 10 s"
    stall = Stall(STALL, 0, 10, 50)
    assert stall.check(9.5, 11, 50, 39) is None
    assert stall.check(19.25, 11, 50, 39) is None
    assert stall.check(19.5, 11, 50, 39) == "it has read nothing for 10 s"


def test_a_byte_that_is_not_out_for_too_long_ends_it_however_the_peer_drips():
    stall = Stall(STALL, 0, 0, 50)
    assert all(stall.check(now, now, 50, 50 - now) is None for now in range(30))
    assert stall.check(30, 30, 50, 20) == "the oldest unsent byte is 30 s old"
    stall = Stall(STALL, 0, 0, 20)
    assert all(stall.check(now, now, 20 + now, 20) is None for now in range(200))


def test_much_that_waits_without_a_break_ends_it():
    def told(waiting_at):
        stall = Stall(STALL, 0, 0, 50)
        return [stall.check(now, now * 50, now * 50 + 50, waiting_at(now)) for now in range(62)]

    assert told(lambda _: 100) == [None] * 62
    assert told(lambda now: 100 if now == 30 else 101) == [None] * 62
    assert told(lambda _: 101)[59:61] == [None, "over 100 bytes have waited for it for 60 s"]


def test_a_socket_that_moves_now_and_then_ends_no_wait_of_much():
    """The socket of a slow reader takes something every few seconds; that is no break in over 100 bytes waiting."""
    stall = Stall(STALL, 0, 0, 50)
    for now in range(60):
        assert stall.check(now, 0, 50, 101) is None
        if now % 9 == 8:
            stall.moves()
    assert stall.check(60, 0, 50, 101) == "over 100 bytes have waited for it for 60 s"


class Sendable:
    """Subscriptions with bytes that only the socket keeps from being sent."""

    sendable_bytes = 101
    turns = ("one",)

    def take(self, _):
        return None


def test_a_slow_reader_is_watched_until_nothing_waits_for_it():
    def outgoing():
        made = Outgoing(STALL, Sendable(), lambda _: b"")
        made.say(bytes(50))
        made.take()
        return made

    def slow_until(outgoing, then):
        for now in range(60):
            assert outgoing.watch(now, 10) is None
            if now % 5 == 0:
                outgoing.moves()
            if now == 30:
                then(outgoing)
        return outgoing.watch(60, 10)

    def drain(outgoing):
        outgoing._subscriptions.turns = ()
        outgoing.take()
        outgoing._subscriptions.turns = Sendable.turns

    assert slow_until(outgoing(), lambda _: None) == "over 100 bytes have waited for it for 60 s"
    assert slow_until(outgoing(), Outgoing.take) == "over 100 bytes have waited for it for 60 s"
    assert slow_until(outgoing(), drain) is None
