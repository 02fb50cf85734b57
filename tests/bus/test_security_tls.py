"""TLS over real sockets: which certificates are believed, how they change, and who speaks something else."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from certificates import Authority, in_seconds
from guarding import ANN, BOB, TOKENS, guarded, lines, write

import mycelium
from mycelium import Security, TlsError
from mycelium.events import SecurityChanged, SecurityRefused
from peers import CORE, open_socket, peer_at, until


@pytest.fixture
def ours(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secure(ours):
    """Security settings with a certificate of ours, and more."""
    files = ours.issue("127.0.0.1")
    return lambda **more: Security(tls_cert=files.cert, tls_key=files.key, **more)


def read(path):
    return Path(path).read_text()


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
