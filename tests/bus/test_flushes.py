"""When what is to be sent is written: at once, or once at the end of a turn."""

from mycelium.bus.flushes import Flushes


class Turns:
    """A loop of which somebody else says when a turn ends."""

    def __init__(self):
        self.soon = []
        self.now = 0.0

    def call_soon(self, function, *args):
        self.soon.append((function, args))

    def time(self):
        return self.now

    def end_turn(self):
        soon, self.soon = self.soon, []
        for function, args in soon:
            function(*args)


class Writer:
    """What has something to write."""

    def __init__(self, loop):
        self.loop = loop
        self.written = []

    def flush(self, now):
        self.written.append(now)


def writing():
    """Who gathers, and somebody who writes; both go by the clock of the writer's loop."""
    writer = Writer(Turns())
    return Flushes(writer.loop.time), writer


def chunk(flushes, writer, now):
    """A small chunk comes, and leads to something to write."""
    writer.loop.now = now
    flushes.begin(is_frame=False)
    flushes.add(writer)
    flushes.hurry(now)


def test_what_a_small_chunk_that_comes_alone_leads_to_is_written_at_once_and_leaves_nothing_to_do():
    flushes, writer = writing()
    for now in (1.0, 1.001, 1.002):
        chunk(flushes, writer, now)
    assert writer.written == [1.0, 1.001, 1.002]
    assert writer.loop.soon == []


def test_what_comes_close_behind_others_is_written_once_at_the_end_of_the_turn():
    flushes, writer = writing()
    for number in range(10):
        chunk(flushes, writer, 1.0 + number * 1e-5)
    assert writer.written == [1.0]
    assert repr(flushes) == "<Flushes, 9 waiting>"
    writer.loop.end_turn()
    assert writer.written == [1.0, *[writer.loop.now] * 9]


def test_what_no_small_chunk_has_led_to_waits_for_the_end_of_the_turn():
    flushes, writer = writing()
    flushes.add(writer)
    chunk(flushes, writer, 1.0)
    assert writer.written == []
    writer.loop.end_turn()
    assert writer.written == [1.0, 1.0]
    chunk(flushes, writer, 2.0)
    assert writer.written[2:] == [2.0]


def test_a_frame_that_comes_alone_lets_each_writer_pass_by_once():
    flushes, writer = writing()
    other = Writer(writer.loop)
    assert not flushes.pass_by(writer), "nothing came"
    writer.loop.now = 1.0
    flushes.begin(is_frame=True)
    assert [flushes.pass_by(one) for one in (writer, other, writer)] == [True, True, False]
    flushes.add(writer)
    flushes.hurry(1.0)
    assert (writer.written, other.written, writer.loop.soon) == ([1.0], [], [])
    assert not flushes.pass_by(other)


def test_nobody_passes_by_where_more_came_or_something_just_before():
    flushes, writer = writing()
    flushes.begin(is_frame=False)
    assert not flushes.pass_by(writer)
    flushes.hurry(0.0)
    for now, passes in [(1.0, True), (1.00001, False), (1.0002, True)]:
        writer.loop.now = now
        flushes.begin(is_frame=True)
        assert flushes.pass_by(writer) is passes
        flushes.hurry(now)
    flushes.add(writer)  # something waits for the end of the turn
    writer.loop.now = 2.0
    flushes.begin(is_frame=True)
    assert not flushes.pass_by(writer)
