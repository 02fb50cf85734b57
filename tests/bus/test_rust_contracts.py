"""Contracts in Mycelium's own dialect: digests that agree or do not, and layouts that have to be and to stay."""

import hashlib

import pytest
import rustbus
from dialect import CONTRACTS, COUNTED, LAX, bridge_of, note, number
from rustbus import COUNTER, Peer

import mycelium
from mycelium import LayoutError, MyceliumClient
from mycelium.bus.reload import Reloader
from peers import until

WITHOUT = "messages:\n  Odd:\n    tlv_type: 1001\n    fields: {table: {type: 'Map<u8, u8>'}, big: {type: u128}}\n"


@pytest.fixture
def protocol():
    return mycelium.load(CONTRACTS)


async def test_a_digest_of_other_contracts_is_closed_and_logged_with_both(protocol, caplog):
    async with bridge_of(protocol, "rust+tcp://127.0.0.1:0") as (_, bridge):
        peer = await Peer.connect(bridge.urls[1], rustbus.preamble(b"other contracts"))
        peer.send(COUNTER, COUNTED)
        assert await peer.rest() == b""
        await until(lambda: bridge.closed)
        assert bridge.closed[0].reason == "schema_incompatible"
        assert bridge.closed[0].received == 0
        await peer.close()
    line = next(line for line in caplog.messages if "digest" in line)
    assert hashlib.sha256(b"other contracts").hexdigest() in line
    assert hashlib.sha256(CONTRACTS.read_bytes()).hexdigest() in line


async def test_a_digest_of_another_text_of_this_run_is_taken_while_its_structs_are_the_same(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(LAX)
    contracts = mycelium.load(file)
    other = f"{LAX}# another text\n".replace("{min: 5}", "{min: 6}")
    async with bridge_of(contracts, "rust+tcp://127.0.0.1:0") as (_, bridge):
        first = rustbus.preamble(other.encode())
        peer = await Peer.connect(bridge.urls[1], first)
        assert await peer.rest() == b"", "not yet known"
        await peer.close()
        file.write_text(other)
        assert (await Reloader(contracts).reload()).outcome == "applied"
        for text in (other, LAX):
            peer = await Peer.connect(bridge.urls[1], rustbus.preamble(text.encode()))
            peer.send(1002, number(1))
            assert await peer.receive() == (1002, number(1))
            await peer.close()


async def test_contracts_without_a_layout_are_refused_by_name_when_the_dialect_is_asked_for(tmp_path):
    contracts = mycelium.load(WITHOUT)
    bus = mycelium.MessageBus(contracts)
    for arguments in ({"urls": ["rust+tcp://127.0.0.1:0"]}, {"urls": [], "join": ["rust+tcp://127.0.0.1:9"]}):
        bridge = bus.serve(*arguments.pop("urls"), **arguments)
        with pytest.raises(LayoutError, match=r"(?s)Odd\.table.*Odd\.big"):
            await bridge.start()
    with pytest.raises(LayoutError, match=r"Odd\.table"):
        await MyceliumClient(contracts).connect(f"rust+unix://{tmp_path}/nobody")
    async with bus.serve("tcp://127.0.0.1:0"):
        pass
    await bus.close()


async def test_while_a_listener_is_open_an_edit_must_keep_every_layout(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(LAX)
    contracts = mycelium.load(file)
    reloader = Reloader(contracts, "none")
    async with bridge_of(contracts, "rust+tcp://127.0.0.1:0") as (bus, bridge):
        peer = await Peer.connect(bridge.urls[1])
        await until(lambda: bridge.sessions)
        file.write_text(LAX.replace("{type: String}", "{type: String, validation: [{max_length: 34}]}"))
        for force in (False, True):
            change = await reloader.reload(force=force)
            assert change.outcome == "incompatible"
            assert [one.rule for one in change.objections] == ["LAYOUT_CHANGED"]
        file.write_text(LAX.replace("{min: 5}", "{min: 6}"))
        assert (await reloader.reload()).outcome == "applied"
        bus.publish_nowait(contracts.Note(text="a", least=6))
        assert await peer.receive() == (1001, note("a", 6))
        peer.send(1001, note("b", 5))
        peer.send(1001, note("c", 7))
        assert await peer.receive() == (1001, note("c", 7))
        await peer.close()
    file.write_text(LAX.replace("{type: String}", "{type: String, validation: [{max_length: 34}]}"))
    assert (await reloader.reload()).outcome == "applied", "nobody minds any more"
