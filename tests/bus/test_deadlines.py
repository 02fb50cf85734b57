"""One timer for all that wait: in the order of their ends, exact, bounded, and for the loop in which they wait."""

import asyncio
import heapq
import itertools

import pytest

import mycelium
from mycelium.bus.deadlines import Deadlines

TEXT = """
messages:
  Ping: {tlv_type: 1001, fields: {number: {type: u64}}}
  Pong: {tlv_type: 1002, fields: {number: {type: u64}}}
"""


class Handle:
    def __init__(self):
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Clock:
    """The clock and the timers of a loop; `grain` rounds both to so many seconds, as uvloop's do to milliseconds."""

    def __init__(self, grain=0.0):
        self.now = 100.0
        self.grain = grain
        self.woken = 0
        self._timers = []
        self._numbers = itertools.count()

    def time(self):
        return self.now

    def call_at(self, when, callback):
        delay = max(when - self.now, 0.0)
        if self.grain:
            delay = round(delay / self.grain) * self.grain
        handle = Handle()
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), handle, callback))
        return handle

    @property
    def armed(self):
        return sum(not handle.cancelled for _, _, handle, _ in self._timers)

    def run(self):
        """Let all timers come."""
        while self._timers:
            when, _, handle, callback = heapq.heappop(self._timers)
            if not handle.cancelled:
                self.now = max(self.now, when)
                self.woken += 1
                callback()


def waiting_on(clock):
    """What waits, its deadlines, and what was told with the time of it."""
    waiting, told = {}, []
    deadlines = Deadlines(clock, waiting, lambda key, what: told.append((clock.now, waiting.pop(key), what)))

    def add(key, seconds):
        waiting[key] = key
        deadlines.add(key, clock.now + seconds, f"what {key.decode()}")

    return waiting, deadlines, told, add


def test_each_is_told_at_its_time_in_the_order_of_the_ends_and_there_is_one_timer():
    clock = Clock()
    _, _, told, add = waiting_on(clock)
    for key, seconds in ((b"c", 3.0), (b"a", 1.0), (b"d", 4.0), (b"b", 2.0)):
        add(key, seconds)
        assert clock.armed == 1
    clock.run()
    assert [(key, what) for _, key, what in told] == [(key, f"what {key.decode()}") for key in (b"a", b"b", b"c", b"d")]
    assert [at for at, _, _ in told] == pytest.approx([101, 102, 103, 104], abs=0.001)
    assert all(at >= end for (at, _, _), end in zip(told, (101, 102, 103, 104), strict=True))
    assert clock.woken == 4


def test_what_is_waited_for_no_more_is_not_told_and_nothing_is_left():
    clock = Clock()
    waiting, deadlines, told, add = waiting_on(clock)
    add(b"a", 1.0)
    add(b"b", 2.0)
    del waiting[b"a"]
    clock.run()
    assert [key for _, key, _ in told] == [b"b"]
    assert (repr(deadlines), clock.armed) == ("<Deadlines, 0 to come>", 0)


def test_without_anybody_who_waits_the_loop_is_woken_no_more():
    clock = Clock()
    waiting, deadlines, told, add = waiting_on(clock)
    for number in range(50):
        add(b"%d" % number, 1.0 + number)
    waiting.clear()
    clock.run()
    assert (told, clock.woken) == ([], 1)
    add(b"x", 5.0)
    deadlines.clear()
    assert clock.armed == 0


def test_a_timer_goes_soon_when_all_that_it_was_for_has_come_long_before_its_time():
    clock = Clock()
    waiting, deadlines, told, add = waiting_on(clock)
    add(b"a", 3_600.0)
    del waiting[b"a"]
    clock.run()
    assert clock.now < 106
    assert (told, clock.armed, repr(deadlines)) == ([], 0, "<Deadlines, 0 to come>")


def test_what_is_waited_for_long_is_told_at_its_time():
    clock = Clock()
    _, _, told, add = waiting_on(clock)
    add(b"a", 12.5)
    add(b"b", 7.5)
    clock.run()
    assert [(round(at, 2), key) for at, key, _ in told] == [(107.5, b"b"), (112.5, b"a")]


def test_what_was_answered_long_before_its_time_takes_no_room():
    clock = Clock()
    waiting, deadlines, _, add = waiting_on(clock)
    for number in range(10_000):
        add(b"%d" % number, 3_600.0 - number / 1_000)
        del waiting[b"%d" % number]
    assert int(repr(deadlines).split()[1]) < 100


@pytest.mark.parametrize("seconds", [0.0004, 0.0011, 0.0014, 0.0015, 0.01234, 2.0])
def test_a_loop_that_goes_by_milliseconds_is_woken_once_and_not_too_early(seconds):
    clock = Clock(grain=0.001)
    _, _, told, add = waiting_on(clock)
    add(b"a", seconds)
    clock.run()
    ((at, _, _),) = told
    assert clock.woken == 1
    assert 100 + seconds <= at <= 100 + seconds + 0.002


def test_a_request_in_a_second_loop_is_given_up_although_one_of_the_first_never_was():
    bus = mycelium.MessageBus(TEXT)
    types = bus.contracts
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def request(seconds):
        with pytest.raises(TimeoutError, match="no Pong came"):
            await bus.request(types.Ping(1), types.Pong, timeout=seconds)

    one.run_until_complete(bus.subscribe(lambda _: None, types.Ping))
    left = one.create_task(request(0.05))
    one.run_until_complete(asyncio.sleep(0))
    two.run_until_complete(asyncio.wait_for(request(0.1), 10))
    two.close()
    one.run_until_complete(asyncio.wait_for(left, 10))  # and that one too, when its loop goes on
    one.run_until_complete(bus.close())
    one.close()
