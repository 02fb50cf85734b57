"""What has to hold in every case of faults and abuse: others are not hurt, and nothing is left afterwards."""

import asyncio
import contextlib
import gc
import re
import time
from pathlib import Path

from attrs import frozen

import mycelium
from peers import until

SETTLE_SECONDS = 5.0
"""How long after the offenders are gone everything is as it was before (I4)."""
MOST_GROWTH = 8 * 1024 * 1024
"""Bytes that the process may have grown by (I4)."""


@contextlib.asynccontextmanager
async def bystanders(contracts, url):
    """A publisher and a subscriber that talk all the while; nothing of it is lost, doubled or out of order (I3)."""
    heard = sent = 0
    wrong, stop = [], asyncio.Event()

    def hear(message):
        nonlocal heard
        if message.counter_id != heard:
            wrong.append((message.counter_id, heard))
        heard += 1

    async with mycelium.connect(url, contracts) as publisher, mycelium.connect(url, contracts) as subscriber:
        await subscriber.subscribe(hear, contracts.CounterUpdate)

        async def talk():
            nonlocal sent
            while not stop.is_set():
                await publisher.publish(contracts.CounterUpdate(sent, 0, 0))
                sent += 1
                await asyncio.sleep(0)

        talking = asyncio.ensure_future(talk())
        await until(lambda: heard > 10)
        try:
            yield
            before = heard
            await until(lambda: heard > before + 10)
        finally:
            stop.set()
            await talking
        await publisher.flush()
        await until(lambda: heard == sent)
        assert wrong == []


@frozen
class Footprint:
    """What the process holds: tasks, timers and file descriptors of the running loop."""

    tasks: int
    timers: int
    descriptors: int

    @classmethod
    def now(cls):
        """As it is now."""
        loop = asyncio.get_running_loop()
        timers = sum(not timer.cancelled() for timer in loop._scheduled)
        return cls(len(asyncio.all_tasks()), timers, len(list(Path("/proc/self/fd").iterdir())))

    def covers(self, other):
        """Whether the other one is nowhere larger."""
        return other.tasks <= self.tasks and other.timers <= self.timers and other.descriptors <= self.descriptors


async def settled(before, holds=lambda: True):
    """Wait until the process holds no more than before, and something is so."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not (before.covers(now := Footprint.now()) and holds()):
        assert time.monotonic() < deadline, f"{now} is left of {before}"
        await asyncio.sleep(0.01)


def resident():
    """Bytes of memory that the process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextlib.asynccontextmanager
async def nothing_left(bridge):
    """Tasks, timers, descriptors and the bridge's tables are back where they were 5 s after the block, memory too (I4).

    Whoever is to be connected afterwards is connected before.
    """
    gc.collect()
    known, before, memory = len(bridge.sessions), Footprint.now(), resident()
    yield
    await settled(before, lambda: (len(bridge._protocols), len(bridge._handshaking)) == (known, 0))
    gc.collect()
    assert (grown := resident() - memory) < max(MOST_GROWTH, memory // 10), f"{grown} bytes more"


@contextlib.asynccontextmanager
async def harmless(contracts, bridge, url=None):
    """What is done inside hurts no bystander and leaves nothing behind."""
    async with bystanders(contracts, url or bridge.urls[0]), nothing_left(bridge):
        yield


def reasons(caplog):
    """Why connections were ended, of which there is one for each (I7); lines that were held back count as well."""
    found = []
    for record in caplog.records:
        text = record.getMessage()
        match = re.search(r"session \d+: (\w+): (?!type id)", text)
        if match:
            found += [match[1]] * (1 + getattr(record, "suppressed", 0))
    return found
