"""JetStream, which stores what is published before it acknowledges: here in memory, the fastest that it has.

Mycelium's receipts say that the bridge has routed a message to the queues of its subscribers; nothing is stored.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from attrs import evolve

from mycelium.bench.contender import Server
from mycelium.bench.spec import Spec
from mycelium.bench.stage import Role, await_end, await_go, perform, report
from mycelium.bench.workload import WORKLOADS
from peers import nats
from peers.here import MODULE_COMMAND
from peers.packing import Packing

__all__ = ["CONTENDER"]

_CONFIG: Final = """
jetstream {{ store_dir: "{folder}", max_memory_store: 2GB }}
"""


@contextlib.contextmanager
def serve(scheme: str) -> Iterator[Server]:
    """A nats-server that stores."""
    with nats.serve(scheme, _CONFIG) as server:
        yield server


async def confirm(spec: Spec) -> None:
    """Publish to a stream in memory, with many acknowledgements outstanding."""
    packing = Packing()
    make, encode = WORKLOADS[spec.workload].maker(packing.classes, spec.size), packing.encode
    async with nats.connected(spec) as (client,):
        stream = client.jetstream(publish_async_max_pending=spec.flight)
        await stream.add_stream(name="bench", subjects=["CounterUpdate"], storage="memory")
        await await_go()
        start = time.monotonic()
        acknowledged = []
        for number in range(spec.messages):
            message = make(number)
            acknowledged.append(await stream.publish_async(type(message).__name__, encode(message)))
        for each in acknowledged:
            await each
        report(delivered=spec.messages, start=start, last=time.monotonic())
        await await_end()


ROLES: Final[dict[str, Role]] = {"confirmer": confirm, "subscriber": nats.subscribe}
CONTENDER: Final = evolve(
    nats.CONTENDER, name="jetstream", command=(*MODULE_COMMAND, "peers.jetstream"), serve=serve, share=0.5
)

if __name__ == "__main__":
    perform(ROLES)
