"""NATS: nats-py and nats-server.

Its users' fastest ordinary settings: subjects are not checked, and queues are large enough that nothing is dropped.
"""

import asyncio
import contextlib
import importlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from mycelium.bench.contender import LOOPBACK, Contender, Server, free_port
from mycelium.bench.pace import slots
from mycelium.bench.process import started
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.tally import Tally, percentiles
from mycelium.bench.workload import WORKLOADS
from peers.here import ENVIRONMENT, MODULE_COMMAND
from peers.packing import Packing

__all__ = ["BATCHED", "CONTENDER", "connected", "serve", "subscribe"]

Task = Callable[[Spec], Awaitable[None]]

_CONFIG: Final = """
host: {host}
port: {port}
max_pending: 2GB
write_deadline: "60s"
max_payload: 8MB
"""
_PENDING_MESSAGES: Final = 1 << 24
_PENDING_BYTES: Final = 1 << 32
_WARM_UP: Final = 200
_BATCH: Final = 256


@contextlib.contextmanager
def serve(_: str, more: str = "") -> Iterator[Server]:
    """A nats-server on loopback; it has no Unix sockets."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mycelium-bench-") as folder:
        config = Path(folder, "nats.conf")
        config.write_text(_CONFIG.format(host=LOOPBACK, port=port) + more.format(folder=folder), encoding="utf-8")
        with started("nats-server", ["nats-server", "-c", str(config)], talks_on_stderr=True, grace=0) as process:
            process.line_with("Server is ready")
            process.ignore()
            yield Server(f"nats://{LOOPBACK}:{port}", process)


@contextlib.asynccontextmanager
async def connected(spec: Spec) -> AsyncIterator[list[Any]]:
    """The clients of a process."""
    library = importlib.import_module("nats")
    clients = [await library.connect(spec.url, skip_subject_validation=True) for _ in range(spec.connections)]
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


async def listen(client: Any, subject: str, callback: Callable[[Any], Awaitable[None]]) -> None:
    """Subscribe with room for everything."""
    limits = {"pending_msgs_limit": _PENDING_MESSAGES, "pending_bytes_limit": _PENDING_BYTES}
    await client.subscribe(subject, cb=callback, **limits)


async def publish(spec: Spec) -> None:
    """Publish as fast as the client takes it, over each connection in turn."""
    packing = Packing()
    workload, encode = WORKLOADS[spec.workload], packing.encode
    make, subject = workload.maker(packing.classes, spec.size), workload.types[0]
    async with connected(spec) as clients:
        await await_go()
        start = time.monotonic()
        if len(workload.types) > 1:
            (client,) = clients
            for message in map(make, range(spec.messages)):
                await client.publish(type(message).__name__, encode(message))
        elif len(clients) == 1:
            client = clients[0]
            for message in map(make, range(spec.messages)):
                await client.publish(subject, encode(message))
        else:
            for number in range(spec.messages):
                await clients[number % len(clients)].publish(subject, encode(make(number)))
        for client in clients:
            await client.flush(timeout=60)
        report(start=start)
        await await_end()


async def publish_batches(spec: Spec) -> None:
    """Publish what a user has put together by hand: a list of messages as one."""
    packing = Packing()
    make, encode = WORKLOADS[spec.workload].maker(packing.classes, spec.size), packing.encode
    async with connected(spec) as (client,):
        await await_go()
        start = time.monotonic()
        for first in range(0, spec.messages, _BATCH):
            batch = [make(number) for number in range(first, min(first + _BATCH, spec.messages))]
            await client.publish("batches", encode(batch))
        await client.flush(timeout=60)
        report(start=start)
        await await_end()


async def subscribe_batches(spec: Spec) -> None:
    """Take such lists apart."""
    packing, tally = Packing(), Tally(spec.messages)
    (name,) = WORKLOADS[spec.workload].types
    decode, take = packing.list_decoder(name), tally.take(name)

    async def callback(message: Any) -> None:
        for each in decode(message.data):
            take(each)

    async with connected(spec) as (client,):
        await listen(client, "batches", callback)
        await client.flush()
        report(ready=True)
        await tally.until_all()
        await await_end()


async def pace(spec: Spec) -> None:
    """Publish at a rate, with the time at which each message was due."""
    packing = Packing()
    made, encode = packing.classes.Stamped, packing.encode
    async with connected(spec) as (client,):
        await await_go()
        start = time.monotonic()
        async for due, numbers in slots(spec.messages, spec.rate):
            for number in numbers:
                await client.publish("Stamped", encode(made(due=due, number=number)))
        await client.flush(timeout=60)
        report(start=start)
        await await_end()


async def subscribe(spec: Spec) -> None:
    """Take everything, with one callback a connection and type."""
    packing = Packing()
    tally = Tally(spec.messages * spec.connections)
    async with connected(spec) as clients:
        for client in clients:
            for name in WORKLOADS[spec.workload].types:
                await listen(client, name, _callback(packing.decoders[name], tally.take(name)))
            await client.flush()
        report(ready=True)
        await tally.until_all()
        await await_end()


def _callback(decode: Callable[[bytes], Any], take: Callable[[Any], None]) -> Callable[[Any], Awaitable[None]]:
    async def callback(message: Any) -> None:
        take(decode(message.data))

    return callback


async def reply(spec: Spec) -> None:
    """Answer requests."""
    packing = Packing()
    decode, encode, made = packing.decoders["Ping"], packing.encode, packing.classes.Pong

    async def answer(message: Any) -> None:
        await message.respond(encode(made(value=decode(message.data).value)))

    async with connected(spec) as (client,):
        await listen(client, "Ping", answer)
        await client.flush()
        report(ready=True)
        await await_end()


async def ask(spec: Spec) -> None:
    """Send requests, one at a time."""
    packing = Packing()
    decode, encode, made = packing.decoders["Pong"], packing.encode, packing.classes.Ping
    async with connected(spec) as (client,):
        clock, times = time.monotonic_ns, []
        for number in range(_WARM_UP):
            await client.request("Ping", encode(made(value=f"warm {number}")))
        await await_go()
        for number in range(spec.messages):
            start = clock()
            answer = decode((await client.request("Ping", encode(made(value=f"ping {number}")), timeout=2)).data)
            assert answer.value == f"ping {number}"
            times.append(clock() - start)
        report(**percentiles(times))
        await await_end()


async def idle(spec: Spec) -> None:
    """Connections with a subscription, on which nothing happens: some, and upon the word all others."""
    library = importlib.import_module("nats")
    held = []

    async def ignore(_: Any) -> None:
        return

    async def add(count: int) -> None:
        for _ in range(count):
            client = await library.connect(spec.url)
            await client.subscribe("CounterUpdate", cb=ignore)
            await client.flush()
            held.append(client)

    await add(max(spec.connections // 10, 1))
    await await_go()
    await add(spec.connections)
    report(connections=spec.connections)
    await await_end()
    await asyncio.gather(*(client.close() for client in held))


def _by_way(usual: Task, batched: Task) -> Task:
    async def choose(spec: Spec) -> None:
        await (batched if spec.way == "batched" else usual)(spec)

    return choose


ROLES: Final[dict[str, Role]] = {
    "publisher": _by_way(publish, publish_batches),
    "pacer": pace,
    "subscriber": _by_way(subscribe, subscribe_batches),
    "replier": reply,
    "asker": ask,
    "idler": idle,
}
CONTENDER: Final = Contender(
    "nats",
    (*MODULE_COMMAND, "peers.nats"),
    serve,
    share=0.5,
    modules=("nats", "msgspec"),
    programs=("nats-server",),
    env=ENVIRONMENT,
)

BATCHED: Final = evolve(CONTENDER, name="nats-batched", share=4.0, way="batched")

if __name__ == "__main__":
    perform(ROLES)
