"""The synchronous client: real bridges, many threads, and no thread left behind."""

import asyncio
import contextlib
import contextvars
import dis
import gc
import inspect
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from processes import ROOT, environment

import mycelium
from mycelium import BufferFull, ClosedError, ConnectError, ConnectionLost, EncodeError, MyceliumClient, UsageError
from mycelium.bus.handover import Handover
from mycelium.bus.hands import Hands
from mycelium.bus.loopthread import LoopThread, _Answer, _Call
from mycelium.testing import BridgeThread

SECONDS = 20
"""How long anything may take; it is there for hangs, not for timing."""


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


@pytest.fixture
def bridge(contracts):
    with BridgeThread(contracts) as running:
        yield running


@pytest.fixture
def client(bridge, contracts):
    with mycelium.sync.connect(bridge.url, contracts) as connected:
        yield connected


@pytest.fixture
def loop_thread():
    thread = LoopThread("a loop of a test")
    yield thread
    thread.end()


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def interrupting(condition):
    """Press Ctrl-C when something is so."""

    def press():
        until(condition)
        os.kill(os.getpid(), signal.SIGINT)

    return in_thread(press)


def values(messages):
    return [message.value for message in messages]


# --- the same calls ---


def test_every_call_of_the_asynchronous_client_is_there():
    inward = {"on_batch", "on_notice", "on_tick", "on_loop_end", "on_lost", "second_hello", "connect"}
    public = {name for name in vars(MyceliumClient) if not name.startswith("_")} - inward
    assert public - set(dir(mycelium.sync.SyncClient)) == set()


def test_publish_subscribe_and_messages(bridge, client):
    ping, pong = client.types.Ping, client.types.Pong
    got = []
    with bridge.collect(ping) as pings, client.messages(pong) as pongs:
        client.subscribe(got.append, pong)
        for number in range(100):
            client.publish(ping(value=str(number)))
            bridge.publish(pong(value=str(number)))
        client.flush()
        expected = [str(number) for number in range(100)]
        assert values(pings.wait(100)) == expected
        assert [pongs.next(timeout=SECONDS).value for _ in range(100)] == expected
        until(lambda: len(got) == 100)
        assert values(got) == expected
        with pytest.raises(TimeoutError):
            pongs.next(timeout=0.01)
        assert pongs.stats().delivered == 100


def test_types_come_from_the_annotation_and_from_topics(bridge, client):
    got, also = [], []

    @client.on()
    def on_pong(message: "Pong"):  # noqa: F821  it is in the contracts
        got.append(message)

    client.subscribe(also.append, topic=client.types.Pong.TOPIC)
    bridge.publish(client.types.Pong(value="x"))
    until(lambda: got and also)
    assert got == also == [client.types.Pong(value="x")]


def test_a_delivery_is_one_whose_reply_blocks(bridge, client, contracts):
    seen = []

    def on_ping(message, delivery):
        with pytest.raises(UsageError, match="nobody waits for a reply"):
            delivery.reply(message)
        seen.append(delivery)

    client.subscribe(on_ping, contracts.Ping)
    with mycelium.sync.connect(bridge.url, contracts, stamp=True) as other:
        other.publish(contracts.Ping(value="x"))
        until(lambda: seen)
        assert (seen[0].publisher, seen[0].sequence, seen[0].is_request) == (other.session, 1, False)
    assert isinstance(seen[0], mycelium.sync.SyncDelivery)


def test_a_function_that_replies_is_called_for_what_is_no_request_too(bridge, client, contracts):
    called = []

    @client.reply(contracts.Ping)
    def answer(message):
        called.append(message)
        return contracts.Pong(value=message.value)

    bridge.publish(contracts.Ping(value="x"))
    until(lambda: called)


def test_queries_events_and_names(client):
    assert client.name in str(client.query("sessions"))
    assert client.query("info")
    assert isinstance(client.session, int)
    events = client.events()
    with pytest.raises(TimeoutError):
        events.next(timeout=0)
    client.close()
    assert all(isinstance(event, mycelium.events.Event) for event in events)
    assert "closed" in repr(client)


def test_request_and_reply(bridge, client, contracts):
    @client.reply(contracts.Ping)
    def answer(message):
        return contracts.Pong(value=message.value + "!")

    def on_pong(message, delivery):
        delivery.reply(contracts.Ping(value="back"))

    client.subscribe(on_pong, contracts.Pong)
    with mycelium.sync.connect(bridge.url, contracts) as other:
        assert other.request(contracts.Ping(value="?"), contracts.Pong, timeout=SECONDS).value == "?!"
        assert other.request(contracts.Pong(value="?"), contracts.Ping, timeout=SECONDS).value == "back"


def test_a_request_that_nobody_answers(client, contracts):
    with pytest.raises(mycelium.NoResponders):
        client.request(contracts.Ping(value="?"), contracts.Pong)


def test_a_confirmed_publish_and_counters(client, contracts):
    receipt = client.publish(contracts.Ping(value="x"), confirm=True)
    assert (receipt.matched, receipt.enqueued) == (0, 0)
    with pytest.raises(mycelium.NoSubscribers):
        client.publish(contracts.Ping(value="x"), confirm=True, mandatory=True)
    assert client.stats() is not None
    assert client.state is not None


def test_p86_drain_lets_handlers_finish_and_closes(bridge, client, contracts):
    client.subscribe(lambda _: client.publish(contracts.Pong(value="x")), contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        for _ in range(50):
            bridge.publish(contracts.Ping(value="x"))
        client.flush()
        client.drain(timeout=SECONDS)
        assert len(pongs.wait(50)) == 50
    with pytest.raises(ClosedError):
        client.publish(contracts.Ping(value="x"))


def test_p87_a_drain_that_takes_too_long_closes_nevertheless(bridge, client, contracts):
    inside, release = threading.Event(), threading.Event()
    client.subscribe(lambda _: (inside.set(), release.wait(SECONDS)), contracts.Ping)
    bridge.publish(contracts.Ping(value="x"))
    assert inside.wait(SECONDS)
    with pytest.raises(mycelium.DrainTimeout):
        client.drain(timeout=0.1)
    release.set()
    with pytest.raises(ClosedError):
        client.flush()


def test_a_stream_that_is_thrown_away_unsubscribes(bridge, client, contracts):
    stream = client.messages(contracts.Ping)
    with pytest.raises(TimeoutError):
        stream.next(timeout=0)
    assert "1 subscriptions" in repr(client)
    del stream
    gc.collect()
    until(lambda: "0 subscriptions" in repr(client))


# --- threads ---


def test_p83_fifty_threads_keep_each_its_order(bridge, client, contracts):
    threads, each = 50, 40

    def work(name):
        for number in range(each):
            publish = client.publish if number % 3 else client.publish_nowait
            publish(contracts.Ping(value=f"{name} {number}"))
        client.flush()

    with bridge.collect(contracts.Ping) as pings:
        running = [in_thread(work, name) for name in range(threads)]
        for thread in running:
            thread.join(SECONDS)
        got = [value.split() for value in values(pings.wait(threads * each))]
    for name in range(threads):
        assert [int(number) for who, number in got if who == str(name)] == list(range(each))


def test_several_threads_share_a_stream_and_each_message_goes_to_one(bridge, client, contracts):
    got = []
    stream = client.messages(contracts.Ping)
    with stream:
        takers = [in_thread(lambda: [got.append(stream.next(SECONDS)) for _ in range(25)]) for _ in range(4)]
        for number in range(100):
            bridge.publish(contracts.Ping(value=str(number)))
        for thread in takers:
            thread.join(SECONDS)
    assert sorted(map(int, values(got))) == list(range(100))


def test_a_handler_runs_in_one_thread_of_its_subscription_in_the_context_of_the_subscriber(bridge, client, contracts):
    variable = contextvars.ContextVar("variable")
    variable.set("here")
    seen = []
    client.subscribe(lambda _: seen.append((threading.current_thread().name, variable.get())), contracts.Ping)
    for _ in range(20):
        bridge.publish(contracts.Ping(value="x"))
    until(lambda: len(seen) == 20)
    assert len(set(seen)) == 1
    assert seen[0][0].startswith("mycelium test_a_handler_runs")
    assert seen[0][1] == "here"


def test_a_handler_that_blocks_delays_neither_heartbeats_nor_other_handlers(bridge, contracts):
    release, got = threading.Event(), []
    with mycelium.sync.connect(bridge.url, contracts, heartbeat=0.1) as client:
        slow = client.subscribe(lambda _: release.wait(SECONDS), contracts.Ping, window=4)
        client.subscribe(got.append, contracts.Pong)
        for _ in range(50):
            bridge.publish(contracts.Ping(value="x"))
        until(lambda: slow.stats().in_flight == 1)
        begin = time.monotonic()
        while time.monotonic() - begin < 0.6:  # twice the time after which a silent side is dead
            bridge.publish(contracts.Pong(value="x"))
            client.flush()
        until(lambda: got)
        stats = slow.stats()
        assert stats.queued + stats.in_flight <= 4  # what its window lets through
        release.set()
        until(lambda: slow.stats().delivered == 50)


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_p77_whatever_a_handler_raises_its_subscription_lives(bridge, client, contracts, error, caplog):
    got = []

    def on_ping(message):
        got.append(message)
        raise error

    client.subscribe(on_ping, contracts.Ping)
    for _ in range(3):
        bridge.publish(contracts.Ping(value="x"))
    until(lambda: len(got) == 3)
    client.close()
    assert sum("on_ping failed" in line for line in caplog.messages) == 1  # one line a second


def test_async_handlers_are_refused(client, contracts, caplog):
    async def on_ping(message):
        pass

    with pytest.raises(UsageError, match="on_ping is async"):
        client.subscribe(on_ping, contracts.Ping)
    with pytest.raises(UsageError, match="nothing else"):
        client.subscribe(lambda: None, contracts.Ping)
    with pytest.raises(UsageError, match="name the types"):
        client.subscribe(lambda _: None)
    client.subscribe(lambda message: on_ping(message) or None, contracts.Ping)
    client.publish(contracts.Ping(value="x"))
    until(lambda: "gave a coroutine" in caplog.text)


def test_p80_every_call_returns_inside_a_handler(bridge, client, contracts):
    done = []

    def on_ping(message):
        begin = time.monotonic()
        client.publish(contracts.Pong(value="one"))
        client.publish_nowait(contracts.Pong(value="two"))
        client.flush()
        client.subscribe(done.append, contracts.Pong).unsubscribe()
        subscription.unsubscribe()
        client.close()
        done.append(time.monotonic() - begin)

    subscription = client.subscribe(on_ping, contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        bridge.publish(contracts.Ping(value="x"))
        assert values(pongs.wait(2)) == ["one", "two"]
        until(lambda: done)
    assert done[0] < 1
    assert subscription.closed


def test_what_a_handler_publishes_while_the_client_is_closed_is_sent(bridge, client, contracts):
    inside, release = threading.Event(), threading.Event()

    def on_ping(message):
        inside.set()
        release.wait(SECONDS)
        client.publish_nowait(contracts.Pong(value="one"))
        client.publish(contracts.Pong(value="two"))

    client.subscribe(on_ping, contracts.Ping)
    with bridge.collect(contracts.Pong) as pongs:
        bridge.publish(contracts.Ping(value="x"))
        assert inside.wait(SECONDS)
        closing = in_thread(client.close)
        until(lambda: client._handover._closed)
        with pytest.raises(ClosedError):
            client.publish_nowait(contracts.Pong(value="of nobody that the end waits for"))
        release.set()
        closing.join(SECONDS)
        assert values(pongs.wait(2)) == ["one", "two"]


def test_hands_work_side_by_side_where_they_may(loop_thread):
    barrier = threading.Barrier(3)
    hands = Hands("hands of a test", 3)

    async def work():
        await asyncio.gather(*(hands.call(barrier.wait, SECONDS) for _ in range(6)))

    loop_thread.run(work)
    hands.end()


def test_callbacks_run_in_worker_threads_and_may_fail(caplog):
    hands, got = Hands("hands of a test"), []
    options = {"on_gap": got.append, "on_error": lambda _: 1 / 0, "queue": 3}
    hands.adopt(options)
    options["on_error"](ValueError())
    options["on_gap"]("a gap")
    hands.end()
    assert got == ["a gap"]
    assert "on_error failed" in caplog.text
    assert options["queue"] == 3


# --- Ctrl-C and threads with loops ---


def test_a_callback_that_wants_to_end_its_thread_does_not(caplog):
    hands, done = Hands("callbacks"), threading.Event()
    hands.post("on_gap", sys.exit)
    hands.post("on_gap", done.set)
    assert done.wait(SECONDS)
    hands.end()
    assert "tried to end its thread" in caplog.text


def test_ctrl_c_ends_a_call_at_once_and_the_client_goes_on(bridge, client, contracts):
    with client.messages(contracts.Ping) as stream:
        begin = time.monotonic()
        pressing = interrupting(lambda: stream._stream._subscription._waiters.waiting)
        with pytest.raises(KeyboardInterrupt):
            stream.next()
        pressing.join(SECONDS)
        assert time.monotonic() - begin < 0.8
        client.publish(contracts.Ping(value="after"))
        assert stream.next(SECONDS).value == "after"


def test_ctrl_c_in_close_leaves_something_that_can_be_closed(bridge, client, contracts):
    inside, release = threading.Event(), threading.Event()
    client.subscribe(lambda _: (inside.set(), release.wait(SECONDS)), contracts.Ping)
    client.publish(contracts.Ping(value="x"))
    assert inside.wait(SECONDS)
    pressing = interrupting(lambda: client._client._ending.is_begun)
    with pytest.raises(KeyboardInterrupt):
        client.close()
    pressing.join(SECONDS)
    release.set()
    client.close()


def test_the_result_of_a_call_that_was_interrupted_too_late_is_not_lost(loop_thread):
    begun, unwanted = threading.Event(), []

    async def stubborn():
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(SECONDS)
        return "result"

    pressing = interrupting(begun.is_set)
    with pytest.raises(KeyboardInterrupt):
        loop_thread.run(stubborn, unwanted.append)
    pressing.join(SECONDS)
    assert unwanted == ["result"]


@pytest.mark.parametrize("turns", range(4))
async def test_the_result_of_an_interrupted_call_is_thrown_away_once_whenever_it_comes(turns):
    async def work():
        return "result"

    unwanted = []
    call = _Call(work, unwanted.append)
    call.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    call.abandon()
    await asyncio.sleep(0.01)
    assert unwanted == (["result"] if turns else [])
    assert call.answer.is_there


async def test_blocking_calls_are_refused_where_a_loop_runs(bridge, contracts):
    with pytest.raises(UsageError, match="use mycelium.MyceliumClient in asyncio code"):
        mycelium.sync.connect("localhost:1", contracts)
    client = await asyncio.to_thread(mycelium.sync.connect, bridge.url, contracts)
    ping = contracts.Ping(value="x")
    for call in (
        lambda: client.publish(ping),
        lambda: client.subscribe(print, contracts.Ping),
        client.flush,
        client.close,
        client.messages(contracts.Ping).next,
    ):
        with pytest.raises(UsageError, match="use mycelium.MyceliumClient in asyncio code"):
            call()
    with bridge.collect(contracts.Ping) as pings:
        client.publish_nowait(ping)
        assert await asyncio.to_thread(pings.wait, 1) == [ping]
    await asyncio.to_thread(client.close)


# --- publishing without waiting ---


def test_publish_nowait_checks_in_the_calling_thread(client, contracts):
    with pytest.raises(EncodeError):
        client.publish_nowait(contracts.Ping(value=1))
    other = mycelium.load((ROOT / "contracts.yaml").read_text())
    with pytest.raises(UsageError, match="take the type from the contracts"):
        client.publish_nowait(other.Ping(value="x"))


def test_publish_nowait_is_bounded(bridge, client, contracts):
    release = threading.Event()
    client._thread.soon(lambda: release.wait(SECONDS))  # nothing leaves meanwhile
    big = contracts.Ping(value="x" * 60_000)
    with bridge.collect(contracts.Ping) as pings:
        count = 0
        with contextlib.suppress(BufferFull):
            while True:
                client.publish_nowait(big)
                count += 1
        with pytest.raises(BufferFull, match=r"publish\(\) instead"):
            client.publish_nowait(big)
        release.set()
        client.flush()
        assert 7 * 1024 * 1024 < count * 60_000 < 8 * 1024 * 1024
        assert len(pings.wait(count)) == count
    client.publish_nowait(big)


def test_what_could_not_be_published_is_logged_and_a_lost_connection_raised_by_the_next(loop_thread, caplog, contracts):
    sent, errors = [], [ValueError("secret"), ConnectionLost("cut"), BufferFull("full")]

    def publish_nowait(message):
        if errors:
            raise errors.pop(0)
        sent.append(message)

    async def publish(message):
        sent.append(message)

    handover = Handover(loop_thread, publish_nowait, publish)
    for number in range(2):
        assert handover.put(contracts.Ping(value=str(number)), 10)
        loop_thread.run(handover.passed)
    with pytest.raises(ConnectionLost):
        handover.put(contracts.Ping(value="2"), 10)
    for number in (3, 4):
        handover.put(contracts.Ping(value=str(number)), 10)
    loop_thread.run(lambda: handover.end(SECONDS))
    assert not handover.put(contracts.Ping(value="5"), 10)
    assert values(sent) == ["3", "4"]
    assert "a Ping of publish_nowait was not published: ValueError" in caplog.text
    assert "secret" not in caplog.text


def without_room(loop_thread, contracts):
    """A handover of five messages that nobody takes."""

    def publish_nowait(message):
        raise BufferFull("full")

    async def publish(message):
        await asyncio.sleep(SECONDS)

    handover = Handover(loop_thread, publish_nowait, publish)
    for _ in range(5):
        handover.put(contracts.Ping(value="x"), 10)
    return handover


def test_what_has_no_room_at_the_end_is_counted_in_the_log(loop_thread, caplog, contracts):
    handover = without_room(loop_thread, contracts)
    loop_thread.run(lambda: handover.end(0.01))
    assert "closed before 5 messages" in caplog.text


def test_after_the_end_nobody_waits_for_what_is_not_published_any_more(loop_thread, contracts):
    handover = without_room(loop_thread, contracts)
    waiting = [in_thread(loop_thread.run, handover.passed) for _ in range(2)]
    until(lambda: len(handover._waiting) == 4 + 2)
    began = time.monotonic()
    loop_thread.run(lambda: handover.end(0.01))
    for one in waiting:
        one.join(SECONDS)
    loop_thread.run(handover.passed)
    loop_thread.run(lambda: handover.end(SECONDS))
    assert time.monotonic() - began < SECONDS / 2


def test_requests_to_a_topic_are_replied_to(bridge, client, contracts):
    @client.reply(topic=contracts.Ping.TOPIC, on_lag="block")
    def answer(message):
        return contracts.Pong(value=type(message).__name__)

    with mycelium.sync.connect(bridge.url, contracts) as other:
        assert other.request(contracts.Ping(value="?"), contracts.Pong).value == "Ping"


# --- the end ---


def test_close_twice_and_every_call_after_it(client, contracts):
    subscription = client.subscribe(print, contracts.Ping)
    stream = client.messages(contracts.Ping)
    client.close()
    client.close()
    for call in (
        lambda: client.publish(contracts.Ping(value="x")),
        lambda: client.publish_nowait(contracts.Ping(value="x")),
        lambda: client.subscribe(print, contracts.Ping),
        client.flush,
        lambda: client.query("info"),
        client.closed,
        stream.next,
    ):
        with pytest.raises(ClosedError):
            call()
    subscription.unsubscribe()
    assert subscription.closed
    assert subscription.stats().delivered == 0
    assert client.types is contracts
    stream.close()
    assert list(client.messages(contracts.Ping)) == []


def test_close_in_another_thread_ends_iteration_after_what_is_queued(bridge, client, contracts):
    got = []
    with client.messages(contracts.Ping) as stream:
        for number in range(10):
            bridge.publish(contracts.Ping(value=str(number)))
        until(lambda: stream.stats().queued == 10)
        client.close()
        got.extend(values(stream))
    assert got == [str(number) for number in range(10)]


def test_a_call_that_waits_ends_when_the_client_is_closed(client, contracts):
    outcome = []
    stream = client.messages(contracts.Ping)

    def wait():
        outcome.extend(stream)
        outcome.append("over")

    with stream:
        waiting = in_thread(wait)
        until(lambda: stream._stream._subscription._waiters.waiting)
        client.close()
        waiting.join(SECONDS)
    assert outcome == ["over"]


def test_many_threads_may_close_at_once(client):
    closing = [in_thread(client.close) for _ in range(10)]
    for thread in closing:
        thread.join(SECONDS)
    assert mycelium.bus.sync._open == set()


def test_unsubscribe_ends_the_thread(bridge, client, contracts):
    before = threading.active_count()
    subscription = client.subscribe(print, contracts.Ping)
    assert threading.active_count() == before + 1
    subscription.unsubscribe()
    subscription.unsubscribe()
    assert threading.active_count() == before


def test_a_connect_that_fails_leaves_no_thread(contracts):
    before = set(threading.enumerate())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError):
            mycelium.sync.connect(f"localhost:{taken.getsockname()[1]}", contracts)
    with pytest.raises(UsageError):
        mycelium.sync.connect("http://localhost", contracts)
    with pytest.raises(TypeError):
        mycelium.sync.connect("localhost:1", contracts, unknown=1)
    assert set(threading.enumerate()) == before


def test_a_handler_that_does_not_return_keeps_nobody(bridge, contracts, caplog):
    inside, release = threading.Event(), threading.Event()
    client = mycelium.sync.connect(bridge.url, contracts)
    client.subscribe(lambda _: (inside.set(), release.wait(SECONDS)), contracts.Ping)
    bridge.publish(contracts.Ping(value="x"))
    assert inside.wait(SECONDS)
    begin = time.monotonic()
    with caplog.at_level(logging.CRITICAL):
        client.close()
    assert time.monotonic() - begin < 8
    release.set()
    until(lambda: not any(thread.name.startswith("mycelium test_a") for thread in threading.enumerate()))


def script(url, body):
    """Run a program of a user's to its end; what it writes to stderr is a fault."""
    program = (
        f"import os, sys, time, mycelium\nclient = mycelium.sync.connect({url!r})\nPing = client.types.Ping\n{body}"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", inspect.cleandoc(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_process_that_never_closes_delivers_what_it_published(bridge, contracts):
    url = bridge.url.replace("127.0.0.1", "localhost")  # a name, so that its lookup needs threads too
    with bridge.collect(contracts.Ping) as pings:
        script(
            url,
            "client.subscribe(print, client.types.Pong)\n"
            "for number in range(2000): client.publish_nowait(Ping(value=str(number)))\n",
        )
        assert values(pings.wait(2000)) == [str(number) for number in range(2000)]


def test_a_forked_child_is_refused_and_harms_nothing(bridge, contracts):
    with bridge.collect(contracts.Ping) as pings:
        out = script(
            bridge.url,
            "import warnings; warnings.simplefilter('ignore')\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    for call in (client.publish, client.publish_nowait):\n"
            "        try: call(Ping(value='child'))\n"
            "        except mycelium.UsageError as error: print(error, flush=True)\n"
            "    client.close()\n"
            "    sys.exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "client.publish(Ping(value='parent'))\n",
        )
        assert values(pings.wait(1)) == ["parent"]
    assert out.count("connect again in the child") == 2


class _CtrlC:
    """A trace function that raises KeyboardInterrupt where the interpreter looks at signals for the n-th time.

    It does after a call, at the begin of a function and where a loop begins anew.
    """

    LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")

    def __init__(self, look):
        self.left = look
        self._last = {}

    def __call__(self, frame, event, _):
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = self._last.get(frame, "RESUME")
            self._last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last.startswith(self.LOOKS):
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
        return self


def _tells_of_opcodes():
    """Whether this interpreter calls a trace function for them; the first of 3.12 do not, whatever is asked for."""
    events, before = [], sys.gettrace()

    def trace(frame, event, _):
        frame.f_trace_opcodes = True
        events.append(event)
        return trace

    def traced():
        return "whatever"

    sys.settrace(trace)
    try:
        traced()
    finally:
        sys.settrace(before)
    return "opcode" in events


@pytest.mark.skipif(not _tells_of_opcodes(), reason="this interpreter tells a trace function of no opcodes")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where an interrupt hits a finalizer
def test_a_ctrl_c_at_any_point_of_a_call_leaves_a_loop_that_runs(loop_thread):
    async def work():
        return "result"

    before, interrupts = sys.gettrace(), 0
    for look in itertools.count(1):
        ctrl_c = _CtrlC(look)
        sys.settrace(ctrl_c)
        try:
            loop_thread.run(work)
        except KeyboardInterrupt:
            interrupts += 1
        finally:
            sys.settrace(before)
        alive = threading.Event()
        in_thread(lambda alive=alive: loop_thread.soon(alive.set))
        assert alive.wait(SECONDS), look
        if ctrl_c.left > 0:
            break
    assert interrupts > 20


def test_a_ctrl_c_that_does_not_wake_the_waiting_thread_is_noticed_all_the_same(loop_thread):
    """As one does not that is handled right before the thread sleeps: here another thread is the one that gets it."""
    begun = threading.Event()

    async def work():
        begun.set()
        await asyncio.sleep(SECONDS)

    pressing = interrupting(begun.is_set)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            loop_thread.run(work)
        assert time.monotonic() - begin < SECONDS / 2
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    pressing.join(SECONDS)


def test_a_result_that_is_there_is_not_waited_for():
    answer = _Answer()
    assert not answer.wait_for(0.001)
    answer.settle(None)
    assert answer.wait_for(0)
    assert answer.wait_for(0), "it stays"
    with pytest.raises(asyncio.CancelledError):
        answer.wait()
