"""The HTTP side of `mycelium serve`, as a user meets it."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from processes import call, line_with, started, stop

import mycelium
from peers import until

LISTEN = ("--listen", "tcp://127.0.0.1:0")


@contextlib.contextmanager
def serving(*arguments, **how):
    """A bridge with its HTTP side; the process and both URLs."""
    with started("serve", *LISTEN, "--http", "127.0.0.1:0", *arguments, **how) as process:
        url = line_with(process, "listening on").split()[-1]
        yield process, url, line_with(process, "health, metrics").split()[-1]


def get(url, **headers):
    """Status and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def load(url, messages):
    """Publish to a bridge, and take everything."""

    async def flow():
        async with mycelium.connect(url) as client:
            await client.subscribe(lambda _: None, client.types.Ping, on_lag="block")
            for number in range(messages):
                await client.publish(client.types.Ping(f"{number}"))
            await client.flush()
            await until(lambda: client.stats().delivered == messages)

    asyncio.run(flow())


def test_a_bridge_under_load_is_scraped_and_promtool_finds_nothing():
    with serving() as (process, url, http):
        load(url, 2000)
        status, text = get(f"{http}/metrics")
        assert status == 200
        lines = text.decode().splitlines()
        assert 'mycelium_messages_received_total{message="Ping",transport="tcp"} 2000' in lines
        assert 'mycelium_messages_delivered_total{message="Ping",transport="tcp"} 2000' in lines
        (info,) = [line for line in lines if line.startswith("mycelium_build_info{")]
        assert 'loop="uvloop"' in info
        assert json.loads(get(f"{http}/varz")[1])["bridges"][0]["listen"] == [url]
        assert get(f"{http}/varz", host="evil.example")[0] == 421
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
            assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, b"", b"")
        assert stop(process) == 0
        assert "stopped" in process.stderr.read()


def test_a_bridge_that_drains_says_that_it_is_not_ready_until_it_is_gone():
    with serving() as (process, url, http), socket.create_connection(url.removeprefix("tcp://").split(":")) as client:
        from mycelium.handle import core_protocol

        core = core_protocol()
        client.sendall(core.encode(core.Hello(protocol=1, client="stays", want_contracts=False)))
        assert client.recv(65536)
        frame = bytes.fromhex("0a000000f203 0100020000006869")
        client.sendall(len(frame[4:]).to_bytes(4, "little") + frame[4:])
        client.sendall(core.encode(core.Ping(nonce=1)))
        assert client.recv(65536)
        assert get(f"{http}/readyz") == (200, b'{"status":"ready","reasons":[]}')
        process.terminate()
        line_with(process, "stopping")
        status, body = get(f"{http}/readyz")
        assert (status, json.loads(body)["reasons"][0]) == (503, "about to stop")
        assert get(f"{http}/healthz")[0] == 200
        client.sendall(core.encode(core.Goodbye(reason="client")))
        assert process.wait(30) == 0
    with pytest.raises(urllib.error.URLError):
        get(f"{http}/healthz")


def test_a_port_in_use_is_an_error_where_it_was_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = call("serve", *LISTEN, "--http", place)
        asked = call("serve", *LISTEN, env={"MYCELIUM_HTTP": place})
    assert failed.returncode == asked.returncode == 1
    assert failed.stderr.splitlines() == [
        f"mycelium: cannot listen on http://{place}",
        "  why: address already in use",
        "  try: stop what listens there, or listen on another port (0: any that is free), or none: --http off",
    ]


def test_the_default_gives_way_where_the_port_is_in_use_or_the_extra_is_missing(monkeypatch):
    from mycelium.cli.http_settings import SETTINGS
    from mycelium.cli.httpside import HttpSide
    from mycelium.cli.settings import Resolved

    assert SETTINGS[0].default == "127.0.0.1:7778"
    said = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert HttpSide.open(Resolved(place, "default"), [], say=said.append, insecure=False) is None
    remedy = "--http HOST:PORT takes another place, --http off none"
    assert said == [f"no HTTP at http://{place}: address already in use; {remedy}"]
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert HttpSide.open(Resolved(place, "default"), [], say=said.append, insecure=False) is None
    assert said[1:] == ["no health checks or metrics over HTTP: pip install 'mycelium-py[http]'"]
    with pytest.raises(mycelium.UsageError, match=r"uvicorn cannot be imported; pip install 'mycelium-py\[http\]'"):
        HttpSide.open(Resolved(place, "command line"), [], say=said.append, insecure=False)


def test_a_place_that_others_would_reach_is_refused_and_one_that_is_none_too():
    exposed = call("serve", *LISTEN, "--http", "0.0.0.0:0")
    assert exposed.returncode == 1
    assert "--http-insecure does it all the same" in exposed.stderr
    for place in ("nonsense", "127.0.0.1", ":7778", "[::1]", "127.0.0.1:x", "http://127.0.0.1:1", "a:1/b"):
        assert call("serve", "--http", place).returncode == 2, place


def test_other_machines_may_ask_where_that_is_meant_and_by_the_names_that_are_given():
    with started("serve", *LISTEN, "--http", "0.0.0.0:0", "--http-insecure", "--http-names", "bridge") as process:
        port = line_with(process, "health, metrics").rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/healthz"
        assert [get(url, host=name)[0] for name in (f"bridge:{port}", "192.0.2.1", "elsewhere")] == [200, 200, 421]


def test_print_config_says_where_it_would_be():
    shown = call("serve", "--print-config").stdout.splitlines()
    assert "http = off    # MYCELIUM_HTTP" in shown
    assert "http-names = none    # default" in shown
    assert "http = [::1]:9    # command line" in call("serve", "--http", "[::1]:9", "--print-config").stdout
    assert "http = 127.0.0.1:7778    # default" in call("serve", "--print-config", env={"MYCELIUM_HTTP": ""}).stdout
