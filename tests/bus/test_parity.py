"""The same checks on a bus in the process, over a Unix socket, TCP and TLS: the same results and errors (P85)."""

import contextlib

import pytest
from certificates import Authority
from check_client import CHECKS, Place

import mycelium

CONTRACTS = """
messages:
  TextMessage:
    tlv_type: 1001
    fields:
      sender: {type: String, validation: [{not_empty: true}]}
      content: {type: String}
      timestamp: {type: u64}
  CounterUpdate: {tlv_type: 1002, fields: {counter_id: {type: u64}, value: {type: i32}, delta: {type: i32}}}
  Ping: {tlv_type: 1010, fields: {value: {type: String}}}
  Pong: {tlv_type: 1011, fields: {value: {type: String}}}
  Quote: {tlv_type: 1012, key: symbol, fields: {symbol: {type: String}, price: {type: u32}}}
  Price: {tlv_type: 1013, key: symbol, retain: last, fields: {symbol: {type: String}, price: {type: u32}}}
"""
BLOCK_SECONDS = 0.3


@contextlib.asynccontextmanager
async def local(_):
    contracts = mycelium.load(CONTRACTS)
    bus = mycelium.MessageBus(contracts, block_timeout=BLOCK_SECONDS)
    other = None

    async def new():
        return bus

    place = Place(contracts, bus, new)
    place.is_local = True
    async with bus.serve("tcp://127.0.0.1:0") as bridge:

        async def bus_client():
            nonlocal other
            other = other or mycelium.MyceliumClient(contracts)
            if other.session is None:
                await other.connect(bridge.urls[0])
            return other

        place.bus_client = bus_client
        yield place
        if other is not None:
            await other.close()
    await bus.close()


@contextlib.asynccontextmanager
async def served(url, security=None, **credentials):
    contracts = mycelium.load(CONTRACTS)
    bus = mycelium.MessageBus(contracts)
    async with (
        bus.serve(url, limits=mycelium.Limits(block_seconds=BLOCK_SECONDS), security=security) as bridge,
        contextlib.AsyncExitStack() as clients,
    ):

        async def new():
            client = mycelium.MyceliumClient(contracts, block_timeout=BLOCK_SECONDS, **credentials)
            await client.connect(bridge.urls[0])
            clients.push_async_callback(client.close)
            return client

        place = Place(contracts, bus, new)
        place.bus_client = new
        yield place
    await bus.close()


def secured(folder):
    """Over TLS, with tokens, and with access rules that allow everything."""
    ours = Authority(folder)
    files = ours.issue("127.0.0.1")
    rules = folder / "acl.yaml"
    rules.write_text("principals: {ann: {publish: ['*'], subscribe: ['topic:*']}}")
    token = "0123456789abcdef"
    security = mycelium.Security(tokens=f"ann: {token}", acl_file=rules, tls_cert=files.cert, tls_key=files.key)
    return served("tls://127.0.0.1:0", security, token=token, tls_ca=ours.ca)


PLACES = {
    "bus": local,
    "unix": lambda folder: served(f"unix://{folder}/s"),
    "tcp": lambda _: served("tcp://127.0.0.1:0"),
    "tls": secured,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", PLACES)
async def test_p85(kind, check, tmp_path):
    async with PLACES[kind](tmp_path) as place:
        await check(place)
