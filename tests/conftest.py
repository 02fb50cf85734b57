"""What every test has: coroutines as tests, with asyncio's debug mode and nothing left behind."""

import asyncio
import inspect
import signal
from pathlib import Path

import pytest
from hypothesis import Phase, settings

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# What fails in these helpers says what it has compared, as it does in a test.
pytest.register_assert_rewrite("deliveries", "gates", "guarding", "threads", "sendbuffers", "policies")
_WITHOUT_SHRINKING = (Phase.explicit, Phase.generate)
DEADLINE = 30.0
"""Seconds that one asynchronous test may take, a slow one ten times that; it is there for hangs, not for timing."""


def pytest_configure(config):
    """No example has to be quick, and two runs try the same ones; Ctrl-C interrupts, whoever starts the tests.

    What fails is told as it was drawn: to make it smaller may take minutes, and is the thorough profile's business.
    A shell starts what it runs in the background with SIGINT ignored.
    """
    settings.register_profile("quick", deadline=None, max_examples=40, derandomize=True, phases=_WITHOUT_SHRINKING)
    settings.register_profile("thorough", deadline=None, max_examples=400)
    settings.load_profile(config.getoption("--hypothesis-profile") or "quick")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run `async def` tests on a loop of their own; fail on unhandled exceptions and on tasks left over."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    seconds = DEADLINE * (10 if pyfuncitem.get_closest_marker("slow") else 1)
    unhandled = []
    with asyncio.Runner(debug=True) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        # Debug mode would log each step that a busy machine makes slow.
        runner.get_loop().slow_callback_duration = DEADLINE
        runner.run(_guarded(pyfuncitem.function(**arguments), seconds))
    assert not unhandled, unhandled
    return True


async def _guarded(test, seconds):
    async with asyncio.timeout(seconds):
        await test
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def usual_signals():
    """Nobody leaves a handler of Ctrl-C behind, with which later tests would wait for theirs for ever."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def contracts():
    """A handle of its own on the project's contracts, so that no test sees another's."""
    import mycelium

    return mycelium.load((ROOT / "contracts.yaml").read_text())
