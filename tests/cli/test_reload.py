"""Contracts that change under a running bridge, as somebody at its terminal and its clients see it."""

import json
import signal

import pytest
from processes import ROOT, bridge, call, line_with, started, stop

CONTRACTS = (ROOT / "contracts.yaml").read_text()
MORE = CONTRACTS.replace("version: 1", "version: 2").replace(
    "      value: {type: String, description: Any text}",
    "      value: {type: String, description: Any text}\n      venue: {type: u16, default: 7}",
)
RETYPED = CONTRACTS.replace("value: {type: String", "value: {type: u64")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "contracts.yaml"
    path.write_text(CONTRACTS)
    return path


def test_an_edit_reaches_publisher_and_subscriber_without_a_restart_and_a_break_hurts_nobody(file, tmp_path):
    with bridge(cwd=tmp_path) as (serving, url), started("sub", "Ping", "--url", url, cwd=tmp_path) as subscriber:
        line_with(subscriber, "subscribed to Ping")
        with started("pub", "Ping", "-", "--url", url, cwd=tmp_path) as publisher:

            def publish(**fields):
                publisher.stdin.write(json.dumps(fields) + "\n")
                publisher.stdin.flush()
                return subscriber.stdout.readline()

            assert publish(value="one") == 'Ping  value="one"\n'
            file.write_text(MORE)
            line_with(serving, "version 2 is in force")
            for client in (publisher, subscriber):
                line_with(client, "version 2 from here on")
            assert publish(value="two", venue=9) == 'Ping  value="two"  venue=9\n'
            file.write_text(MORE.replace("value: {type: String", "value: {type: u64"))
            line_with(serving, "is not applied (incompatible); version 2 goes on")
            line_with(serving, "FIELD_TYPE_CHANGED")
            line_with(serving, "would hurt mycelium ")
            assert publish(value="three") == 'Ping  value="three"  venue=7\n'
        assert stop(serving) == 0


def test_sighup_reads_the_file_again_also_where_it_is_not_followed(file, tmp_path):
    with bridge("--no-reload", cwd=tmp_path) as (serving, _):
        file.write_text(MORE)
        serving.send_signal(signal.SIGHUP)
        line_with(serving, "version 2 is in force")
        file.write_text("messages: [")
        serving.send_signal(signal.SIGHUP)
        line_with(serving, "is not applied (invalid)")
        assert f"{file.name}:2:1: not YAML" in serving.stderr.readline()


def test_schema_reload_asks_a_bridge_and_force_goes_around_its_policy(file, tmp_path):
    with bridge("--no-reload", cwd=tmp_path) as (_, url):
        assert "says the same" in call("schema", "reload", "--url", url).stdout
        file.write_text(RETYPED)
        refused = call("schema", "reload", "--url", url)
        assert refused.returncode == 1
        assert "FIELD_TYPE_CHANGED Ping.value" in refused.stdout
        forced = call("schema", "reload", "--force", "--url", url)
        assert (forced.returncode, forced.stdout) == (0, "contracts.yaml: applied\n") or "applied" in forced.stdout
        assert call("pub", "Ping", '{"value": 3}', "--url", url, cwd=tmp_path).returncode == 0


def test_an_edit_is_checked_against_a_bridge_and_everybody_who_is_connected(file, tmp_path):
    edited = tmp_path / "new.yaml"
    edited.write_text(RETYPED)
    with bridge(cwd=tmp_path) as (_, url), started("sub", "Ping", "--url", url, cwd=tmp_path) as subscriber:
        line_with(subscriber, "subscribed to")
        checked = call("schema", "check", edited, "--against", url)
        assert checked.returncode == 1
        assert "mycelium sub (v1), connected now: deploy it before new readers and writers" in checked.stdout
        as_json = json.loads(call("schema", "check", edited, "--against", url, "--format", "json").stdout)
        assert [one["client"] for one in as_json["hurt"]] == ["mycelium sub"]
        edited.write_text(MORE)
        assert call("schema", "check", edited, "--against", url).returncode == 0


def test_a_bridge_that_is_not_there_is_no_baseline(file):
    checked = call("schema", "check", file, "--against", "tcp://127.0.0.1:1")
    assert checked.returncode == 4
    assert "no bridge at tcp://127.0.0.1:1" in checked.stderr


def test_decode_and_encode_work_without_a_file_by_a_bridges_contracts(file, tmp_path):
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    other = ROOT / "tests/contracts/mycelium-game.yaml"
    with bridge(other) as (_, url):
        file.unlink()
        encoded = call(
            "encode", "PlayerLogin", '{"player_id": 1, "session_token": 2, "timestamp": 3}', "--url", url, cwd=nowhere
        )
        assert encoded.returncode == 0, encoded.stderr
        decoded = call("decode", "--type", "PlayerLogin", encoded.stdout.strip(), "--url", url, cwd=nowhere)
        assert json.loads(decoded.stdout)["fields"] == {"player_id": 1, "session_token": 2, "timestamp": 3}


def test_an_edit_that_is_refused_though_no_bytes_suffer_says_what_would_help(file, tmp_path):
    with bridge(cwd=tmp_path) as (serving, _):
        file.write_text(CONTRACTS.replace("value: {type: String", "text: {type: String"))
        line_with(serving, "is not applied (incompatible)")
        assert "renamed_from" in line_with(serving, "refused for FIELD_RENAMED Ping.value")


def test_a_file_that_is_gone_is_said_and_waited_for(file, tmp_path):
    with bridge(cwd=tmp_path) as (serving, _):
        file.unlink()
        line_with(serving, "is gone; version 1 goes on until it is back")
        file.write_text(MORE)
        line_with(serving, "version 2 is in force")
