"""The HTTP side of a bus: health through a drain, tables, their limits, and who may ask."""

import asyncio
import contextlib
import os
import re
import sys

import pytest
from asking import ask, fetch
from web import begin, get, web

import mycelium
from mycelium.bus.limits import http_room
from mycelium.bus.observe.http import PARTS, make_app
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.server import HttpServer
from mycelium.bus.sockets import open_tcp
from mycelium.bus.urls import parse_url
from peers import CORE, peer_at, until

TEXT = """
schema: {id: 32, version: 1, min_compatible: 1}
messages:
  Tick: {tlv_type: 1000, domain: Feed, description: "it moved", fields: {number: {type: u64}}}
  Secret: {tlv_type: 1001, sensitivity: secret, retain: last, key: who, fields: {who: {type: String}}}
  Tock: {tlv_type: 1002, deprecated: true, qos: {on_lag: latest}, fields: {}}
"""
NEWER = TEXT.replace("version: 1", "version: 2").replace("u64}", "u64}, more: {type: u8, optional: true}")
BROKEN = TEXT.replace("u64", "String")


@pytest.fixture
def bus():
    return mycelium.MessageBus(TEXT)


async def table(app, path, status=200):
    answer = await ask(app, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    return answer.json


# --- health ---


async def test_a_bridge_is_ready_from_its_listeners_to_its_drain_and_says_why_it_is_not(bus):
    bridge = bus.serve("tcp://127.0.0.1:0", name="here")
    app = mycelium.asgi.app(bridge)
    assert await table(app, "/readyz", 503) == {"status": "not ready", "reasons": ["here: not listening"]}
    await bridge.start()
    assert await table(app, "/readyz") == {"status": "ready", "reasons": []}
    async with peer_at(bridge.urls[0]) as peer:
        peer.send(await _published(peer))
        closing = asyncio.create_task(bridge.close(grace=5, flush=5))
        await peer.until("Goodbye")
        assert await table(app, "/readyz", 503) == {"status": "not ready", "reasons": ["here: draining"]}
        assert await table(app, "/healthz") == {"status": "alive"}
        assert [one["state"] for one in (await table(app, "/varz"))["bridges"]] == ["draining"]
        peer.send(CORE.encode(CORE.Goodbye(reason="client")))
    await closing
    assert (await table(app, "/readyz", 503))["reasons"] == ["here: not listening"]
    await bus.close()


async def _published(peer):
    """A Tick that the bridge has taken."""
    from mycelium.wire.frames import encode_frame

    peer.send(encode_frame(1000, bytes.fromhex("010008000000 0100000000000000")))
    await peer.barrier()
    return b""


async def test_a_bus_is_ready_without_a_bridge_and_with_one_of_several_until_it_is_closed(bus):
    app = mycelium.asgi.app(bus)
    assert (await table(app, "/readyz"))["status"] == "ready"
    async with bus.serve("tcp://127.0.0.1:0") as first:
        assert (await table(app, "/readyz"))["status"] == "ready"
        await first.close()
        assert (await table(app, "/readyz", 503))["reasons"] == ["mycelium: not listening"]
        async with bus.serve("tcp://127.0.0.1:0"):
            assert (await table(app, "/readyz"))["status"] == "ready"
    await bus.close()
    assert "the bus is closing" in (await table(app, "/readyz", 503))["reasons"]


# --- tables ---


async def test_connections_are_listed_those_that_lag_first_and_those_that_are_gone(bus, tmp_path):
    app = mycelium.asgi.app(bus)
    async with bus.serve("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock") as bridge:
        async with mycelium.connect(bridge.urls[0], TEXT, name="quick") as quick, peer_at(bridge.urls[1]) as slow:
            await slow.subscribe(1, [1000], window=1)
            for number in range(5):
                await quick.publish(quick.types.Tick(number))
            await quick.flush()
            await until(lambda: bridge.sessions[1].outgoing.messages == 1)
            found = await table(app, "/connz")
            assert (found["total"], found["offset"], found["limit"]) == (2, 0, 100)
            first, second = found["connections"]
            assert (first["client"], first["transport"], first["queued_messages"]) == ("peer", "unix", 4)
            assert (first["in_flight_messages"], first["sent_messages"], first["subscriptions"]) == (1, 1, 1)
            assert first["peer"] == f"pid {os.getpid()}, uid {os.getuid()}"
            assert (second["client"], second["state"], second["received_messages"]) == ("quick", "open", 5)
            assert second["peer"].startswith("127.0.0.1:")
            assert second["contracts"]["version"] == 1
            by_number = await table(app, "/connz?sort=session&limit=1&offset=1")
            assert [one["session"] for one in by_number["connections"]] == [2]
            assert (by_number["total"], by_number["limit"]) == (2, 1)
        await until(lambda: not bridge.sessions)
        gone = (await table(app, "/connz?state=closed"))["connections"]
    assert sorted((one["client"], one["reason"]) for one in gone) == [("peer", "eof"), ("quick", "client")]
    await bus.close()


async def test_subscriptions_and_queues_are_listed_here_and_of_clients(bus):
    app = mycelium.asgi.app(bus)

    go_on = asyncio.Event()

    async def stuck(_):
        await go_on.wait()

    await bus.subscribe(stuck, bus.contracts.Tick, queue=3, on_lag="drop_oldest", group="crew")
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        await peer.subscribe(7, [], window=5, no_echo=True)
        for number in range(6):
            bus.publish_nowait(bus.contracts.Tick(number))
        await until(lambda: bus.stats().in_flight == 6)
        here, there = (await table(app, "/subsz"))["subscriptions"]
        assert (here["session"], here["transport"], here["types"], here["group"]) == (0, "local", ["Tick"], "crew")
        assert here["subscriber"].endswith("stuck")
        assert (here["matched"], here["in_flight"], here["queued"], here["dropped"]) == (6, 1, 2, {"dropped_oldest": 3})
        assert (there["session"], there["subscription"], there["types"], there["no_echo"]) == (1, 7, None, True)
        assert [one["session"] for one in (await table(app, "/subsz?session=1"))["subscriptions"]] == [1]
        assert (await table(app, "/subsz?type=Tock"))["total"] == 1
        queues = await table(app, "/queuez")
        assert queues["memory"]["limit_bytes"] == bus.stats().memory_limit
        first, second = queues["queues"]
        first_row = first["session"], first["queued_messages"], first["slow"], first["capacity_messages"]
        assert first_row == (0, 2, True, 3)
        assert (second["session"], second["queued_messages"], second["in_flight_messages"]) == (1, 1, 5)
    assert (await table(app, "/queuez?all=yes"))["total"] == 1
    go_on.set()
    await bus.close()


async def test_messages_are_listed_with_what_became_of_them(bus):
    app = mycelium.asgi.app(bus)
    types = bus.contracts
    await bus.subscribe(lambda _: None, types.Tick)
    await bus.subscribe(lambda _: None, types.Tick, types.Tock)
    for number in range(3):
        bus.publish_nowait(types.Tick(number))
    bus.publish_nowait(types.Secret("a"))
    tick, secret, tock = (await table(app, "/messagez"))["messages"]
    assert (tick["name"], tick["topic"], tick["received"], tick["delivered"], tick["subscriptions"]) == (
        "Tick",
        "feed",
        3,
        6,
        2,
    )
    assert (secret["received"], secret["delivered"], secret["retained"]) == (1, 0, 1)
    assert (tock["received"], tock["subscriptions"]) == (0, 1)
    await bus.close()


async def test_the_contracts_and_what_became_of_their_edits(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(TEXT)
    bus = mycelium.MessageBus(file)
    app = mycelium.asgi.app(bus)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        for text in (NEWER, BROKEN, "messages: ["):
            file.write_text(text)
            await client.query("reload")
        found = await table(app, "/schemaz")
    assert (found["schema"]["version"], found["schema"]["source"]) == (2, str(file))
    assert found["last_reload_successful"] is False
    invalid, refused, applied = found["reloads"]
    assert (invalid["outcome"], refused["outcome"], applied["outcome"]) == ("invalid", "incompatible", "applied")
    assert invalid["current"] is None
    assert invalid["reasons"]
    assert (refused["previous"]["version"], refused["current"]["version"]) == (2, 1)
    assert refused["findings"][0]["rule"] == "FIELD_TYPE_CHANGED"
    assert refused["findings"][0]["hint"]
    assert applied["duration_seconds"] > 0
    tick, secret, tock = found["messages"]
    assert (tick["name"], tick["fields"], tick["description"]) == ("Tick", 2, "it moved")
    assert (secret["redacted"], secret["key"], secret["retain"]) == (True, ["who"], "last")
    assert (tock["deprecated"], tock["on_lag"]) == (True, "latest")
    one = await table(app, "/schemaz/Tick")
    assert one["document"]["fields"]["number"] == {"type": "u64", "tag": 1}
    assert (await table(app, "/schemaz/None", 404))[
        "error"
    ] == "the contracts have no such message; /schemaz lists them"
    await bus.close()


async def test_no_more_rows_are_given_than_anybody_should_ask_for(bus):
    app = mycelium.asgi.app(bus)
    assert len((await table(app, "/schemaz?limit=2"))["messages"]) == 2
    assert (await table(app, "/schemaz?offset=5"))["messages"] == []
    for query in ("limit=0", "limit=1001", "limit=-1", "limit=x", "offset=-1", "limit=", f"offset={'9' * 30}x"):
        assert "is no number" in (await table(app, f"/connz?{query}", 400))["error"]
    assert "none of lag, session" in (await table(app, "/connz?sort=name", 400))["error"]
    assert (await table(app, f"/connz?offset={'9' * 30}"))["connections"] == []
    await bus.close()


# --- who may ask, and how ---


async def test_only_names_of_this_place_are_answered_since_others_may_be_a_page_of_the_internet(bus):
    app = make_app(Observed(bus), {"bridge.local"})
    for host in (
        "localhost",
        "LOCALHOST:7778",
        "127.0.0.1:7778",
        "[::1]:7778",
        "10.1.2.3",
        "Bridge.Local:1",
        "localhost.",
    ):
        assert (await ask(app, "/healthz", host=host)).status == 200, host
    more = (
        "[::1].evil.example",
        "[::1]evil",
        "[evil.example",
        "127.0.0.1:evil",
        "[::1]:7778:1",
        "::1]",
        "[1.2.3.4].evil",
    )
    for host in ("evil.example", "evil.example:7778", "", "localhost.evil.example", "127.0.0.1.evil.example", *more):
        answer = await ask(app, "/healthz", host=host)
        assert (answer.status, answer.headers["x-content-type-options"]) == (421, "nosniff"), host
    assert (await ask(mycelium.asgi.app(bus), "/healthz", host="anything")).status == 200
    await bus.close()


async def test_everything_is_read_and_nothing_else(bus):
    app = mycelium.asgi.app(bus)
    for path in ("/healthz", "/readyz", "/metrics", "/varz", "/connz", "/subsz", "/queuez", "/messagez", "/schemaz"):
        head = await ask(app, path, method="HEAD")
        assert head.status == 200
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await ask(app, path, method=method)
            assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert (await table(app, "/nothing", 404)) == {"error": "Not Found"}
    await bus.close()


async def test_answers_are_not_kept_framed_or_guessed_at_and_a_part_may_say_otherwise(bus):
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(_):
        return PlainTextResponse("hello", headers={"content-security-policy": "default-src 'self'"})

    app = make_app(Observed(bus), None, [*PARTS, lambda _: [Route("/own", page)]])
    plain, own = await ask(app, "/varz"), await ask(app, "/own")
    assert plain.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert own.headers["content-security-policy"] == "default-src 'self'"
    for answer in (plain, own):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
    await bus.close()


async def test_it_can_be_mounted_in_another_application(bus):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/bus", mycelium.asgi.app(bus))])
    assert (await table(outer, "/bus/readyz"))["status"] == "ready"
    assert (await ask(outer, "/bus/metrics")).status == 200
    assert (await ask(outer, "/readyz")).status == 404
    await bus.close()


async def test_a_server_in_the_same_loop_answers_leaves_signals_alone_and_is_gone_when_closed(bus):
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    sockets = open_tcp(parse_url("tcp://127.0.0.1:0"))
    place = sockets[0].getsockname()
    server = HttpServer(Observed(bus), sockets, {"127.0.0.1"})
    answer = await fetch(place, "/healthz", host=f"127.0.0.1:{place[1]}")
    assert (answer.status, answer.json) == (200, {"status": "alive"})
    assert "server" not in answer.headers
    assert (await fetch(place, "/healthz", host="evil.example")).status == 421
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    await server.close()
    with pytest.raises(ConnectionError):
        await fetch(place, "/healthz")
    await bus.close()


# --- those who hold on and ask for nothing ---


@contextlib.asynccontextmanager
async def silent(port, number):
    """Connections that say nothing by themselves."""
    ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
    yield ones
    for _, writer in ones:
        writer.close()


async def test_silent_connections_make_room_for_whoever_asks_and_are_closed_in_the_end(bus, monkeypatch, caplog):
    from mycelium.bus.observe import httpconnection

    monkeypatch.setattr(httpconnection, "_REQUEST_SECONDS", 1.0)
    async with web(bus) as port:
        async with silent(port, 3 * http_room()) as ones:
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await get(port, path)).status == 200
            late = ones[-1]
            late[1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
            await until(lambda: all(reader.at_eof() or reader.exception() for reader, _ in ones))
        assert (await get(port, "/healthz")).status == 200
    assert caplog.text == ""
    await bus.close()


async def test_the_oldest_connection_without_a_request_goes_first_and_never_one_that_is_answered(bus):
    async with web(bus) as port:
        status, _, reader, writer = await begin(port, "/page/state")
        assert status == 200
        async with silent(port, 1) as first, silent(port, http_room() - 2) as others:
            assert not first[0][0].at_eof()
            async with silent(port, 1):
                await until(lambda: first[0][0].at_eof() or first[0][0].exception())
                assert not any(reader.at_eof() or reader.exception() for reader, _ in others)
        assert not reader.at_eof()
        writer.close()
    await bus.close()


async def test_p94_what_no_http_is_leaves_a_line_a_second_and_says_how_many_there_were(bus, caplog):
    async with web(bus) as port:
        for _ in range(50):
            async with silent(port, 1) as [(reader, writer)]:
                writer.write(b"\0\1 no HTTP\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 400")
        async with silent(port, 1) as [(reader, writer)]:
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert b" 405 " in await reader.readline()
            writer.write(b"no chunk\r\n")
            await reader.read()
    lines = [record.getMessage() for record in caplog.records]
    assert sum(1 + int((re.search(r"and (\d+) more", line) or [0, 0])[1]) for line in lines) == 51
    assert len(lines) < 20
    assert {record.name for record in caplog.records} == {"mycelium.http.requests"}
    await bus.close()


# --- without the extra ---


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_is_said_what_to_install(bus, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "mycelium.observe", raising=False)
    monkeypatch.delitem(vars(mycelium), "observe", raising=False)
    with pytest.raises(mycelium.UsageError, match=r"cannot be imported; pip install 'mycelium-py\[http\]'"):
        mycelium.asgi.app(bus)
    with pytest.raises(mycelium.UsageError, match=missing.replace("_", "-")):
        mycelium.observe.MetricsObserver("x")


def test_importing_the_package_or_the_bus_brings_none_of_it():
    import subprocess

    code = (
        "import sys, mycelium\n"
        "mycelium.MessageBus, mycelium.MyceliumClient, mycelium.asgi\n"
        "print([name for name in ('starlette', 'uvicorn', 'prometheus_client', 'mycelium.bus.observe') "
        "if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
