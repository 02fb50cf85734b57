"""Redis: redis-py with hiredis, and redis-server without persistence and without limits on subscribers' buffers.

Published one by one, as users do; `redis-pipeline` sends 256 at a time, reported beside it.
"""

import asyncio
import contextlib
import importlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final

from attrs import evolve

from mycelium.bench.contender import LOOPBACK, Contender, Server, free_port
from mycelium.bench.process import started
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.tally import Tally
from mycelium.bench.workload import WORKLOADS
from peers.here import ENVIRONMENT, MODULE_COMMAND
from peers.packing import Packing

__all__ = ["CONTENDER", "PIPELINE"]

_BATCH: Final = 256
_SETTINGS: Final = ("--save", "", "--appendonly", "no", "--client-output-buffer-limit", "pubsub", "0", "0", "0")


@contextlib.contextmanager
def serve(scheme: str) -> Iterator[Server]:
    """A redis-server."""
    with tempfile.TemporaryDirectory(prefix="mycelium-bench-") as folder:
        path, port = f"{folder}/bench.sock", free_port() if scheme == "tcp" else 0
        place = ["--bind", LOOPBACK, "--port", str(port), "--unixsocket", path, "--dir", folder]
        with started("redis-server", ["redis-server", *place, *_SETTINGS], grace=0) as process:
            process.line_with("eady to accept connections")
            process.ignore()
            yield Server(f"redis://{LOOPBACK}:{port}" if port else f"unix://{path}", process)


def _client(spec: Spec) -> Any:
    return importlib.import_module("redis.asyncio").Redis.from_url(spec.url, max_connections=2 * spec.connections + 1)


async def publish(spec: Spec) -> None:
    """Publish as fast as the client takes it."""
    packing = Packing()
    make, encode = WORKLOADS[spec.workload].maker(packing.classes, spec.size), packing.encode
    async with _client(spec) as client:
        await client.ping()
        await await_go()
        start = time.monotonic()
        if spec.way == "pipeline":
            for first in range(0, spec.messages, _BATCH):
                pipeline = client.pipeline(transaction=False)
                for number in range(first, min(first + _BATCH, spec.messages)):
                    message = make(number)
                    pipeline.publish(type(message).__name__, encode(message))
                await pipeline.execute()
        else:
            for number in range(spec.messages):
                message = make(number)
                await client.publish(type(message).__name__, encode(message))
        report(start=start)
        await await_end()


async def subscribe(spec: Spec) -> None:
    """Take everything."""
    packing, tally = Packing(), Tally(spec.messages)
    (name,) = WORKLOADS[spec.workload].types
    decode, take = packing.decoders[name], tally.take(name)
    async with _client(spec) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(name)
        await pubsub.get_message(timeout=5)  # the confirmation

        async def read() -> None:
            async for message in pubsub.listen():
                take(decode(message["data"]))

        reading = asyncio.ensure_future(read())
        report(ready=True)
        await tally.until_all()
        await await_end()
        reading.cancel()


async def idle(spec: Spec) -> None:
    """Connections with a subscription, on which nothing happens: some, and upon the word all others."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(spec))

        async def add(count: int) -> None:
            for _ in range(count):
                pubsub = await stack.enter_async_context(client.pubsub())
                await pubsub.subscribe("CounterUpdate")
                await pubsub.get_message(timeout=5)

        await add(max(spec.connections // 10, 1))
        await await_go()
        await add(spec.connections)
        report(connections=spec.connections)
        await await_end()


ROLES: Final[dict[str, Role]] = {"publisher": publish, "subscriber": subscribe, "idler": idle}
CONTENDER: Final = Contender(
    "redis",
    (*MODULE_COMMAND, "peers.redis"),
    serve,
    share=0.05,
    modules=("redis", "hiredis", "msgspec"),
    programs=("redis-server",),
    env=ENVIRONMENT,
)
PIPELINE: Final = evolve(CONTENDER, name="redis-pipeline", share=0.2, way="pipeline")

if __name__ == "__main__":
    perform(ROLES)
