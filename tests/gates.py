"""Handlers that hold a message until they are let go on, and contracts of what is delivered inside a process."""

import asyncio

from peers import until

TEXT = """
messages:
  Job: {tlv_type: 1000, fields: {number: {type: u32}}}
  Tick: {tlv_type: 1001, key: symbol, qos: {on_lag: latest}, fields: {symbol: {type: u8}, number: {type: u32}}}
  State: {tlv_type: 1002, key: id, retain: last, fields: {id: {type: u8}, number: {type: u32}}}
  Mode: {tlv_type: 1003, retain: last, fields: {number: {type: u32}}}
  Ask: {tlv_type: 1004, fields: {number: {type: u32}}}
  Answer: {tlv_type: 1005, fields: {number: {type: u32}}}
  Task: {tlv_type: 1006, key: id, fields: {id: {type: u8}, number: {type: u32}}}
"""


class Gate:
    """A handler that takes a message and waits to be let go on."""

    def __init__(self):
        self.got = []
        self.gaps = []
        self._open = asyncio.Event()
        self.inside = 0

    async def __call__(self, message):
        self.got.append(message.number)
        self.inside += 1
        await self._open.wait()
        self.inside -= 1

    def open(self):
        self._open.set()


async def gated(bus, *types, **options):
    """A subscription with a message in its handler."""
    gate = Gate()
    subscription = await bus.subscribe(gate, *types, on_gap=gate.gaps.append, **options)
    bus.publish_nowait(
        types[0](*([0] * (len(types[0].__annotations__) or 1)) if types[0].__name__ == "Job" else (0, 0))
    )
    await until(lambda: gate.got)
    gate.got.clear()
    return gate, subscription


def counters(subscription):
    stats = subscription.stats()
    assert stats.balanced
    return stats.matched, stats.delivered, stats.dropped, stats.queued, stats.in_flight
