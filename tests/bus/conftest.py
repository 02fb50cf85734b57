"""What several modules of tests of the bus have in common."""

import pytest
from guarding import rules, write


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
    return write(
        tmp_path / "acl.yaml", rules(ann="{publish: [Ping, Pong], subscribe: [Pong]}", bob="{subscribe: ['*']}")
    )
