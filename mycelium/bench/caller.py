"""A process that publishes to itself, over a MessageBus without any socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from mycelium.bench.spec import Spec
from mycelium.bench.stage import await_end, await_go, report
from mycelium.bench.tally import Tally
from mycelium.bench.workload import WORKLOADS, contract_text
from mycelium.bus.bus import MessageBus
from mycelium.handle import load
from mycelium.schema.classes import Message

__all__ = ["call"]


async def call(spec: Spec) -> None:
    """Publish to receivers of the way that was chosen."""
    await _WAYS[spec.way](spec)


async def _held(spec: Spec) -> None:
    """`publish_nowait` of one message that is held, to a function that counts."""
    bus = MessageBus(load(contract_text()))
    message = WORKLOADS[spec.workload].maker(bus.contracts, spec.size)(1)
    seen = 0

    def count(_: Message) -> None:
        nonlocal seen
        seen += 1

    await bus.subscribe(count, type(message))
    await await_go()
    publish = bus.publish_nowait
    start = time.monotonic()
    for _ in range(spec.messages):
        publish(message)
    report(start=start, last=time.monotonic(), delivered=seen)
    await await_end()
    await bus.close()


async def _to_handler(spec: Spec) -> None:
    """`await publish` to an async handler, which has a queue as an iterator has."""
    bus, tally = MessageBus(load(contract_text())), Tally(spec.messages)
    cls = bus.contracts.CounterUpdate
    take = tally.take("CounterUpdate")

    async def handle(message: Message) -> None:
        take(message)

    await bus.subscribe(handle, cls, on_lag="block")
    await _publish_all(bus, spec, tally)


async def _to_iterator(spec: Spec) -> None:
    """`await publish` to `async for`."""
    bus, tally = MessageBus(load(contract_text())), Tally(spec.messages)
    take = tally.take("CounterUpdate")
    async with bus.messages(bus.contracts.CounterUpdate, on_lag="block") as stream:

        async def read() -> None:
            async for message in stream:
                take(message)

        reading = asyncio.ensure_future(read())
        await _publish_all(bus, spec, tally)
        reading.cancel()


async def _publish_all(bus: MessageBus, spec: Spec, tally: Tally) -> None:
    make = WORKLOADS["counter"].maker(bus.contracts, spec.size)
    await await_go()
    start = time.monotonic()
    for number in range(spec.messages):
        await bus.publish(make(number))
    await tally.until_all(start=start)
    await await_end()


_WAYS: Final[Mapping[str, Callable[[Spec], Awaitable[None]]]] = {
    "": _held,
    "handler": _to_handler,
    "iterator": _to_iterator,
}
