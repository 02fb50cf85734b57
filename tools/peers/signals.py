"""Signals inside a process: blinker and pyee. One message that is held is published to one function that counts."""

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from mycelium.bench.contender import Contender, Server
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, perform, report, until_end, until_go
from peers.here import ENVIRONMENT, MODULE_COMMAND
from peers.packing import Packing

__all__ = ["BLINKER", "PYEE"]


@contextlib.contextmanager
def _nobody(_: str) -> Iterator[Server]:
    """No server."""
    yield Server("")


def blinker(spec: Spec) -> None:
    """`signal.send`."""
    signal = importlib.import_module("blinker").Signal()
    seen = 0

    def count(_: Any, message: Any) -> None:  # noqa: ARG001  it is counted, not looked at
        nonlocal seen
        seen += 1

    signal.connect(count)
    message, sender = _message(), object()

    def publish(times: int) -> None:
        send = signal.send
        for _ in range(times):
            send(sender, message=message)

    _measure(spec, publish, lambda: seen)


def pyee(spec: Spec) -> None:
    """`emitter.emit`."""
    emitter = importlib.import_module("pyee.base").EventEmitter()
    seen = 0

    def count(_: Any) -> None:
        nonlocal seen
        seen += 1

    emitter.on("counter", count)
    message = _message()

    def publish(times: int) -> None:
        emit = emitter.emit
        for _ in range(times):
            emit("counter", message)

    _measure(spec, publish, lambda: seen)


def _message() -> Any:
    return Packing().classes.CounterUpdate(counter_id=1, value=2, delta=3)


def _measure(spec: Spec, publish: Callable[[int], None], seen: Callable[[], int]) -> None:
    until_go()
    start = time.monotonic()
    publish(spec.messages)
    report(start=start, last=time.monotonic(), delivered=seen())
    until_end()


def _call(spec: Spec) -> None:
    {"blinker": blinker, "pyee": pyee}[spec.way](spec)


ROLES: Final[dict[str, Role]] = {"caller": _call}
_COMMAND: Final = (*MODULE_COMMAND, "peers.signals")
BLINKER: Final = Contender("blinker", _COMMAND, _nobody, modules=("blinker", "msgspec"), env=ENVIRONMENT, way="blinker")
PYEE: Final = Contender("pyee", _COMMAND, _nobody, modules=("pyee", "msgspec"), env=ENVIRONMENT, way="pyee")

if __name__ == "__main__":
    perform(ROLES)
