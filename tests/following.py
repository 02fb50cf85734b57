"""A bus on a file of contracts that is edited while it serves."""

import contextlib

import mycelium
from mycelium.bus.reload import Reloader

BASE = """
schema: {id: 21, version: 1, min_compatible: 1}
messages:
  Ping: {tlv_type: 1010, domain: Greetings, fields: {value: {type: String}}}
  Pong: {tlv_type: 1011, domain: Greetings, fields: {value: {type: String}}}
  Side: {tlv_type: 1012, fields: {}}
"""
NEW_TYPE = BASE + "  Peng: {tlv_type: 1013, domain: Greetings, fields: {n: {type: u8}}}\n"


@contextlib.asynccontextmanager
async def served(tmp_path, text=BASE):
    """A bus on a file, its bridge, and a function that edits and reloads."""
    file = tmp_path / "contracts.yaml"
    file.write_text(text)
    bus = mycelium.MessageBus(file)
    reloader = Reloader(bus.contracts)

    async def edit(text, *, force=False):
        file.write_text(text)
        return await reloader.reload(force=force)

    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        yield bus, bridge, edit
    await bus.close()
