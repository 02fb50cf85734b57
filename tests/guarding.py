"""Bridges that let in only whom they know, and the files that say who that is."""

import contextlib
import logging
from pathlib import Path

import mycelium
from mycelium import Limits

TLS = "tls://127.0.0.1:0"
ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
TOKENS = f"ann: {ANN},bob: {BOB}"
CONTRACT = """
messages:
  Tick: {tlv_type: 1001, domain: MarketData, fields: {}}
  Trade: {tlv_type: 1002, domain: MarketData, fields: {}}
  Order: {tlv_type: 1003, domain: Execution, renamed_from: OldOrder, fields: {}}
  Ping: {tlv_type: 1004, fields: {}}
"""
"""For access rules by name, topic and former name."""


@contextlib.asynccontextmanager
async def guarded(contracts, security, url=TLS, **limits):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(url, security=security, limits=Limits(**limits)) as bridge:
        yield bus, bridge
    assert bridge.sessions == []
    await bus.close()


def lines(caplog, name="mycelium.bridge"):
    return [record.getMessage() for record in caplog.records if record.name == name and record.levelno > logging.INFO]


def write(path, text):
    """Replace a file at once, as a careful editor does."""
    fresh = Path(f"{path}.new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)
    return path


def rules(**principals):
    """The text of an ACL file."""
    return "principals:\n" + "".join(f"  {name}: {text}\n" for name, text in principals.items())
