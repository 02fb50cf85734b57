"""Who gets into a bridge over real sockets, by token or Unix user, and what each side is told: reliability, B and J."""

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest
from guarding import ANN, BOB, TOKENS, guarded, lines, rules, write

import mycelium
from mycelium import AuthError, Security, SecurityError
from mycelium.events import Connected, SecurityChanged, SecurityRefused
from mycelium.wire.errors import ErrorCode
from peers import CORE, peer_at, until

# --- tokens ---


async def test_a_bridge_that_asks_lets_nobody_else_in_and_says_so_on_both_sides(contracts, caplog):
    async with guarded(contracts, Security(tokens=TOKENS), "tcp://127.0.0.1:0") as (_, bridge):
        url = bridge.urls[0]
        with pytest.raises(AuthError, match="auth_required.*give a token"):
            async with mycelium.connect(url, contracts):
                pass
        with pytest.raises(AuthError, match="auth_refused.*the token is not accepted"):
            async with mycelium.connect(url, contracts, token="wrong-0123456789abcdef"):
                pass
        async with mycelium.connect(url, contracts, token=BOB) as client:
            with pytest.raises(mycelium.Refused, match="`admin: true`"):
                await client.query("sessions")
            assert (await client.query("info"))[0]["security"] == {"asks": ["token"], "acl": False}
    assert [line.partition("session ")[2] for line in lines(caplog)] == [
        "1: auth_required: this bridge asks who you are; give a token (token=…, $MYCELIUM_TOKEN, --token-file)",
        "2: auth_refused: the token is not accepted",
    ]
    assert "0123456789abcdef" not in caplog.text


@pytest.mark.parametrize("size", [5_000, 10_000_000])
async def test_p18_a_token_beyond_all_bounds_is_refused_before_it_is_read(contracts, size):
    async with guarded(contracts, Security(tokens=TOKENS), "tcp://127.0.0.1:0") as (_, bridge):
        async with peer_at(bridge.urls[0], hello=False) as peer:
            peer.send(peer._connection.send(CORE.Hello(protocol=1, client="x", token="x" * size)))
            (told,) = await peer.ending()
    assert told.code == 3
    assert "at most 4090 are taken" in told.message


async def test_a_token_is_changed_without_anybody_having_to_leave(contracts, tmp_path):
    path = write(tmp_path / "tokens", f"ann: {ANN}\n")
    async with guarded(contracts, Security(token_file=path), "tcp://127.0.0.1:0") as (bus, bridge):
        url, events = bridge.urls[0], bus.events()
        old = mycelium.MyceliumClient(contracts, token=ANN, reconnect=False)
        await old.connect(url)
        write(path, f"ann: {ANN}\nann: {BOB}\n")
        assert isinstance(await events.next(timeout=5), SecurityChanged)
        async with mycelium.connect(url, contracts, token=BOB) as new:
            await old.flush()
            write(path, f"ann: {BOB}\n")
            assert "the client's token is not accepted any more" in await old.closed()
            await new.flush()
        await old.close()


async def test_a_token_that_is_given_to_another_principal_ends_what_the_first_one_does_with_it(
    contracts, tmp_path, acl
):
    path = write(tmp_path / "tokens", f"ann: {ANN}\n")
    write(acl, rules(ann="{admin: true}", bob="{subscribe: [Ping]}"))
    async with guarded(contracts, Security(token_file=path, acl_file=acl), "tcp://127.0.0.1:0") as (_, bridge):
        async with peer_at(bridge.urls[0], token=ANN) as peer:
            write(path, f"bob: {ANN}\n")
            assert await bridge.reload_security()
            (told,) = await peer.ending()
            assert (told.code, told.message) == (ErrorCode.AUTH_REFUSED, "the client's token is not accepted any more")
        async with peer_at(bridge.urls[0], token=ANN):
            assert [str(one.identity) for one in bridge.sessions] == ["bob"]


async def test_a_token_file_that_makes_no_sense_any_more_changes_nothing(contracts, tmp_path, caplog):
    path = write(tmp_path / "tokens", f"ann: {ANN}\n")
    async with guarded(contracts, Security(token_file=path), "tcp://127.0.0.1:0") as (bus, bridge):
        events = bus.events()
        async with mycelium.connect(bridge.urls[0], contracts, token=ANN) as client:
            write(path, f"ann {BOB}\n")
            refused = await events.next(timeout=5)
            problem = "this is no line `principal: token`; a principal has letters, digits and _ . @ / -"
            assert refused == SecurityRefused((f"{path}:1: {problem}",))
            path.unlink()
            assert "no such file" in (await events.next(timeout=5)).reasons[0]
            async with mycelium.connect(bridge.urls[0], contracts, token=ANN):
                await client.flush()
        assert bridge.admission.guard.reloads == {"refused": 2}
    assert BOB not in caplog.text
    assert len(lines(caplog, "mycelium.security")) == 2


async def test_p57_a_client_whose_token_is_not_accepted_twice_gives_up(contracts, tmp_path):
    path = write(tmp_path / "tokens", f"ann: {ANN}\n")
    async with guarded(contracts, Security(token_file=path), "tcp://127.0.0.1:0") as (_, bridge):
        client = mycelium.MyceliumClient(contracts, token=ANN)
        await client.connect(bridge.urls[0])
        write(path, f"ann: {BOB}\n")
        assert await bridge.reload_security()
        async with asyncio.timeout(5):
            assert "auth_refused" in await client.closed()
        with pytest.raises(AuthError):
            await client.publish(contracts.Ping(value="x"))
        await client.close()


async def test_a_client_reads_its_token_file_for_each_connection(contracts, tmp_path):
    path, mine = write(tmp_path / "tokens", f"ann: {ANN}\n"), write(tmp_path / "mine", ANN)
    async with guarded(contracts, Security(token_file=path), "tcp://127.0.0.1:0") as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, token=mine) as client:
            events = client.events()
            write(mine, BOB)
            write(path, f"ann: {BOB}\n")
            assert await bridge.reload_security()
            while not isinstance(await events.next(timeout=5), Connected):
                pass
            await client.flush()


async def test_a_flood_of_strangers_writes_few_lines_and_all_are_counted(contracts, caplog):
    async with guarded(contracts, Security(tokens=TOKENS), "tcp://127.0.0.1:0") as (_, bridge):

        async def knock():
            async with peer_at(bridge.urls[0], hello=False) as peer:
                peer.send(peer._connection.send(CORE.Hello(protocol=1, client="x", token="x" * 20)))
                await peer.ending()

        for _ in range(4):
            await asyncio.gather(*(knock() for _ in range(50)))
        assert [one.reason for one in bridge.closed] == ["auth_refused"] * 200
    said = lines(caplog)
    assert sum(1 + getattr(one, "suppressed", 0) for one in caplog.records if one.levelname == "WARNING") == 200
    assert len(said) < 40


# --- crowds from one place ---


@pytest.fixture
def far(monkeypatch):
    """Each address of this machine is a place of its own, as those of other machines are."""
    monkeypatch.setattr("mycelium.bus.security.peer._origin_of", str)


@contextlib.asynccontextmanager
async def knocking(url, number, **fields):
    """Connections that are made all at once, and say Hello if they are to say something in it."""
    async with contextlib.AsyncExitStack() as stack:
        come = [stack.enter_async_context(peer_at(url, hello=False)) for _ in range(number)]
        peers = await asyncio.gather(*come)
        for peer in peers if fields else ():
            peer.send(peer._connection.send(CORE.Hello(protocol=1, client="x", **fields)))
        yield peers


async def test_a_place_that_fails_too_often_is_not_asked_any_more_however_many_it_has_connected_before(contracts, far):
    limits = {"refusals": 5}
    async with guarded(contracts, Security(tokens=TOKENS), "tcp://127.0.0.1:0", **limits) as (_, bridge):
        url = bridge.urls[0]
        async with knocking(url, 40, token="wrong-0123456789") as peers:
            codes = [(await peer.ending())[-1].code for peer in peers]
        assert (codes.count(6), codes.count(3)) == (5, 35)
        async with peer_at(url, hello=False) as peer:
            peer._connection.send(CORE.Hello(protocol=1, client="x"))
            assert "wait 10 s" in (await peer.ending())[-1].message


async def test_who_was_let_in_and_whose_token_is_taken_away_does_not_shut_his_place_out(contracts, far, tmp_path):
    path = write(tmp_path / "tokens", f"ann: {ANN}\nbob: {BOB}\n")
    async with guarded(contracts, Security(token_file=path), "tcp://127.0.0.1:0", refusals=2) as (_, bridge):
        url = bridge.urls[0]
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(peer_at(url, token=ANN)) for _ in range(5)]
            write(path, f"bob: {BOB}\n")
            assert await bridge.reload_security()
            for peer in peers:
                assert (await peer.until("Error")).code == 6
            async with peer_at(url, token=BOB) as other:
                await other.barrier()


async def test_those_who_are_refused_take_nobodys_place_and_few_of_them_linger(contracts, far):
    limits = {"connections": 10, "connections_per_origin": 4}
    async with guarded(contracts, Security(), "tcp://127.0.0.1:0", **limits) as (_, bridge):
        async with knocking(bridge.urls[0], 150) as peers:
            await until(lambda: len(bridge.closed) >= 150 - 4 - 64)
            assert sum(not one.is_over for one in bridge.sessions) == 4
            assert len(bridge.sessions) + len(bridge.closed) == 150
            port = int(bridge.urls[0].rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(CORE.encode(CORE.Hello(protocol=1, client="elsewhere")))
            assert (await reader.readexactly(6))[4:] == b"\x02\x00"
            writer.close()
            told = [await peer.ending() for peer in peers[4:]]
        assert {one.code for events in told for one in events} == {3}


# --- Unix sockets ---


AS_NOBODY = """
import os, socket, sys
os.setgroups([int(each) for each in sys.argv[3:]]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(bytes.fromhex(sys.argv[2]))
    sys.stdout.buffer.write(client.recv(65536))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's process")
@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({}, "PermissionError"),
        ({"socket_mode": 0o660, "gids": [65533]}, "Welcome"),
        ({"socket_mode": 0o660, "gids": [65533], "uids": [0]}, "Welcome"),
        ({"socket_mode": 0o660, "uids": [65534]}, "PermissionError"),
    ],
)
async def test_p25_p26_other_users_come_in_if_the_file_and_the_bridge_let_them(contracts, tmp_path, settings, answer):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    path = tmp_path / "s"
    hello = CORE.encode(CORE.Hello(protocol=1, client="nobody")).hex()
    async with guarded(contracts, Security(**settings), f"unix://{path}"):
        assert path.stat().st_mode & 0o777 == settings.get("socket_mode", 0o600)
        command = [sys.executable, "-c", AS_NOBODY, str(path), hello, "65533"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=False)
    said = "Welcome" if done.stdout[4:6] == b"\x02\x00" else done.stderr.decode().splitlines()[-1]
    assert answer in said


async def test_p25_a_user_who_is_not_on_the_list_is_refused_before_a_byte_is_read(contracts, tmp_path, caplog):
    security = Security(uids=[os.getuid() + 1])
    async with guarded(contracts, security, f"unix://{tmp_path}/s") as (_, bridge):
        async with peer_at(bridge.urls[0], hello=False) as peer:
            peer._connection.send(CORE.Hello(protocol=1, client="x"))
            (told,) = await peer.ending()
    assert (told.code, told.message) == (
        6,
        f"user id {os.getuid()} may not connect to this socket; --allow-uid and --allow-gid say who may",
    )
    assert caplog.records[0].peer == f"uid={os.getuid()},pid={os.getpid()}"


async def test_a_socket_that_is_asked_to_be_open_to_a_group_is_never_open_to_more(contracts, tmp_path):
    before = os.umask(0)
    try:
        async with guarded(contracts, Security(socket_mode=0o660), f"unix://{tmp_path}/s"):
            assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660
    finally:
        os.umask(before)


# --- closed by default ---


@pytest.mark.parametrize(
    ("url", "security", "error", "text"),
    [
        ("tcp://0.0.0.0:0", {}, mycelium.BindError, "nobody is asked who they are"),
        ("tcp://0.0.0.0:0", {"tokens": TOKENS}, mycelium.BindError, "can read tokens and messages"),
        ("tls://127.0.0.1:0", {}, mycelium.BindError, "there is no certificate; give one with --tls-cert"),
        ("tcp://127.0.0.1:0", {"token_file": "/nowhere"}, SecurityError, "/nowhere: no such file or directory"),
        ("tcp://127.0.0.1:0", {"tokens": "nobody"}, SecurityError, "MYCELIUM_TOKENS:1: this is no line"),
        ("tcp://127.0.0.1:0", {"acl_file": "/nowhere"}, SecurityError, "/nowhere: no such file or directory"),
        ("tcp://127.0.0.1:0", {"tokens": ""}, SecurityError, "there is no token"),
    ],
)
async def test_p28_p29_a_bridge_that_could_not_keep_its_word_does_not_start(contracts, url, security, error, text):
    bus = mycelium.MessageBus(contracts)
    bridge = bus.serve(url, security=Security(**security))
    with pytest.raises(error, match=text):
        await bridge.start()
    assert bridge.urls == []
    await bridge.close()
    await bus.close()


async def test_a_bridge_that_is_told_to_be_insecure_is(contracts):
    async with guarded(contracts, Security(insecure=True), "tcp://0.0.0.0:0") as (_, bridge):
        async with mycelium.connect(bridge.urls[0].replace("0.0.0.0", "127.0.0.1"), contracts) as client:
            await client.flush()
