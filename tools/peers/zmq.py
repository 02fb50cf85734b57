"""ZeroMQ without any broker: a PUB socket in one process, a SUB socket in the other, blocking, nothing dropped.

The publisher binds. Its socket is an XPUB, which is a PUB that hears of subscriptions: so it knows when to begin.
"""

import contextlib
import importlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final

from mycelium.bench.contender import LOOPBACK, Contender, Server, free_port
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, perform, report, until_end, until_go
from mycelium.bench.tally import PATIENCE_SECONDS
from mycelium.bench.workload import WORKLOADS
from peers.here import ENVIRONMENT, MODULE_COMMAND
from peers.packing import Packing

__all__ = ["CONTENDER"]


@contextlib.contextmanager
def serve(scheme: str) -> Iterator[Server]:
    """An address."""
    if scheme == "tcp":
        yield Server(f"tcp://{LOOPBACK}:{free_port()}")
        return
    with tempfile.TemporaryDirectory(prefix="mycelium-bench-") as folder:
        yield Server(f"ipc://{folder}/bench.sock")


def publish(spec: Spec) -> None:
    """Publish as fast as the socket takes it."""
    library, packing = importlib.import_module("zmq"), Packing()
    make, encode = WORKLOADS[spec.workload].maker(packing.classes, spec.size), packing.encode
    with library.Context() as context, context.socket(library.XPUB) as socket:
        socket.set_hwm(0)
        socket.bind(spec.url)
        socket.recv()  # the subscription
        until_go()
        start = time.monotonic()
        for message in map(make, range(spec.messages)):
            socket.send(encode(message))
        report(start=start)
        until_end()


def subscribe(spec: Spec) -> None:
    """Take all CounterUpdates."""
    library, packing = importlib.import_module("zmq"), Packing()
    decode = packing.decoders["CounterUpdate"]

    def take(data: bytes) -> None:
        message = decode(data)
        _id, _value, _delta = message.counter_id, message.value, message.delta

    with library.Context() as context, context.socket(library.SUB) as socket:
        socket.set_hwm(0)
        socket.subscribe(b"")
        socket.connect(spec.url)
        report(ready=True)
        report(**_take_all(socket, spec.messages, take, library.Again))
        until_end()


def _take_all(socket: Any, expected: int, take: Any, nothing: type[Exception]) -> dict[str, float]:
    receive, seen, last = socket.recv, 0, 0.0
    take(receive())
    socket.rcvtimeo = int(PATIENCE_SECONDS * 1000)
    with contextlib.suppress(nothing):
        for seen in range(1, expected):  # noqa: B007  how many there were is the result
            take(receive())
        seen += 1
    last = time.monotonic()
    return {"delivered": seen or 1, "last": last if seen >= expected else last - PATIENCE_SECONDS}


ROLES: Final[dict[str, Role]] = {"publisher": publish, "subscriber": subscribe}
CONTENDER: Final = Contender(
    "zmq", (*MODULE_COMMAND, "peers.zmq"), serve, share=3.0, modules=("zmq", "msgspec"), env=ENVIRONMENT
)

if __name__ == "__main__":
    perform(ROLES)
