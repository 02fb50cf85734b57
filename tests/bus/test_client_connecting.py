"""Connecting a client: whose contracts hold, and what is no bridge."""

import time

import pytest

import mycelium
from mycelium import ClosedError, ConnectError, MyceliumClient, Refused, SchemaMismatch, UsageError
from peers import CORE, BareBridge, serving, until

# --- contracts ---


async def test_a_client_without_a_file_takes_the_bridges_contracts(contracts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MYCELIUM_CONTRACTS", raising=False)
    got = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient()
        with pytest.raises(ClosedError, match="not connected, and there is no contracts file"):
            _ = client.types
        await client.connect(bridge.urls[0])
        async with client:
            assert client.types.schema.digest == contracts.schema.digest
            assert client.types.Ping is not contracts.Ping
            await client.subscribe(got.append, client.types.Ping)
            bus.publish_nowait(contracts.Ping(value="x"))
            await until(lambda: got)
            assert got == [client.types.Ping(value="x")]
            with pytest.raises(UsageError, match="is not of <Contracts"):
                await client.publish(contracts.Ping(value="x"))


async def test_a_client_with_a_file_may_take_the_bridges_contracts_all_the_same(contracts):
    async with serving(contracts) as (_, bridge), mycelium.connect(bridge.urls[0], from_bridge=True) as client:
        assert client.types.schema.source.startswith("<contracts of ")


OTHER = "schema: {id: 7}\nmessages:\n  Ping: {tlv_type: 1010, fields: {value: {type: u8}}}\n"


async def test_p20_contracts_that_cannot_talk_to_each_other_are_refused(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(mycelium.load(OTHER))
        with pytest.raises(SchemaMismatch, match="schema_incompatible"):
            await client.connect(bridge.urls[0])
        await client.close()
        await until(lambda: not bridge.sessions)


async def test_a_bridge_that_sends_no_contracts_to_a_client_without_any_is_no_use(contracts, monkeypatch, tmp_path):
    async def serve(session):
        await session.welcome(contracts.schema)
        await session.next()

    async with BareBridge(serve) as bridge:
        client = MyceliumClient(from_bridge=True)
        with pytest.raises(Refused, match="give the client a contracts file"):
            await client.connect(bridge.url)
        await client.close()


# --- connecting to what is no bridge ---


async def test_nobody_there_is_a_connect_error_in_the_systems_own_words(contracts, tmp_path):
    async with BareBridge(lambda _: None) as gone:
        url = gone.url
    for place, reason in ((url, "connection refused"), (f"unix://{tmp_path}/none", "no such file or directory")):
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError) as caught:
            await client.connect(place)
        assert caught.value.reason == reason
        await client.close()


@pytest.mark.parametrize("url", ["tcp://" + "a" * 70 + ".example:1", "tcp://host.invalid:1"])
async def test_a_host_that_is_none_is_a_connect_error(contracts, url):
    client = MyceliumClient(contracts)
    with pytest.raises(ConnectError):
        await client.connect(url)
    await client.close()


async def test_a_silent_listener_is_a_connect_error_in_time(contracts):
    async def silent(session):
        await session.reader.read()

    async with BareBridge(silent) as bridge:
        client = MyceliumClient(contracts, timeout=0.2)
        start = time.monotonic()
        with pytest.raises(ConnectError, match="no answer within 0.2 s"):
            await client.connect(bridge.url)
        assert time.monotonic() - start < 2
        await client.close()


async def test_p23_an_http_server_is_a_connect_error_that_says_so(contracts):
    async def http(session):
        await session.reader.read(1)
        session.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await session.writer.drain()

    async with BareBridge(http) as bridge:
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError, match="it does not speak Mycelium's protocol"):
            await client.connect(bridge.url)
        await client.close()


@pytest.mark.parametrize("after", [0, 10, 60, -1])
async def test_p59_a_connection_that_ends_during_the_handshake_is_a_connect_error(contracts, after):
    async def cut(session):
        await session.next()
        schema = contracts.schema
        welcome = CORE.encode(
            CORE.Welcome(
                protocol=1,
                server="bare!",
                session=1,
                schema_id=schema.id,
                schema_version=1,
                schema_digest=bytes.fromhex(schema.digest),
                max_payload=1,
                heartbeat_ms=1000,
            )
        )
        session.send(welcome[:after])
        await session.writer.drain()

    async with BareBridge(cut) as bridge:
        client = MyceliumClient(contracts)
        with pytest.raises(ConnectError):
            await client.connect(bridge.url)
        await client.close()


async def test_a_client_that_failed_to_connect_may_try_again(contracts, tmp_path):
    client = MyceliumClient(contracts)
    with pytest.raises(ConnectError):
        await client.connect(f"unix://{tmp_path}/bus.sock")
    async with serving(contracts, f"unix://{tmp_path}/bus.sock") as (_, bridge):
        await client.connect(bridge.urls[0])
        await client.flush()
        with pytest.raises(UsageError, match="connected already"):
            await client.connect(bridge.urls[0])
        await client.close()
