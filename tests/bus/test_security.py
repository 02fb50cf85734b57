"""Who gets into a bridge over real sockets, what for, and what each side is told: reliability, groups B and J."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rustbus
from certificates import Authority, in_seconds

import mycelium
from mycelium import AuthError, Limits, Security, SecurityError, TlsError
from mycelium.bus.reload import Change, Reloader
from mycelium.events import AccessRevoked, Connected, SecurityChanged, SecurityRefused, SubscriptionRefused
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, PING, open_socket, peer_at, until

TLS = "tls://127.0.0.1:0"
ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
TOKENS = f"ann: {ANN},bob: {BOB}"


@pytest.fixture
def ours(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secure(ours):
    """Security settings with a certificate of ours, and more."""
    files = ours.issue("127.0.0.1")
    return lambda **more: Security(tls_cert=files.cert, tls_key=files.key, **more)


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


def read(path):
    return Path(path).read_text()


# --- TLS ---


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_messages_go_through_tls_both_ways_and_in_bulk(contracts, secure, ours, loop):
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    big = contracts.Ping(value="x" * 100_000)

    async def story():
        got = []
        async with guarded(contracts, secure(tokens=TOKENS)) as (bus, bridge):
            url = bridge.urls[0]
            assert url.startswith("tls://127.0.0.1:")
            async with mycelium.connect(url, contracts, token=ANN, tls_ca=ours.ca) as client:
                await client.subscribe(got.append, contracts.Ping, on_lag="block")
                for _ in range(50):
                    await client.publish(big)
                await until(lambda: len(got) == 50)
                bus.publish_nowait(contracts.Ping(value="last"))
                await until(lambda: len(got) == 51)
        return got

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(story()) == [big] * 50 + [contracts.Ping(value="last")]


async def test_p22_each_certificate_that_is_not_believed_is_refused_with_its_reason_on_both_sides(
    contracts, secure, ours, tmp_path, caplog
):
    theirs = Authority(tmp_path, "theirs")
    good = ours.issue("ann.example", file="ann")
    cases = {
        "none": ({}, "asks for a certificate of this client", "auth_required: the client has no certificate"),
        "stranger": (theirs.issue("ann.example", file="stranger"), "it does not know the authority", "auth_refused"),
        "expired": (
            ours.issue("ann.example", file="expired", not_after=in_seconds(-60), not_before=in_seconds(-120)),
            "it has expired",
            "auth_refused: the client's certificate is not accepted: certificate has expired",
        ),
        "early": (
            ours.issue("ann.example", file="early", not_before=in_seconds(600)),
            "it calls it bad",
            "auth_refused: the client's certificate is not accepted: certificate is not yet valid",
        ),
    }
    async with guarded(contracts, secure(tls_ca=ours.ca)) as (_, bridge):
        url = bridge.urls[0]
        for card, client_line, bridge_line in cases.values():
            files = {"tls_cert": card.cert, "tls_key": card.key} if card else {}
            bridge.admission.strangers._limit._next.clear()  # each line, not one a second
            with pytest.raises(TlsError, match=client_line):
                async with mycelium.connect(url, contracts, tls_ca=ours.ca, **files):
                    pass
            assert bridge_line in lines(caplog)[-1]
        with pytest.raises(TlsError, match="the bridge's certificate is not accepted: (unable|self-signed)"):
            async with mycelium.connect(url, contracts, tls_ca=theirs.ca, tls_cert=good.cert, tls_key=good.key):
                pass
        address = url.replace("127.0.0.1", "localhost")
        with pytest.raises(TlsError, match="certificate is not valid for 'localhost'"):
            async with mycelium.connect(address, contracts, tls_ca=ours.ca, tls_cert=good.cert, tls_key=good.key):
                pass
        async with mycelium.connect(url, contracts, tls_ca=ours.ca, tls_cert=good.cert, tls_key=good.key) as client:
            await client.flush()
            assert [one.identity.principal for one in bridge.sessions] == ["ann.example"]
        await until(lambda: not bridge.sessions)


async def test_p23_whoever_speaks_something_else_is_told_so_at_once(contracts, secure, ours, caplog):
    async with guarded(contracts, secure(tokens=TOKENS)) as (bus, bridge), bus.serve("tcp://127.0.0.1:0") as plain:
        tls, tcp = bridge.urls[0], plain.urls[0]
        with pytest.raises(mycelium.Refused, match="this port speaks TLS, and what came is plain; connect by tls://"):
            async with mycelium.connect(tls.replace("tls", "tcp"), contracts):
                pass
        with pytest.raises(TlsError, match="it speaks no TLS; connect by tcp://"):
            async with mycelium.connect(tcp.replace("tcp", "tls"), contracts, tls_ca=ours.ca):
                pass
        for url in (tls, tcp):
            async with peer_at(url, hello=False) as peer:
                peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                peer._connection.send(CORE.Hello(protocol=1, client="http"))
                (told,) = await peer.ending()
                assert "what came is HTTP" in told.message
    said = lines(caplog)
    assert len(said) == 4
    assert all("protocol: this port speaks" in line for line in said)


async def test_p24_who_stops_in_the_middle_of_the_tls_handshake_is_closed_in_time(contracts, secure, caplog):
    async with guarded(contracts, secure(tokens=TOKENS), handshake_seconds=0.3) as (_, bridge):
        reader, writer = await open_socket(bridge.urls[0])
        writer.write(bytes.fromhex("1603010200 010001fc0303"))
        async with asyncio.timeout(5):
            assert await reader.read() == b"", "there is nobody yet to whom an Error could be said"
        writer.close()
    assert [line.partition("session ")[2] for line in lines(caplog)] == [
        "1: handshake_timeout: no complete handshake within 0.3 s"
    ]


async def test_a_client_that_is_not_even_shaken_hands_with_is_told_where_to_look(contracts, secure, ours):
    async with guarded(contracts, secure(tokens=TOKENS), connections=1) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, token=ANN, tls_ca=ours.ca):
            with pytest.raises(TlsError, match="the bridge ended it in the TLS handshake; its log says why"):
                async with mycelium.connect(bridge.urls[0], contracts, token=BOB, tls_ca=ours.ca):
                    pass


async def test_garbage_inside_tls_ends_that_connection_alone(contracts, secure, ours):
    async with guarded(contracts, secure(tokens=TOKENS)) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, token=ANN, tls_ca=ours.ca) as client:
            client._life.conversation._link._transport.write(os.urandom(5000))
            with pytest.raises(mycelium.ConnectionLost):
                await client.flush()
            await client._life.joined()
            await client.flush()


async def test_a_certificate_that_expires_while_its_client_is_connected_ends_the_connection(
    contracts, secure, ours, caplog
):
    card = ours.issue("ann.example", file="ann", not_after=in_seconds(3600))
    files = {"tls_ca": ours.ca, "tls_cert": card.cert, "tls_key": card.key}
    async with guarded(contracts, secure(tls_ca=ours.ca)) as (_, bridge):
        client = mycelium.MyceliumClient(contracts, reconnect=False, **files)
        await client.connect(bridge.urls[0])
        now = bridge.admission.clock
        bridge.admission.clock = lambda: now() + 3601
        assert "auth_refused): the client's certificate has expired" in await client.closed()
        await client.close()
    assert [line.partition(": ")[2] for line in lines(caplog)] == ["auth_refused: the client's certificate has expired"]


async def test_a_client_whose_certificate_is_not_accepted_twice_gives_up(contracts, secure, ours, tmp_path):
    theirs, ca = Authority(tmp_path, "theirs"), tmp_path / "clients.ca"
    shutil.copyfile(ours.ca, ca)
    card = ours.issue("ann.example", file="ann", not_after=in_seconds(3600))
    async with guarded(contracts, secure(tls_ca=str(ca))) as (_, bridge):
        client = mycelium.MyceliumClient(contracts, tls_ca=ours.ca, tls_cert=card.cert, tls_key=card.key)
        await client.connect(bridge.urls[0])
        shutil.copyfile(theirs.ca, ca)
        assert await bridge.reload_security()
        now = bridge.admission.clock
        bridge.admission.clock = lambda: now() + 3601
        async with asyncio.timeout(5):
            assert "does not accept this client's certificate" in await client.closed()
        with pytest.raises(TlsError, match="it does not know the authority") as caught:
            await client.publish(contracts.Ping(value="x"))
        assert caught.value.is_refusal
        await client.close()


async def test_new_connections_get_a_new_certificate_and_the_others_stay(contracts, secure, ours, tmp_path):
    theirs = Authority(tmp_path, "theirs")
    async with guarded(contracts, secure(tokens=TOKENS)) as (bus, bridge):
        url = bridge.urls[0]
        async with mycelium.connect(url, contracts, token=ANN, tls_ca=ours.ca) as client:
            other = theirs.issue("127.0.0.1", file="other")
            events = bus.events()
            settings = bridge.admission.guard.security
            write(settings.tls_key, read(other.key))  # until its certificate comes they are no pair
            assert not await bridge.reload_security()
            write(settings.tls_cert, read(other.cert))
            assert await bridge.reload_security()
            assert isinstance(await events.next(timeout=5), SecurityRefused)
            assert isinstance(await events.next(timeout=5), SecurityChanged)
            with pytest.raises(TlsError):
                async with mycelium.connect(url, contracts, token=ANN, tls_ca=ours.ca):
                    pass
            async with mycelium.connect(url, contracts, token=ANN, tls_ca=theirs.ca) as newer:
                await newer.flush()
            await client.flush()
            assert client.stats().reconnects == 0


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


# --- access rules ---


def rules(**principals):
    """The text of an ACL file."""
    return "principals:\n" + "".join(f"  {name}: {text}\n" for name, text in principals.items())


@pytest.fixture
def acl(tmp_path):
    return write(
        tmp_path / "acl.yaml", rules(ann="{publish: [Ping, Pong], subscribe: [Pong]}", bob="{subscribe: ['*']}")
    )


@contextlib.asynccontextmanager
async def ruled(contracts, acl):
    """A bridge with rules; gives it, and a function that makes connected clients."""
    security = Security(tokens=TOKENS, acl_file=acl)
    async with guarded(contracts, security, "tcp://127.0.0.1:0") as (bus, bridge), contextlib.AsyncExitStack() as stack:

        async def new(token, **options):
            client = mycelium.MyceliumClient(contracts, token=token, **options)
            await client.connect(bridge.urls[0])
            stack.push_async_callback(client.close)
            return client

        yield bus, bridge, new


async def test_p27_what_is_not_allowed_is_refused_at_publish_and_at_subscribe(contracts, acl, caplog):
    refused, got = [], []
    async with ruled(contracts, acl) as (bus, _, new):
        ann, bob = await new(ANN, on_error=refused.append), await new(BOB)
        await bob.subscribe(got.append, contracts.Ping, contracts.Pong)
        with pytest.raises(AuthError, match="denied.*ann may not receive Ping"):
            await ann.subscribe(got.append, contracts.Ping)
        with pytest.raises(AuthError, match="denied.*bob may not publish Ping"):
            await bob.publish(contracts.Ping(value="no"), confirm=True)
        bob.publish_nowait(contracts.Ping(value="neither"))
        receipt = await ann.publish(contracts.Ping(value="yes"), confirm=True)
        assert (receipt.matched, receipt.enqueued) == (1, 1)
        await bob.flush()
        await until(lambda: got == [contracts.Ping(value="yes")])
        assert bob.stats().refused == 1
        assert bus.stats().balanced
    said = {line.partition("session ")[2][3:] for line in lines(caplog)}
    assert said >= {"denied: ann may not receive Ping", "denied: bob may not publish Ping"}


async def test_p27_a_subscription_to_all_gets_what_may_be_received_and_learns_of_nothing_else(contracts, acl):
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=ANN) as peer:
        await peer.subscribe(1, [])
        bus.publish_nowait(contracts.Ping(value="hidden"))
        bus.publish_nowait(contracts.Pong(value="shown"))
        events = await peer.barrier()
        assert [event.type_ids for event in events] == [[1011]]
        assert bus.stats().matched == 1


async def test_a_rule_that_changes_while_messages_flow_holds_for_the_next_one(contracts, acl, caplog):
    async with ruled(contracts, acl) as (bus, bridge, new):
        held, got = asyncio.Event(), []

        async def take(message):
            got.append(message)
            await held.wait()

        bob = await new(BOB)
        events = bob.events()
        subscription = await bob.subscribe(take, contracts.Ping, window=1)
        for number in range(10):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: got)
        write(acl, rules(ann="{publish: ['*']}", bob="{subscribe: [Pong]}"))
        assert await bridge.reload_security()
        bus.publish_nowait(contracts.Ping(value="after"))
        revoked = await events.next(timeout=5)
        while not isinstance(revoked, AccessRevoked):
            revoked = await events.next(timeout=5)
        assert revoked.reason == "bob may not receive Ping: the access rules say so"
        held.set()
        await bob.flush()
        assert got == [contracts.Ping(value="0")]
        await until(lambda: subscription.stats().dropped == {"denied": 9})
        stats = bus.stats()
        assert (stats.matched, stats.dropped, stats.balanced) == (10, {"denied": 9}, True)

        write(acl, rules(bob="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        bus.publish_nowait(contracts.Ping(value="again"))
        await until(lambda: got[1:] == [contracts.Ping(value="again")])
        assert bob.stats().reconnects == 0
    assert [line.partition(": ")[2] for line in lines(caplog)] == [
        "denied: bob may not receive Ping: the access rules say so"
    ]


async def test_who_publishes_what_it_might_before_is_told_and_not_sent_away(contracts, acl):
    refused = []
    async with ruled(contracts, acl) as (_, bridge, new):
        ann = await new(ANN, on_error=refused.append, reconnect=False)
        await ann.publish(contracts.Ping(value="x"), confirm=True)
        write(acl, rules(ann="{publish: [Pong]}"))
        assert await bridge.reload_security()
        for _ in range(300):
            ann.publish_nowait(contracts.Ping(value="x"))
        await ann.flush()
        assert (await ann.publish(contracts.Pong(value="x"), confirm=True)).matched == 0
        assert bridge.sessions[0].intake.refused == 300
    assert {str(each) for each in refused} == {"the bridge refused (denied): ann may not publish Ping"}
    assert len(refused) < 10


async def test_who_never_might_is_sent_away_for_trying_on_and_on(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:
        peer.send(PING * 101)
        *told, last = await peer.ending()
        assert [each.code for each in told] == [10] * 100
        assert (last.code, last.message) == (3, "over 100 errors in 10 s")


async def test_a_request_that_is_not_allowed_fails_at_once_and_so_does_one_whose_reply_is_not(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, new):
        ann, bob = await new(ANN), await new(BOB)
        with pytest.raises(AuthError, match="bob may not publish Ping"):
            await bob.request(contracts.Ping(value="?"), contracts.Pong, timeout=20)
        write(acl, rules(ann="{publish: [Pong], subscribe: [Ping]}", bob="{publish: [Ping], subscribe: [Ping]}"))
        assert await bridge.reload_security()

        async def answer(message, delivery):
            await delivery.reply(contracts.Pong(value=message.value))

        await ann.subscribe(answer, contracts.Ping)
        with pytest.raises(AuthError, match="the reply is a Pong, which this client may not receive"):
            await bob.request(contracts.Ping(value="?"), contracts.Pong, timeout=20)


async def test_last_values_of_what_may_not_be_received_stay_where_they_are(tmp_path):
    kept = "{{tlv_type: {}, retain: last, fields: {{}}}}".format
    contracts = mycelium.load(f"messages:\n  Price: {kept(1001)}\n  Open: {kept(1002)}\n")
    acl = write(tmp_path / "acl.yaml", rules(ann="{subscribe: [Open]}"))
    async with ruled(contracts, acl) as (bus, bridge, _):
        bus.publish_nowait(contracts.Price())
        bus.publish_nowait(contracts.Open())
        async with peer_at(bridge.urls[0], token=ANN) as peer:
            await peer.subscribe(1, [])
            retained, batch = await peer.next(), await peer.next()
            assert (retained.messages, batch.type_ids) == (1, [1002])
            assert await peer.barrier() == []


async def test_after_a_reconnect_a_subscription_that_is_not_allowed_any_more_ends(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, new):
        bob = await new(BOB)
        events = bob.events()
        await bob.subscribe(print, contracts.Ping)
        write(acl, rules(bob="{subscribe: [Pong]}"))
        assert await bridge.reload_security()
        bridge.abort()
        while not isinstance(event := await events.next(timeout=5), SubscriptionRefused):
            pass
        assert (event.types, event.code) == (("Ping",), 10)


async def test_rules_follow_contracts_that_change(tmp_path, acl):
    text = "messages:\n  Ping: {tlv_type: 1010, domain: One, fields: {}}\n"
    path = tmp_path / "contracts.yaml"
    path.write_text(text)
    write(acl, rules(bob="{subscribe: {allow: ['*'], deny: ['topic:two']}}"))
    contracts = mycelium.load(path)
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:
        await peer.subscribe(1, [])
        path.write_text(text + "  Secret: {tlv_type: 1011, domain: Two, fields: {}}\n")
        await Reloader(contracts).reload()
        bus.publish_nowait(contracts["Secret"]())
        bus.publish_nowait(contracts.Ping())
        batches = [event for event in await peer.barrier() if hasattr(event, "type_ids")]
        assert [each.type_ids for each in batches] == [[1010]]


SECRET = "  Secret: {tlv_type: 1011, fields: {number: {type: u8}}}\n"


@pytest.mark.parametrize("is_told", [True, False], ids=["all that a reload does", "nobody is told yet"])
async def test_frames_that_wait_while_contracts_change_are_judged_by_the_rules_for_the_new_ones(tmp_path, acl, is_told):
    text = "messages:\n  Open: {tlv_type: 1010, fields: {number: {type: u8}}}\n"
    contracts, wider = mycelium.load(text), mycelium.load(text + SECRET)
    change = Change("applied", "a test", contracts.schema, wider.schema)
    most = "{allow: ['*'], deny: [Secret]}"
    few = f"{{publish: {most}, subscribe: {most}}}"
    write(acl, rules(ann="{publish: ['*'], subscribe: ['*']}", bob=few, **{"'rust:peer'": few}))

    def reload():
        contracts.apply(change.current)
        if is_told:
            contracts.tell(change)

    bus = mycelium.MessageBus(contracts)
    async with (
        bus.serve(
            "tcp://127.0.0.1:0", "rust+tcp://127.0.0.1:0", security=Security(tokens=TOKENS, acl_file=acl)
        ) as bridge,
        peer_at(bridge.urls[0], token=ANN) as ann,
        peer_at(bridge.urls[0], token=BOB) as bob,
    ):
        for peer in (ann, bob):
            await peer.subscribe(1, [], no_echo=True)
        old = await rustbus.Peer.connect(bridge.urls[1])
        await until(lambda: bus.stats().subscriptions == 3)
        asyncio.get_running_loop().call_soon(reload)  # it runs first, and in that same turn the sockets are read
        for number, peer in enumerate((ann, bob)):
            peer.send(
                *[encode_frame(kind.TYPE_ID, kind(number=number).to_bytes()) for kind in (wider.Secret, wider.Open)]
            )
        old.send(1011, b"\2")
        old.send(1010, b"\2")
        assert [await old.receive() for _ in range(3)] == [(1010, bytes([number])) for number in range(3)]
        events = await bob.barrier()
        assert {1010} == {one for event in events if isinstance(event, Batch) for one in event.type_ids}
        assert "bob may not publish Secret" in {getattr(event, "message", "") for event in events}
        events = await ann.barrier()
        assert [one for event in events if isinstance(event, Batch) for one in event.type_ids] == [1010] * 2
        await old.close()
    assert bus.stats().balanced
    await bus.close()


async def test_a_reply_of_a_type_that_is_new_goes_to_nobody_who_may_not_have_it(tmp_path, acl):
    text = "messages:\n  Open: {tlv_type: 1010, fields: {number: {type: u8}}}\n"
    contracts, wider = mycelium.load(text), mycelium.load(text + SECRET).schema
    write(acl, rules(bob="{publish: [Open], subscribe: {allow: ['*'], deny: [Secret]}}"))
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:

        async def answer(message, delivery: mycelium.Delivery):
            contracts.apply(wider)
            await delivery.reply(contracts["Secret"](number=1))

        await bus.subscribe(answer, contracts.Open)
        asked = contracts.Open(number=1).to_bytes() + Metadata(correlation=bytes(16), reply_to=peer.session).encode()
        peer.send(encode_frame(1010, asked))
        error = await peer.until("Error")
        assert error.message == "the reply is a Secret, which this client may not receive"
        assert bus.stats().replies_dropped == {"denied": 1}


async def test_of_a_group_only_those_get_messages_who_may_have_them(contracts, acl):
    ours, theirs = [], []
    async with ruled(contracts, acl) as (bus, bridge, new):
        write(acl, rules(ann="{subscribe: [Ping]}", bob="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        ann, bob = await new(ANN), await new(BOB)
        await ann.subscribe(ours.append, contracts.Ping, group="g")
        await bob.subscribe(theirs.append, contracts.Ping, group="g")
        for _ in range(4):
            bus.publish_nowait(contracts.Ping(value="both"))
        await until(lambda: len(ours) == len(theirs) == 2)
        write(acl, rules(ann="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        for _ in range(4):
            bus.publish_nowait(contracts.Ping(value="one"))
        await until(lambda: len(ours) == 6)
        await bob.flush()
        assert len(theirs) == 2
        assert bus.stats().balanced


async def test_counters_of_subscriptions_are_shown_to_an_admin_and_to_nobody_else(contracts, acl):
    write(acl, rules(ann="{admin: true, subscribe: ['*']}", bob="{subscribe: ['*']}"))
    async with ruled(contracts, acl) as (_, _, new):
        ann, bob = await new(ANN, name="a"), await new(BOB, name="b")
        await ann.subscribe(print, contracts.Ping)
        await bob.subscribe(print, contracts.Ping)
        seen = {}
        for client in (ann, bob):
            _, *chunks = await client.query("stats")
            seen[client.name] = {row["client"] for chunk in chunks for row in chunk["subscriptions"]}
        assert seen == {"a": {"a", "b"}, "b": set()}


async def test_what_goes_on_with_types_is_shown_to_an_admin_and_to_those_who_take_part_in_it(contracts, acl):
    write(acl, rules(ann="{admin: true}", bob="{publish: [Ping], subscribe: [Pong]}"))
    async with ruled(contracts, acl) as (_, _, new):
        seen = {}
        for token in (ANN, BOB):
            client = await new(token)
            for limit in (1000, 2):
                _, rows, *_ = await client.query("stats", messages=limit)
                seen[token, limit] = [row["name"] for row in rows["messages"]]
        everything = list(contracts.schema.messages)
        assert seen == {
            (ANN, 1000): everything,
            (ANN, 2): everything[:2],
            (BOB, 1000): ["Ping", "Pong"],
            (BOB, 2): ["Ping", "Pong"],
        }


async def test_an_admin_sees_who_is_there_and_nobody_else_does(contracts, acl):
    write(acl, rules(ann="{admin: true}"))
    async with ruled(contracts, acl) as (_, _, new):
        ann, bob = await new(ANN, name="a"), await new(BOB, name="b")
        first, *_ = await ann.query("sessions")
        assert {(row["name"], row["principal"], row["transport"]) for row in first["sessions"]} == {
            ("a", "ann", "tcp"),
            ("b", "bob", "tcp"),
        }
        with pytest.raises(AuthError):
            await bob.query("sessions")
        with pytest.raises(AuthError):
            await bob.query("reload")


async def test_a_slip_in_a_pattern_is_told(contracts, acl, caplog):
    write(acl, rules(ann="{publish: [Pingg]}"))
    async with ruled(contracts, acl):
        pass
    assert lines(caplog, "mycelium.security") == [f"{acl}: ann: publish: no message fits 'Pingg'; did you mean Ping?"]


async def test_rules_that_make_no_sense_any_more_change_nothing(contracts, acl):
    async with ruled(contracts, acl) as (bus, bridge, new):
        events = bus.events()
        bob = await new(BOB)
        write(acl, "principals: {bob: {subscribe: nothing}}")
        assert not await bridge.reload_security()
        assert "must be a mapping" in (await events.next(timeout=5)).reasons[0]
        await bob.subscribe(print, contracts.Ping)
