"""ZeroMQ as asyncio services use it: `zmq.asyncio`, with an awaited call for each message on both sides; see `zmq`."""

import asyncio
import importlib
import time
from typing import Any, Final

from attrs import evolve

from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.tally import PATIENCE_SECONDS
from mycelium.bench.workload import WORKLOADS
from peers import zmq
from peers.here import MODULE_COMMAND
from peers.packing import Packing

__all__ = ["CONTENDER"]


async def publish(spec: Spec) -> None:
    """Publish as fast as the socket takes it."""
    library, packing = importlib.import_module("zmq.asyncio"), Packing()
    make, encode = WORKLOADS[spec.workload].maker(packing.classes, spec.size), packing.encode
    with library.Context() as context, context.socket(importlib.import_module("zmq").XPUB) as socket:
        socket.set_hwm(0)
        socket.bind(spec.url)
        await socket.recv()  # the subscription
        await await_go()
        start = time.monotonic()
        for message in map(make, range(spec.messages)):
            await socket.send(encode(message))
        report(start=start)
        await await_end()


async def subscribe(spec: Spec) -> None:
    """Take all CounterUpdates."""
    library, packing = importlib.import_module("zmq.asyncio"), Packing()
    with library.Context() as context, context.socket(importlib.import_module("zmq").SUB) as socket:
        socket.set_hwm(0)
        socket.subscribe(b"")
        socket.connect(spec.url)
        report(ready=True)
        report(**await _take_all(socket, spec.messages, packing.decoders["CounterUpdate"]))
        await await_end()


async def _take_all(socket: Any, expected: int, decode: Any) -> dict[str, float]:
    receive, seen, last = socket.recv, 0, 0.0

    async def take() -> None:
        nonlocal seen
        while seen < expected:
            message = decode(await receive())
            _id, _value, _delta = message.counter_id, message.value, message.delta
            seen += 1

    taking = asyncio.ensure_future(take())
    before = -1
    while seen != before and not taking.done():
        before = seen
        await asyncio.wait([taking], timeout=PATIENCE_SECONDS if seen else None)
    last = time.monotonic()
    taking.cancel()
    return {"delivered": seen, "last": last if seen >= expected else last - PATIENCE_SECONDS}


ROLES: Final[dict[str, Role]] = {"publisher": publish, "subscriber": subscribe}
CONTENDER: Final = evolve(zmq.CONTENDER, name="zmq-asyncio", command=(*MODULE_COMMAND, "peers.zmqasync"), share=0.2)

if __name__ == "__main__":
    perform(ROLES)
