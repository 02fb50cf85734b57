"""The client processes of Mycelium: `python -m mycelium.bench.role SPEC`.

Each does what a user would write.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from mycelium.bench.pace import slots
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.tally import Tally, percentiles
from mycelium.bench.workload import WORKLOADS, contract_text
from mycelium.bus.client import MyceliumClient
from mycelium.bus.observing import TracingChoice
from mycelium.handle import load
from mycelium.schema.classes import Message

__all__ = ["ROLES"]

_WARM_UP: Final = 200
"""Requests before the measured ones."""


def _unlimited() -> TracingChoice:
    from mycelium.tracing import Tracing

    return Tracing(most_per_second=None)


_TRACING: Final[dict[str, Callable[[], TracingChoice]]] = {"traced": lambda: True, "unlimited": _unlimited}
"""Of ways that trace what clients are told of it."""


@contextlib.asynccontextmanager
async def _connected(spec: Spec) -> AsyncIterator[list[MyceliumClient]]:
    """The clients of a process."""
    contracts = load(contract_text())
    async with contextlib.AsyncExitStack() as stack:
        traced = _TRACING.get(spec.way, lambda: None)()
        names = (f"{spec.role} {number}" for number in range(spec.connections))
        clients = [MyceliumClient(contracts, name=name, tracing=traced) for name in names]
        for client in clients:
            await client.connect(spec.url)
            await stack.enter_async_context(client)
        yield clients


async def publish(spec: Spec) -> None:
    """Publish as fast as the bridge takes it, over each connection in turn."""
    workload = WORKLOADS[spec.workload]
    async with _connected(spec) as clients:
        make = workload.maker(clients[0].types, spec.size)
        await await_go()
        start = time.monotonic()
        if len(clients) == 1:
            client, messages = clients[0], map(make, range(spec.messages))
            if spec.way == "many":
                await client.publish_many(messages)
            else:
                for message in messages:
                    await client.publish(message)
        else:
            for number in range(spec.messages):
                await clients[number % len(clients)].publish(make(number))
        for client in clients:
            await client.flush()
        report(start=start)
        await await_end()


async def pace(spec: Spec) -> None:
    """Publish at a rate, with the time at which each message was due."""
    async with _connected(spec) as (client,):
        made = client.types.Stamped
        await await_go()
        start = time.monotonic()
        async for due, numbers in slots(spec.messages, spec.rate):
            for number in numbers:
                await client.publish(made(due=due, number=number))
        await client.flush()
        report(start=start)
        await await_end()


async def subscribe(spec: Spec) -> None:
    """Take everything, with one handler a connection."""
    workload = WORKLOADS[spec.workload]
    tally = Tally(spec.messages * spec.connections)
    async with _connected(spec) as clients:
        for client in clients:
            types = [client.types[name] for name in workload.types]
            await client.subscribe(_handler(tally, types), *types, on_lag="block")
        report(ready=True)
        await tally.until_all()
        await await_end()


def _handler(tally: Tally, types: list[type[Message]]) -> Callable[[Message], None]:
    if len(types) == 1:
        return tally.take(types[0].__name__)
    takers = {cls: tally.take(cls.__name__) for cls in types}
    return lambda message: takers[type(message)](message)


async def iterate(spec: Spec) -> None:
    """Take everything from an async iterator."""
    tally = Tally(spec.messages)
    async with _connected(spec) as (client,):
        (name,) = WORKLOADS[spec.workload].types
        take = tally.take(name)
        async with client.messages(client.types[name], on_lag="block") as stream:

            async def read() -> None:
                async for message in stream:
                    take(message)

            reading = asyncio.ensure_future(read())
            report(ready=True)
            await tally.until_all()
            await await_end()
            reading.cancel()


async def reply(spec: Spec) -> None:
    """Answer requests."""
    client = MyceliumClient(load(contract_text()), name=spec.role)
    types = client.types

    @client.reply(types.Ping)
    def answer(message: Any) -> Message:
        made: Message = types.Pong(value=message.value)
        return made

    await client.connect(spec.url)
    async with client:
        report(ready=True)
        await await_end()


async def ask(spec: Spec) -> None:
    """Send requests, one at a time."""
    async with _connected(spec) as (client,):
        types, clock, times = client.types, time.monotonic_ns, []
        for number in range(_WARM_UP):
            await client.request(types.Ping(value=f"warm {number}"), types.Pong)
        await await_go()
        for number in range(spec.messages):
            start = clock()
            answer = await client.request(types.Ping(value=f"ping {number}"), types.Pong)
            assert answer.value == f"ping {number}"  # noqa: S101  a wrong answer is no answer
            times.append(clock() - start)
        report(**percentiles(times))
        await await_end()


async def confirm(spec: Spec) -> None:
    """Publish and wait for the receipts, many at the same time."""
    async with _connected(spec) as (client,):
        make = WORKLOADS[spec.workload].maker(client.types, spec.size)
        numbers = iter(range(spec.messages))

        async def work() -> None:
            for number in numbers:
                await client.publish(make(number), confirm=True)

        await await_go()
        start = time.monotonic()
        await asyncio.gather(*(work() for _ in range(spec.flight)))
        report(delivered=spec.messages, start=start, last=time.monotonic())
        await await_end()


async def idle(spec: Spec) -> None:
    """Connections with a subscription, on which nothing happens: some, and upon the word all others."""
    async with contextlib.AsyncExitStack() as stack:
        contracts = load(contract_text())

        async def add(count: int) -> None:
            for _ in range(count):
                client = MyceliumClient(contracts)
                await client.connect(spec.url)
                await stack.enter_async_context(client)
                await client.subscribe(lambda _: None, client.types.CounterUpdate)

        await add(max(spec.connections // 10, 1))
        await await_go()
        await add(spec.connections)
        report(connections=spec.connections)
        await await_end()


async def call(spec: Spec) -> None:
    """Publish to itself; imported late, since other roles need no bus."""
    from mycelium.bench import caller

    await caller.call(spec)


ROLES: Final[dict[str, Role]] = {
    "publisher": publish,
    "pacer": pace,
    "subscriber": subscribe,
    "iterator": iterate,
    "replier": reply,
    "asker": ask,
    "confirmer": confirm,
    "idler": idle,
    "caller": call,
}
"""What a process may be."""

if __name__ == "__main__":
    perform(ROLES)
