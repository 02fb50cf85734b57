"""What a client may ask about a bridge, and who may."""

import os
import socket

import pytest

import mycelium
from mycelium.bus.security.peer import Peer

TEXT = """
schema: {id: 30, version: 1, min_compatible: 1}
messages:
  Ping: {tlv_type: 1010, fields: {value: {type: String}}}
"""
NEWER = TEXT.replace("version: 1", "version: 2").replace("String}", "String}, n: {type: u8, optional: true}")
BROKEN = TEXT.replace("String", "u64")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "contracts.yaml"
    path.write_text(TEXT)
    return path


async def test_info_says_what_a_bridge_is(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0", name="here") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        (info,) = await client.query("info")
    assert (info["server"], info["protocol"], info["sessions"]) == ("here", 1, 1)
    assert info["schema"]["digest"] == bus.contracts.schema.digest
    assert info["limits"]["max_payload"] == 4_194_304


async def test_sessions_name_clients_and_the_contracts_that_they_go_by(file, tmp_path):
    bus = mycelium.MessageBus(file)
    async with (
        bus.serve(f"unix://{tmp_path}/bus.sock") as bridge,
        mycelium.connect(bridge.urls[0], NEWER, name="newer") as client,
        mycelium.connect(bridge.urls[0], from_bridge=True, name="none"),
    ):
        first, *documents = await client.query("sessions")
    assert {(row["name"], row["version"]) for row in first["sessions"]} == {("newer", 2), ("none", 1)}
    by_digest = {each["digest"]: each["contracts"] for each in documents}
    assert set(by_digest) == {row["digest"] for row in first["sessions"]}
    assert by_digest[first["digest"]]["schema"]["version"] == 1


async def test_reload_reads_the_file_again_and_force_goes_around_the_policy(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        assert (await client.query("reload"))[0]["outcome"] == "unchanged"
        file.write_text(BROKEN)
        (refused,) = await client.query("reload")
        assert refused["outcome"] == "incompatible"
        assert refused["findings"][0]["rule"] == "FIELD_TYPE_CHANGED"
        (forced,) = await client.query("reload", force=True)
        assert forced["outcome"] == "applied"
        assert bus.contracts.Ping(3).to_bytes()


async def test_what_is_no_query_is_refused_and_the_client_goes_on(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        with pytest.raises(mycelium.Refused, match="no query 'nonsense'; there are info, stats, sessions, reload"):
            await client.query("nonsense")
        await client.flush()
        answer, _ = client._life.conversation.query("info", b"[")
        with pytest.raises(mycelium.Refused, match="no JSON"):
            await answer


async def test_a_bus_without_a_file_has_nothing_to_reload(contracts):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(mycelium.Refused, match="from no file"):
            await client.query("reload")


def test_the_kernel_names_the_user_at_the_other_end():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert (Peer.of(ours, "unix").uid, Peer.of(ours, "unix").is_owner) == (os.getuid(), True)
