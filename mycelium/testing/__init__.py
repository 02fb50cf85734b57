"""For the tests of applications: a bridge inside the process, and messages drawn at random.

With pytest, a fixture gives each test a bridge of its own on a free port of loopback:

    # conftest.py
    import pytest

    pytest_plugins = ["mycelium.testing"]

    @pytest.fixture
    def mycelium_contracts():  # if left out: the default contracts file
        return "app/contracts.yaml"

    # test_app.py
    async def test_a_ping_is_answered(mycelium_bridge):
        async with mycelium.connect(mycelium_bridge.url) as client, client.messages(Pong) as pongs:
            await start_answering(client)
            mycelium_bridge.publish(Ping("hi"))
            assert await pongs.next(timeout=5) == Pong("hi")

    def test_a_job_is_published(mycelium_bridge):
        with mycelium_bridge.collect(Job) as jobs:
            subprocess.run(["python", "-m", "app", "--url", mycelium_bridge.url], check=True)
            assert jobs.wait(1) == [Job(number=1)]

The fixture is a `BridgeThread`: its bridge runs in a thread with a loop of its own, so that tests with and without a
loop can use it. Without pytest that class is a context manager, and `bridge` an asynchronous one, which serves from the
running loop.

With Hypothesis, `messages` draws messages that fit their types and keep their rules:

    @given(messages(Order))
    def test_any_order_survives_the_wire(order):
        assert Order.from_bytes(order.to_bytes()) == order

pytest and Hypothesis are imported when they are needed, and not before.

PYTEST_DONT_REWRITE: there are no assertions here, and pytest would warn where a conftest has imported this already.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mycelium.testing.drawing import messages
    from mycelium.testing.fixtures import mycelium_bridge, mycelium_contracts
    from mycelium.testing.serving import BridgeThread, Collected, ServedBus, bridge

_HOMES = {
    "mycelium.testing.drawing": ["messages"],
    "mycelium.testing.fixtures": ["mycelium_bridge", "mycelium_contracts"],
    "mycelium.testing.serving": ["BridgeThread", "Collected", "ServedBus", "bridge"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BridgeThread",
    "Collected",
    "ServedBus",
    "bridge",
    "messages",
    "mycelium_bridge",
    "mycelium_contracts",
]

pytest_plugins = ["mycelium.testing.fixtures"]
"""What pytest loads when this package is its plugin. It takes all that `dir()` lists, so no lazy names are there."""


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
