"""What several modules of tests of the bus have in common."""

import threading

import pytest
from guarding import rules, write
from talks import Talk

import mycelium
from mycelium.bus.loopthread import LoopThread
from mycelium.testing import BridgeThread


@pytest.fixture
def quick(monkeypatch):
    """Attempts follow each other a hundred times as fast."""
    monkeypatch.setattr("mycelium.bus.backoff._FIRST_SECONDS", 0.001)
    monkeypatch.setattr("mycelium.bus.backoff._MOST_SECONDS", 0.1)


@pytest.fixture
def listen(tmp_path):
    """Where a bridge may listen: a Unix socket."""
    return f"unix://{tmp_path}/bus.sock"


@pytest.fixture
def acl(tmp_path):
    """An ACL file in which ann publishes and bob subscribes."""
    return write(
        tmp_path / "acl.yaml", rules(ann="{publish: [Ping, Pong], subscribe: [Pong]}", bob="{subscribe: ['*']}")
    )


@pytest.fixture
def no_thread_left():
    """Every thread that a test starts has ended with it."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


@pytest.fixture
def bridge(contracts):
    """A bridge in a thread of its own, for blocking code."""
    with BridgeThread(contracts) as running:
        yield running


@pytest.fixture
def client(bridge, contracts):
    """A synchronous client of that bridge."""
    with mycelium.sync.connect(bridge.url, contracts) as connected:
        yield connected


@pytest.fixture
def loop_thread():
    """A thread in which a loop runs."""
    thread = LoopThread("a loop of a test")
    yield thread
    thread.end()


@pytest.fixture
def talk(contracts):
    """A session that has said and heard nothing yet."""
    return Talk(contracts)


@pytest.fixture
def opened(talk):
    """The same after its handshake."""
    talk.open()
    return talk
