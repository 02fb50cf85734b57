"""Fixtures of pytest; `pytest_plugins = ["mycelium.testing"]` brings them.

PYTEST_DONT_REWRITE: as in `mycelium.testing`.
"""

from collections.abc import Iterator

import pytest

from mycelium.handle import Source
from mycelium.testing.serving import BridgeThread

__all__ = ["mycelium_bridge", "mycelium_contracts"]


@pytest.fixture
def mycelium_contracts() -> Source | None:
    """The contracts of `mycelium_bridge`: the default file, unless a fixture of this name says otherwise."""
    return None


@pytest.fixture
def mycelium_bridge(request: pytest.FixtureRequest) -> Iterator[BridgeThread]:
    """A bridge of the test's own, on a free port of loopback: see `mycelium.testing`."""
    try:
        contracts = request.getfixturevalue("mycelium_contracts")
    except pytest.FixtureLookupError as error:
        if error.argname != "mycelium_contracts":
            raise
        contracts = None  # this fixture was imported by itself
    with BridgeThread(contracts) as running:
        yield running
