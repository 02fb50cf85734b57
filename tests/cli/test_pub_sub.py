"""`serve`, `sub`, `pub` and `ping` as somebody at three terminals uses them."""

import json
import os
import signal
import socket

import pytest
from processes import bridge, call, line_with, started, stop

from mycelium.cli.pacing import Pacing


@pytest.fixture(scope="module")
def url():
    """One bridge for everybody who leaves it running."""
    with bridge() as (_, url):
        yield url


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/bus.sock"


def test_what_is_published_is_printed_exactly_over_tcp_and_unix(listen):
    with bridge(listen=listen) as (serving, url):
        with started("sub", "Ping", "--count", "3", "-o", "json", "--url", url) as subscriber:
            line_with(subscriber, "subscribed to Ping")
            published = call("pub", "Ping", '{"value": "hi"}', "--count", "3", "--url", url)
            assert (published.returncode, published.stderr) == (0, "published 3 Ping\n")
            out, _ = subscriber.communicate(timeout=30)
            assert subscriber.returncode == 0
        assert [json.loads(line) for line in out.splitlines()] == [{"type": "Ping", "fields": {"value": "hi"}}] * 3
        assert stop(serving) == 0


def test_the_environment_names_the_bridge(url, tmp_path):
    there = call("ping", "--count", "1", cwd=tmp_path, env={"MYCELIUM_URL": url})
    assert there.returncode == 0
    assert "schema 0x4d594345 version 1" in there.stdout
    assert "median" in there.stdout


def test_lines_of_standard_input_are_published_in_either_form(url):
    with started("sub", "--count", "2", "--url", url) as subscriber:
        line_with(subscriber, "subscribed to")
        lines = '{"value": "plain"}\n\n{"type": "Pong", "fields": {"value": "wrapped"}}\n'
        published = call("pub", "Pong", "-", "--url", url, input=lines)
        assert published.returncode == 0
        out, _ = subscriber.communicate(timeout=30)
    assert out == 'Pong  value="plain"\nPong  value="wrapped"\n'


def test_a_client_without_a_contracts_file_takes_the_bridges(url, tmp_path):
    with started("sub", "Pong", "--count", "1", "--url", url, cwd=tmp_path) as subscriber:
        line_with(subscriber, "subscribed to Pong")
        assert call("pub", "Pong", '{"value": "x"}', "--url", url, cwd=tmp_path).returncode == 0
        assert subscriber.communicate(timeout=30)[0] == 'Pong  value="x"\n'


def test_text_that_would_move_the_cursor_is_escaped_for_people(url):
    with started("sub", "Pong", "--count", "1", "--url", url) as subscriber:
        line_with(subscriber, "subscribed to Pong")
        call("pub", "Pong", json.dumps({"value": "\x1b[2Jgone\u202e"}), "--url", url)
        out = subscriber.communicate(timeout=30)[0]
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_sensitive_messages_are_hidden_unless_asked_for(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text("messages:\n  Key: {tlv_type: 1000, sensitivity: high, fields: {value: {type: String}}}\n")
    with bridge(file) as (_, url):
        hidden = started("sub", "--count", "1", "-o", "json", "--url", url, cwd=tmp_path)
        shown = started("sub", "--count", "1", "--show-sensitive", "--url", url, cwd=tmp_path)
        with hidden as first, shown as second:
            line_with(first, "subscribed to Key")
            line_with(second, "subscribed to Key")
            assert call("pub", "Key", '{"value": "canary"}', "--url", url, cwd=tmp_path).returncode == 0
            assert json.loads(first.communicate(timeout=30)[0]) == {"type": "Key", "fields": {}, "redacted": True}
            assert second.communicate(timeout=30)[0] == 'Key  value="canary"\n'


def test_sub_says_so_when_nothing_came_in_time(url):
    waited = call("sub", "BatchOperation", "--count", "1", "--timeout", "100ms", "--url", url)
    assert waited.returncode == 4
    assert "0 of 1 messages came in 0.1 s" in waited.stderr
    assert "try: is anybody publishing" in waited.stderr


def test_sub_goes_on_when_the_bridge_is_back(tmp_path):
    url = f"unix://{tmp_path}/s"
    with started("sub", "Ping", "--count", "1", "-o", "json", "--url", url, command=None) as early:
        assert early.wait(30) == 4  # the first connection has to be there
    with bridge(listen=url) as (serving, _), started("sub", "Ping", "--count", "1", "--url", url) as subscriber:
        line_with(subscriber, "subscribed to")
        assert stop(serving) == 0
        line_with(subscriber, "the connection to the bridge is gone")
        with bridge(listen=url):
            line_with(subscriber, "connected again")
            assert call("pub", "Ping", '{"value": "x"}', "--url", url).returncode == 0
            assert subscriber.wait(30) == 0
            assert subscriber.stdout.read() == 'Ping  value="x"\n'


def test_ctrl_c_ends_sub_and_serve_without_a_traceback():
    with bridge() as (serving, url):
        with started("sub", "Ping", "--url", url) as subscriber:
            line_with(subscriber, "subscribed to")
            subscriber.send_signal(signal.SIGINT)
            _, talk = subscriber.communicate(timeout=30)
            assert subscriber.returncode == 130
            assert talk == ""
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 0


def test_a_reader_that_goes_away_is_no_failure(url):
    with started("sub", "Ping", "--url", url) as subscriber:
        line_with(subscriber, "subscribed to")
        subscriber.stdout.close()
        assert call("pub", "Ping", '{"value": "x"}', "--count", "3", "--url", url).returncode == 0
        assert subscriber.wait(30) == 0
        assert subscriber.stderr.read() == ""
        subscriber.stdout = open(os.devnull)  # noqa: SIM115, PTH123  `started` closes it


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["pub", "Pingg", "{}"], 2, "the contracts have no type 'Pingg'"),
        (["pub", "Ping", "{"], 2, "the message does not fit its contract"),
        (["pub", "Ping", '{"value": 3}'], 2, "value"),
        (["pub", "TextMessage", '{"sender": "", "content": "x", "timestamp": 1}'], 2, "not_empty"),
        (["sub", "Nobody"], 2, "the contracts have no type 'Nobody'"),
    ],
)
def test_a_users_mistake_is_one_line_what_one_why_and_one_what_to_try(url, arguments, code, what):
    failed = call(*arguments, "--url", url)
    assert failed.returncode == code
    assert what in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


def test_no_bridge_is_said_in_three_lines():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        failed = call("ping", "--url", f"tcp://127.0.0.1:{port}")
    assert failed.returncode == 4
    assert failed.stderr.splitlines() == [
        f"mycelium: no bridge at tcp://127.0.0.1:{port}",
        "  why: connection refused",
        "  try: start one with `mycelium serve`, or give another --url",
    ]


def test_a_port_in_use_is_one_clear_line_and_the_bridge_there_goes_on(url):
    second = call("serve", "--listen", url)
    assert second.returncode == 1
    assert f"mycelium: cannot listen on {url}" in second.stderr
    assert "why: address already in use" in second.stderr
    assert call("ping", "--count", "1", "--url", url).returncode == 0


def test_print_config_says_where_each_value_came_from():
    shown = call("serve", "--grace", "3s", "--print-config", env={"MYCELIUM_LISTEN": "tcp://127.0.0.1:1 unix:///tmp/x"})
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert "listen = tcp://127.0.0.1:1 unix:///tmp/x    # MYCELIUM_LISTEN" in lines
    assert "grace = 3.0    # command line" in lines
    assert "max-payload = 4194304    # default" in lines


def test_a_setting_that_is_none_is_refused_at_start():
    wrong = call("serve", env={"MYCELIUM_MAX_PAYLOAD": "lots"})
    assert wrong.returncode == 2
    assert "MYCELIUM_MAX_PAYLOAD" in wrong.stderr
    assert call("serve", "--handshake-timeout", "soon").returncode == 2


def test_a_bridge_that_other_machines_would_reach_does_not_start_without_being_told_to():
    refused = call("serve", "--listen", "tcp://0.0.0.0:0")
    assert refused.returncode == 1
    assert "--insecure does it all the same" in refused.stderr


def test_a_line_that_does_not_fit_is_named_by_its_number(url):
    failed = call("pub", "Ping", "-", "--url", url, input='{"value": "a"}\n\nnonsense\n')
    assert failed.returncode == 2
    assert "line 3: the message does not fit its contract" in failed.stderr
    assert "published 1 Ping" in failed.stderr


def test_a_rate_is_kept_by_a_plan_and_what_was_held_up_for_long_is_no_rush():
    pacing, now = Pacing(1000), 50.0
    assert pacing.delay(now) == 0
    sent = 0
    while now < 51:  # each wait takes a millisecond longer than it should
        delay = pacing.delay(now)
        now += delay + 0.001 * (delay > 0)
        sent += 1
    assert 998 <= sent <= 1002
    rush = 0
    while pacing.delay(now + 10) == 0:
        rush += 1
    assert 249 <= rush <= 251
