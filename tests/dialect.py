"""Contracts, structs and places of Mycelium's own dialect, for tests of both of its sides."""

import contextlib
from pathlib import Path

import rustbus
from rustbus import Bus

import mycelium

CONTRACTS = Path(__file__).parent / "contracts" / "mycelium-protocol.yaml"
COUNTED = rustbus.counter(7, -1000, 3)
LAX = """
schema: {id: 7, version: 1}
messages:
  Note:
    tlv_type: 1001
    fields:
      text: {type: String}
      least: {type: u32, optional: true, validation: [{min: 5}]}
  Kept:
    tlv_type: 1002
    retain: last
    fields: {number: {type: u64}}
"""
"""A string without `max_length`, an optional number with a rule, and a last value."""


def note(text, least=0):
    """A Note as a struct: FixedStr<32> and a u32, padded to 4."""
    return rustbus.fixed_str(text, 32) + least.to_bytes(4, "little")


def number(value):
    """A Kept as a struct."""
    return value.to_bytes(8, "little")


@contextlib.asynccontextmanager
async def bridge_of(contracts, *urls, **options):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve("tcp://127.0.0.1:0", *urls, **options) as bridge:
        yield bus, bridge
    await bus.close()


@contextlib.asynccontextmanager
async def bus_at(url, **options):
    bus = Bus(**options)
    bus.url = await bus.listen(url)
    yield bus
    await bus.close()


async def collecting(client, *types, **options):
    got = []
    await client.subscribe(got.append, *types, **options)
    return got
