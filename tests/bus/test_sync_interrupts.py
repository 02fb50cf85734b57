"""Ctrl-C at any point of a blocking call, and threads whose loop runs already."""

import asyncio
import contextlib
import dis
import itertools
import signal
import sys
import threading
import time

import pytest
from threads import SECONDS, in_thread, interrupting

import mycelium
from mycelium import UsageError
from mycelium.bus.hands import Hands
from mycelium.bus.loopthread import _Answer, _Call

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
