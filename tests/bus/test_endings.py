"""How it ends: in every state, twice, at once, from inside handlers, without a close at all; and nothing is left."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from processes import ROOT, bridge, environment, started, stop

import mycelium
from mycelium import ClosedError, ConnectError, ConnectionLost, MyceliumClient
from mycelium.wire.frames import encode_frame
from peers import CORE, SECONDS, BareBridge, peer_at, serving, until

PING = encode_frame(1010, bytes.fromhex("0100 02000000 6869"))


def sockets():
    """The sockets that this process has open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("socket:")}


# --- a client's close ---


async def test_close_sends_what_was_published_and_says_goodbye(contracts):
    async with serving(contracts) as (bus, bridge):
        got = []
        await bus.subscribe(got.append, contracts.Ping)
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        for number in range(1000):
            client.publish_nowait(contracts.Ping(value=str(number)))
        (session,) = bridge.sessions
        await client.close()
        assert [message.value for message in got] == [str(number) for number in range(1000)]
        assert session.reason == "client"
        assert " closed, <Inbox of 0 subscriptions>" in repr(client)


async def test_close_in_every_state_returns_and_leaves_nothing(contracts):
    before = sockets()
    await MyceliumClient(contracts, reconnect=False).close()  # never connected
    failed = MyceliumClient(contracts, reconnect=False)
    with pytest.raises(ConnectError):
        await failed.connect("unix:///nowhere/bus.sock")
    await failed.close()
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        await client.close()  # connected
        await client.close()  # closed
        for call in (
            client.connect(),
            client.publish(contracts.Ping(value="x")),
            client.subscribe(print, contracts.Ping),
        ):
            with pytest.raises(ClosedError, match="the client is closed; make a new one"):
                await call
        lost = MyceliumClient(contracts, reconnect=False)
        await lost.connect(bridge.urls[0])
        bridge.abort()
        await lost.closed()
        with pytest.raises(ConnectionLost):
            await lost.publish(contracts.Ping(value="x"))
        await lost.close()  # lost
    assert sockets() == before


@pytest.mark.parametrize("phase", ["nothing", "link", "hello"])
async def test_close_while_connecting_ends_that_at_once(contracts, phase):
    async def silent(session):
        await session.reader.read()

    with socket.socket() as full:  # a listener that accepts nobody
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = []
        for _ in range(3):
            one = socket.socket()
            one.settimeout(0)
            one.connect_ex(full.getsockname())
            held.append(one)
        async with BareBridge(silent) as bare:
            url = bare.url if phase == "hello" else f"tcp://127.0.0.1:{full.getsockname()[1]}"
            client = MyceliumClient(contracts)
            connecting = asyncio.ensure_future(client.connect(url))
            await asyncio.sleep(0 if phase == "nothing" else 0.05)
            async with asyncio.timeout(1):
                await client.close()
                with pytest.raises(ClosedError):
                    await connecting
        for one in held:
            one.close()


async def test_concurrent_closes_share_one_end(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        await asyncio.gather(*(client.close() for _ in range(5)))
        assert bridge.sessions == [] or all(session.is_over for session in bridge.sessions)


async def test_p80_close_unsubscribe_and_subscribe_inside_handlers_return(contracts):
    done = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])

        async def handler(_):
            await client.subscribe(done.append, contracts.Pong)
            await subscription.unsubscribe()
            done.append("unsubscribed")
            await client.publish(contracts.Pong(value="from a handler"))
            await client.close()
            done.append("closed")

        async def other(_):
            await client.close()
            done.append("other")

        subscription = await client.subscribe(handler, contracts.Ping)
        await client.subscribe(other, contracts.CounterUpdate)
        bus.publish_nowait(contracts.Ping(value="x"))
        await until(lambda: "unsubscribed" in done)
        bus.publish_nowait(contracts.CounterUpdate(1, 2, 3))
        async with asyncio.timeout(2):
            await until(lambda: "closed" in done)
        await client.close()
    assert set(done) >= {"unsubscribed", "closed"}


async def test_close_lets_handlers_finish_and_publish_meanwhile(contracts):
    replies = []
    async with serving(contracts) as (bus, bridge):
        await bus.subscribe(lambda message: replies.append(message.value), contracts.Pong)
        client = MyceliumClient(contracts)
        await client.connect(bridge.urls[0])
        gate = asyncio.Event()

        async def reply(message):
            await gate.wait()
            await client.publish(contracts.Pong(value=message.value))

        subscription = await client.subscribe(reply, contracts.Ping)
        for number in range(100):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.stats().matched == 100)
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await client.publish(contracts.Ping(value="late"))
        gate.set()
        await closing
    assert replies == [str(number) for number in range(100)]


async def test_close_lets_handlers_finish_what_they_have_when_the_connection_is_gone(contracts):
    got = []
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        gate = asyncio.Event()

        async def handler(message):
            await gate.wait()
            got.append(message.value)

        subscription = await client.subscribe(handler, contracts.Ping)
        for number in range(5):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: subscription.stats().matched == 5)
        bridge.abort()
        await client.closed()
        closing = asyncio.ensure_future(client.close())
        gate.set()
        await closing
    assert got == ["0", "1", "2", "3", "4"]


async def test_close_has_a_bound_even_if_a_handler_is_stuck_and_the_bridge_dead(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("mycelium.bus.ending._CLOSE_SECONDS", 0.3)

    async def dead(session):
        await session.welcome(contracts.schema)
        subscribe = await session.next()
        session.send(CORE.Ack(request=subscribe.request), PING)
        await asyncio.Event().wait()

    cancelled = []

    async def stuck(_):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async with BareBridge(dead) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        subscription = await client.subscribe(stuck, contracts.Ping)
        await until(lambda: subscription.stats().in_flight)
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 1
    assert cancelled == [True]


async def test_close_of_a_client_whose_bridge_reads_nothing_more_has_a_bound(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.ending._SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("mycelium.bus.ending._CLOSE_SECONDS", 0.3)

    async def stop_reading(session):
        await session.welcome(contracts.schema)
        session.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with BareBridge(stop_reading) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        for _ in range(30):
            client.publish_nowait(contracts.Ping(value="x" * 100_000))
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 1


# --- a connection that ends ---


async def test_iterators_give_out_what_they_have_and_then_say_that_the_connection_is_gone(contracts, caplog):
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        async with client.messages(contracts.Ping) as stream, client.messages(contracts.Pong) as waiting:
            taking = asyncio.ensure_future(waiting.next())
            for number in range(3):
                bus.publish_nowait(contracts.Ping(value=str(number)))
            await until(lambda: stream.stats().queued == 3)
            bridge.abort()
            got = []

            async def take():
                async for message in stream:
                    got.append(message.value)  # noqa: PERF401  what came before the error counts

            with pytest.raises(ConnectionLost, match="the connection to the bridge ended"):
                await take()
            assert got == ["0", "1", "2"]
            with pytest.raises(ConnectionLost):
                await taking
        assert "the connection of" in caplog.text
        await client.close()


async def test_calls_under_way_learn_that_the_connection_is_gone(contracts):
    async def hang_up(session):
        await session.welcome(contracts.schema)
        await session.next()

    async with BareBridge(hang_up) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        calls = [client.flush(), client.subscribe(print, contracts.Ping), client.closed()]
        lost, refused, reason = await asyncio.gather(*calls, return_exceptions=True)
        assert (type(lost), type(refused), reason) == (ConnectionLost, ConnectionLost, "the bridge closed it")
        assert not client._inbox.dispatcher.subscriptions
        await client.close()


async def test_a_bridge_that_breaks_the_protocol_is_left_with_a_reason(contracts, caplog):
    heard = []

    async def break_it(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.send(encode_frame(0, b""))
        heard.append(await session.next())

    async with BareBridge(break_it) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        await client.publish(contracts.Ping(value="x"))
        reason = await client.closed()
        assert reason == "it does not speak Mycelium's protocol (protocol: a frame of type id 0)"
        await until(lambda: heard)
        assert (heard[0].code, heard[0].fatal) == (1, True)
        await client.close()


async def test_a_fatal_error_of_the_bridge_is_told_and_ends_the_connection(contracts):
    refused = []

    async def throw_out(session):
        await session.welcome(contracts.schema)
        await session.next()
        session.send(CORE.Error(code=14, message="too slow", fatal=True))
        await session.reader.read()

    async with BareBridge(throw_out) as bare:
        client = MyceliumClient(contracts, reconnect=False, on_error=refused.append)
        await client.connect(bare.url)
        await client.publish(contracts.Ping(value="x"))
        assert await client.closed() == "the bridge refused (slow_consumer): too slow"
        assert [error.code for error in refused] == [14]
        await client.close()


async def test_p31_a_bridge_that_falls_silent_is_given_up_after_three_heartbeats(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)

    async def fall_silent(session):
        await session.welcome(contracts.schema, heartbeat_ms=50)
        await asyncio.Event().wait()

    async with BareBridge(fall_silent) as bare:
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bare.url)
        assert await client.closed() == "nothing heard for three heartbeats"
        await client.close()


async def test_p34_heartbeats_keep_an_idle_connection(contracts, monkeypatch):
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)
    pings = 0

    async def answer(session):
        nonlocal pings
        await session.welcome(contracts.schema, heartbeat_ms=50)
        while (event := await session.next()) is not None:
            if type(event).__name__ == "Ping":
                pings += 1
                session.send(CORE.Pong(nonce=event.nonce))
            else:
                return

    async with BareBridge(answer) as bare:
        client = MyceliumClient(contracts)
        await client.connect(bare.url)
        await until(lambda: pings >= 8)
        assert not client._life.conversation.lost.done()
        await client.close()


@pytest.mark.parametrize("fault", ["receive", "settle"])
async def test_p58_a_fault_of_the_client_ends_the_connection_and_leaves_no_zombie(
    contracts, caplog, monkeypatch, fault
):
    def broken(*_):
        raise TypeError("injected")

    monkeypatch.setattr(f"mycelium.bus.inbox.Inbox.{fault}", broken)
    monkeypatch.setattr("mycelium.bus.conversation._TICK_SECONDS", 0.02)
    async with serving(contracts) as (bus, bridge):
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])
        if fault == "receive":
            await client.subscribe(print, contracts.Ping)
            bus.publish_nowait(contracts.Ping(value="x"))
        assert await client.closed() == "a fault of this client; its log has more"
        assert "TypeError: injected" in caplog.text
        with pytest.raises(ConnectionLost):
            await client.publish(contracts.Ping(value="x"))
        await client.close()


@pytest.mark.parametrize("fault", ["take_output", "tick"])
async def test_a_fault_of_the_bridge_ends_that_session_alone(contracts, caplog, monkeypatch, fault):
    monkeypatch.setattr("mycelium.bus.bridge._SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.bridge._TICK_SECONDS", 0.05)
    monkeypatch.setattr("mycelium.bus.heartbeat._LEAST_MS", 50)
    real = getattr(mycelium.bus.session.Session, fault)

    def broken(session, now):
        if session.client == "victim" and session.intake.received:
            raise TypeError("injected")
        return real(session, now)

    monkeypatch.setattr(mycelium.bus.session.Session, fault, broken)
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0]) as other:
        async with peer_at(bridge.urls[0], client="victim", heartbeat_ms=50) as victim:
            victim.send(PING, CORE.Ping(nonce=1))
            await victim.ending()
        await until(lambda: len(bridge.sessions) == 1)
        await other.barrier()
    assert "session 2 of victim ends by a fault of the bridge" in caplog.text


async def test_a_connect_that_is_cancelled_leaves_nothing(contracts):
    async def silent(session):
        await session.next()
        await session.reader.read()

    before = sockets()
    async with BareBridge(silent) as bare:
        client = MyceliumClient(contracts)
        for turns in range(12):
            connecting = asyncio.ensure_future(client.connect(bare.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        await client.close()
    await until(lambda: sockets() == before)


async def test_two_connects_at_once_are_one_too_many(contracts):
    async with serving(contracts) as (_, bridge):
        client = MyceliumClient(contracts)
        results = await asyncio.gather(*(client.connect(bridge.urls[0]) for _ in range(2)), return_exceptions=True)
        assert [type(one) for one in results] == [type(None), mycelium.UsageError]
        await client.close()


# --- a bridge's close ---


async def test_a_bridge_that_closes_says_goodbye_and_delivers_what_is_queued(contracts, caplog):
    got = []
    bus = mycelium.MessageBus(contracts)
    client = MyceliumClient(contracts, reconnect=False)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        await client.connect(bridge.urls[0])

        async def handler(message):
            await asyncio.sleep(0)
            got.append(message.counter_id)

        await client.subscribe(handler, contracts.CounterUpdate, window=8)
        for number in range(500):
            bus.publish_nowait(contracts.CounterUpdate(number, 0, 0))
    assert await client.closed() == "the bridge said goodbye: shutdown"
    with pytest.raises(ConnectionLost, match="the bridge said goodbye: shutdown"):
        await client.publish(contracts.Ping(value="x"))
    await client.close()
    assert got == list(range(500))


async def test_what_clients_publish_until_they_answer_the_goodbye_is_delivered(contracts):
    got = []
    bus = mycelium.MessageBus(contracts)
    await bus.subscribe(got.append, contracts.Ping)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        peer.send(PING)
        await peer.barrier()
        closing = asyncio.ensure_future(bridge.close())
        await peer.until("Goodbye")
        for _ in range(10):
            peer.send(PING)
            await asyncio.sleep(0)
        assert not closing.done()
        peer.send(CORE.Goodbye(reason="shutdown"))
        assert await peer.ending() == []
        await peer.close()
        await closing
    assert len(got) == 11


async def test_a_bridge_that_closes_waits_for_nobody_longer_than_its_grace(contracts):
    bus = mycelium.MessageBus(contracts)
    bridge = bus.serve("tcp://127.0.0.1:0")
    await bridge.start()
    async with peer_at(bridge.urls[0]) as deaf, peer_at(bridge.urls[0], hello=False):
        deaf.send(PING)
        await deaf.barrier()
        sessions = bridge.sessions
        start = time.monotonic()
        await asyncio.gather(bridge.close(0.2), bridge.close(0.2))
        assert 0.1 < time.monotonic() - start < 1.5
        assert {session.reason for session in sessions} == {"shutdown"}
    await bridge.close()


async def test_p92_a_bridge_with_idle_clients_closes_at_once(contracts):
    bus = mycelium.MessageBus(contracts)
    clients = [MyceliumClient(contracts) for _ in range(50)]
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        await asyncio.gather(*(client.connect(bridge.urls[0]) for client in clients))
        start = time.monotonic()
    assert time.monotonic() - start < 4  # the grace is 5
    await asyncio.gather(*(client.close() for client in clients))


async def test_a_client_that_comes_while_the_bridge_closes_is_told(contracts):
    bus = mycelium.MessageBus(contracts)
    bridge = bus.serve("tcp://127.0.0.1:0")
    await bridge.start()
    async with peer_at(bridge.urls[0]) as first, peer_at(bridge.urls[0], hello=False) as second:
        first.send(PING)
        await first.barrier()
        await until(lambda: len(bridge.sessions) == 2)
        closing = asyncio.ensure_future(bridge.close(0.3))
        second._connection.send(CORE.Hello(protocol=1, client="second"))
        assert [type(event).__name__ for event in await second.ending()] == ["Goodbye"]
        first.send(CORE.Goodbye(reason=""))
        await closing


# --- nothing is left ---


async def test_nothing_is_left_of_clients_and_bridges(contracts, tmp_path):
    gc.collect()
    before = sockets()
    for listen in ("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock"):
        async with serving(contracts, listen) as (bus, bridge):
            async with mycelium.connect(bridge.urls[0], contracts) as client, client.messages(contracts.Ping) as stream:
                bus.publish_nowait(contracts.Ping(value="x"))
                await stream.next(timeout=SECONDS)
    assert sockets() == before
    assert len(asyncio.all_tasks()) == 1
    gc.collect()


def test_a_program_that_never_closes_leaves_no_warning_and_loses_nothing():
    """In one process, so that every warning and every unhandled exception would be seen here."""
    contracts = mycelium.load((ROOT / "contracts.yaml").read_text())
    got = []

    async def program():
        bus = mycelium.MessageBus(contracts)
        await bus.subscribe(got.append, contracts.Ping)
        bridge = bus.serve("tcp://127.0.0.1:0")
        await bridge.start()
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])

        async def forever(_):
            await asyncio.Event().wait()

        await client.subscribe(forever, contracts.Pong)
        await bus.subscribe(forever, contracts.Pong)
        bus.publish_nowait(contracts.Pong(value="x"))
        client.publish_nowait(contracts.Ping(value="last words"))
        await client.flush()
        waiting = asyncio.ensure_future(client.messages(contracts.Ping).next())
        await asyncio.sleep(0)
        waiting.cancel()
        bridge.abort()
        await client.closed()
        await bridge.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(program(), debug=False)
        gc.collect()
    assert got == [contracts.Ping(value="last words")]


# --- real processes ---

EXAMPLE = """
import asyncio
from mycelium import MyceliumClient
from mycelium.contracts import Ping, Pong

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    async def on_pong(message: Pong):
        print(f"Received Pong: {{message.value}}")
    await client.subscribe(on_pong)
    await client.publish(Ping(value="hello from python"))

asyncio.run(main())
"""
SHORTEST = """
import asyncio
from mycelium import MyceliumClient
from mycelium.contracts import Ping

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    await client.publish(Ping(value="hello from python"))

asyncio.run(main())
"""
INTERRUPTED = """
import asyncio, os, signal
from mycelium import MyceliumClient
from mycelium.contracts import Ping

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    await client.publish(Ping(value="hello from python"))
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One bridge on TCP and a Unix socket; its URLs by transport."""
    path = tmp_path_factory.mktemp("bridge") / "bus.sock"
    with bridge("--listen", "tcp://127.0.0.1:0", listen=f"unix://{path}") as (process, url):
        yield {"tcp": url, "unix": f"unix://{path}"}
        assert stop(process) == 0


@pytest.mark.parametrize(
    ("program", "transport"),
    [(EXAMPLE, "tcp"), (EXAMPLE, "unix"), (SHORTEST, "tcp"), (INTERRUPTED, "unix")],
    ids=["example-tcp", "example-unix", "shortest", "interrupted"],
)
def test_a_program_that_just_ends_has_published_and_says_nothing_on_stderr(served, program, transport, tmp_path):
    url = served[transport]
    script = tmp_path / "program.py"
    script.write_text(program.format(url=url.removeprefix("tcp://")))
    with started("sub", "Ping", "--count", "1", "-o", "json", "--url", url) as subscriber:
        assert "subscribed" in subscriber.stderr.readline()
        ended = run_script(script)
        assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")
        out, _ = subscriber.communicate(timeout=30)
    assert out == '{"type": "Ping", "fields": {"value": "hello from python"}}\n'


def test_a_pong_that_comes_in_time_is_printed_by_the_example(served, tmp_path):
    script = tmp_path / "program.py"
    waiting = EXAMPLE.replace(
        '    await client.publish(Ping(value="hello from python"))',
        '    await client.publish(Pong(value="hello"))\n    await printed.wait()',
    )
    waiting = waiting.replace("async def main():", "printed = asyncio.Event()\n\nasync def main():")
    waiting = waiting.replace('{{message.value}}")', '{{message.value}}")\n        printed.set()')
    script.write_text(waiting.format(url=served["tcp"]))
    ended = run_script(script)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "Received Pong: hello\n")


def run_script(script):
    """Run it with every warning an error; what asyncio's debug mode says of a slow machine is left out."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(PYTHONASYNCIODEBUG="1", PYTHONPATH=str(ROOT)),
        timeout=30,
        check=False,
    )
    ended.stderr = "\n".join(line for line in ended.stderr.splitlines() if not line.startswith("Executing <"))
    return ended


async def test_each_connection_ends_for_one_reason_that_is_logged_and_kept(contracts, caplog):
    caplog.set_level("INFO", logger="mycelium.bridge")
    async with serving(contracts) as (_, bridge):
        async with mycelium.connect(bridge.urls[0], contracts, name="leaver"):
            pass
        async with peer_at(bridge.urls[0], client="breaker") as peer:
            peer.send(bytes(6))
            await peer.ending()
        await until(lambda: len(bridge.closed) == 2)
        assert [(one.client, one.reason) for one in bridge.closed] == [("leaver", "client"), ("breaker", "protocol")]
    told = [record.getMessage() for record in caplog.records if "closed: " in record.getMessage()]
    assert told == ["client leaver, session 1: closed: client", "client breaker, session 2: closed: protocol"]
