"""Connections and the operating system: silent networks, resets, killed processes, churn, and who owns a socket."""

import asyncio
import socket
import struct
import sys
import time

import pytest
from faults import Proxy
from invariants import harmless, reasons
from processes import bridge as bridge_process
from processes import run, started, stop

import mycelium
from mycelium import ConnectionLost
from mycelium.bus.heartbeat import DEAD_AFTER, LOOK_SECONDS
from peers import CORE, PING, batch_of, peer_at, serving, until

HEARTBEAT = 1.0
"""Seconds; the least that a bridge agrees to."""
LATEST = DEAD_AFTER * HEARTBEAT * 1.1 + LOOK_SECONDS
"""Seconds after which a dead connection is known to be: with the default interval the look is 3 % of the time."""


async def died(client):
    """Why a client's connection ended, and how long that took."""
    start = time.monotonic()
    return await client.closed(), time.monotonic() - start


async def test_p31_both_sides_know_of_a_silent_network_whichever_direction_is_silent(contracts, caplog):
    async with serving(contracts) as (_, bridge), harmless(contracts, bridge):
        url = bridge.urls[0]
        async with Proxy(url) as up, Proxy(url) as down, Proxy(url) as both:
            proxies = up, down, both
            clients = [mycelium.MyceliumClient(contracts, heartbeat=HEARTBEAT, reconnect=False) for _ in proxies]
            await asyncio.gather(*(one.connect(proxy.url) for one, proxy in zip(clients, proxies, strict=True)))
            sessions = [one for one in bridge.sessions if one.number in {client.session for client in clients}]
            up.up.stop()
            down.down.stop()
            both.half_open()
            start = time.monotonic()
            ends = asyncio.gather(*map(died, clients))
            await until(lambda: all(session.is_over for session in sessions))
            known_to_bridge = time.monotonic() - start
            told, *found = await ends
            for client in clients:
                with pytest.raises(ConnectionLost):
                    await client.publish(contracts.Ping(value="x"))
                await client.close()
    assert told[0] == "the bridge refused (heartbeat): nothing heard for three heartbeats"
    assert [reason for reason, _ in found] == ["nothing heard for three heartbeats"] * 2
    assert max(known_to_bridge, *(seconds for _, seconds in (told, *found))) < LATEST
    assert [session.reason for session in sessions] == ["heartbeat", "eof", "heartbeat"]
    assert reasons(caplog) == ["heartbeat"] * 2


async def test_p31_a_silence_shorter_than_three_heartbeats_loses_nothing(contracts):
    got = []
    async with serving(contracts) as (bus, bridge), Proxy(bridge.urls[0]) as proxy:
        async with mycelium.connect(proxy.url, contracts, heartbeat=HEARTBEAT) as client:
            await client.subscribe(lambda message: got.append(message.counter_id), contracts.CounterUpdate)
            proxy.half_open()
            for number in range(100):
                bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
            await asyncio.sleep(1.5 * HEARTBEAT)
            assert got == []
            proxy.heal()
            await until(lambda: len(got) == 100)
    assert got == list(range(100))


HALF_A_FRAME = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(bytes.fromhex(sys.argv[3]))
connection.recv(1)
connection.sendall(bytes.fromhex(sys.argv[4]))
print("sent", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("half", [1, 5, len(PING) - 1])
async def test_p32_of_a_process_killed_in_the_middle_of_a_frame_nothing_is_delivered_and_its_slot_is_free(
    contracts, half
):
    hello = CORE.encode(CORE.Hello(protocol=1, client="killed"))
    async with serving(contracts) as (bus, bridge), harmless(contracts, bridge):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        host, _, port = bridge.urls[0].removeprefix("tcp://").rpartition(":")
        talk = [hello.hex(), PING[:half].hex()]
        with started(command=[sys.executable, "-c", HALF_A_FRAME, host, port, *talk]) as process:
            assert await asyncio.to_thread(process.stdout.readline) == "sent\n"
            assert any(session.client == "killed" for session in bridge.sessions)
            process.kill()
            start = time.monotonic()
            await until(lambda: not any(session.client == "killed" for session in bridge.sessions))
            assert time.monotonic() - start < 1
        assert got == []


async def test_p33_resets_under_load_are_clean_ends_on_both_sides(contracts, caplog):
    asyncio.get_running_loop().set_debug(False)
    big = contracts.Ping(value="x" * 10_000)
    async with serving(contracts) as (bus, bridge), harmless(contracts, bridge):
        async with Proxy(bridge.urls[0]) as proxy:
            for _ in range(5):
                clients = [mycelium.MyceliumClient(contracts, reconnect=False) for _ in range(4)]
                got = []
                for client in clients:
                    await client.connect(proxy.url)
                    await client.subscribe(got.append, contracts.Ping)
                sessions = [one for one in bridge.sessions if one.number in {client.session for client in clients}]
                proxy.down.rate = 1_000_000
                for _ in range(100):
                    bus.publish_nowait(big)
                    clients[0].publish_nowait(big)
                await until(lambda got=got: got)
                await proxy.cut(reset=True)
                assert {await client.closed() for client in clients} == {"[Errno 104] Connection reset by peer"}
                await until(lambda sessions=sessions: all(session.is_over for session in sessions))
                assert {session.reason for session in sessions} == {"eof"}
                for client in clients:
                    await client.close()
    assert "Traceback" not in caplog.text


async def test_p33_a_peer_that_resets_while_it_is_written_to_is_a_clean_end(contracts, caplog):
    async with serving(contracts) as (bus, bridge), harmless(contracts, bridge):
        for _ in range(5):
            async with peer_at(bridge.urls[0]) as peer:
                await peer.subscribe(1, [1010])
                for _ in range(200):
                    bus.publish_nowait(contracts.Ping(value="x" * 10_000))
                await peer.next()
                made = peer.writer.get_extra_info("socket")
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.writer.transport.abort()
    assert "Traceback" not in caplog.text


async def test_p34_an_idle_connection_lives_on_heartbeats_and_one_that_only_sends_lives_without_pongs(contracts):
    async with serving(contracts) as (bus, bridge):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        async with (
            mycelium.connect(bridge.urls[0], contracts, heartbeat=HEARTBEAT) as idle,
            peer_at(bridge.urls[0], heartbeat_ms=1000) as talker,
        ):
            ends = time.monotonic() + LATEST
            while time.monotonic() < ends:
                talker.send(PING)
                await asyncio.sleep(HEARTBEAT / 4)
            await idle.flush()
            talker.send(PING, CORE.Goodbye(reason="client"))
            heard = {type(event).__name__ for event in await talker.ending()}
            assert heard <= {"Ping", "Goodbye"}
            assert len(got) > DEAD_AFTER * 4


async def churn(contracts, bridge, times, at_once=200):
    """So many clients connect, subscribe and leave, so many of them at a time."""
    left = iter(range(times))

    async def visit():
        for _ in left:
            async with mycelium.connect(bridge.urls[0], contracts) as client:
                await client.subscribe(print, contracts.Ping)

    await asyncio.gather(*(visit() for _ in range(at_once)))


@pytest.mark.parametrize("times", [100, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_p35_clients_that_come_and_go_leave_nothing(contracts, times):
    asyncio.get_running_loop().set_debug(False)
    async with serving(contracts) as (bus, bridge):
        await churn(contracts, bridge, 1000)  # what the interpreter keeps of a crowd it has from then on
        async with harmless(contracts, bridge):
            await churn(contracts, bridge, times)
        assert bus.router.takers(1010) == ()


async def test_p37_the_1025th_subscription_is_an_error_for_that_one_only(contracts):
    async with serving(contracts, types=3000) as (bus, bridge), peer_at(bridge.urls[0]) as peer:
        for number in range(1, 1024):
            peer.send(CORE.Subscribe(request=number, subscription=number, type_ids=[10_000 + number]))
        assert len(await peer.barrier()) == 1023
        await peer.subscribe(1024, [1010])
        peer.send(CORE.Subscribe(request=9, subscription=1025, type_ids=[1011]))
        (error,) = await peer.barrier()
        assert (error.request, error.code, error.fatal) == (9, 3, False)
        bus.publish_nowait(contracts.Ping(value="hi"))
        bus.publish_nowait(contracts.Pong(value="hi"))
        assert (await peer.next()).to_bytes() == PING
        peer.send(CORE.Unsubscribe(request=10, subscription=1))
        assert (await peer.next()).request == 10
        await peer.subscribe(1025, [1011])
        bus.publish_nowait(contracts.Pong(value="hi"))
        assert (await peer.next()).to_bytes() == batch_of((1011, PING[6:])).to_bytes()


# --- whose socket it is ---


def test_p39_a_bridge_takes_the_place_of_one_that_was_killed(tmp_path):
    url = f"unix://{tmp_path}/bus.sock"
    with bridge_process(listen=url) as (first, _):
        first.kill()
        first.wait()
    assert (tmp_path / "bus.sock").is_socket()
    with bridge_process(listen=url) as (second, _):
        assert run("ping", "--count", "1", "--url", url).returncode == 0
        assert stop(second) == 0
    assert not (tmp_path / "bus.sock").exists()


def test_p40_a_second_process_on_the_same_path_refuses_and_the_first_is_untouched(tmp_path):
    url = f"unix://{tmp_path}/bus.sock"
    with bridge_process(listen=url) as (first, _):
        before = (tmp_path / "bus.sock").lstat()
        second = run("serve", "--listen", url)
        assert (second.returncode != 0, "Traceback" in second.stderr) == (True, False)
        assert "why: another bridge serves there\n  try: stop it, or choose another path\n" in second.stderr
        assert (tmp_path / "bus.sock").lstat() == before
        assert run("ping", "--count", "1", "--url", url).returncode == 0
        assert stop(first) == 0
