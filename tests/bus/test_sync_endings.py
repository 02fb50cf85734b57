"""How the synchronous client ends: closed twice, while others wait, in a fork, or never; and no thread is left."""

import inspect
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest
from processes import ROOT, environment
from threads import SECONDS, in_thread, until, values

import mycelium
from mycelium import ClosedError, ConnectError, UsageError

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
