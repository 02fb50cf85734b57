"""`mycelium doctor`: what it finds in places that are well, and in such as are not."""

import json
import os
import re
import shlex
import socket
import subprocess
from importlib import metadata

import pytest
from processes import ROOT, bridge, call, environment, mycelium, run

from mycelium.cli.checkup import machine
from mycelium.cli.listening import Listener, listeners
from mycelium.cli.reach import is_default


def findings(*arguments, code=0, **options):
    shown = call("doctor", "-o", "json", *arguments, **options)
    assert shown.returncode == code, shown.stdout + shown.stderr
    said = json.loads(shown.stdout)
    assert said["ok"] == (code == 0)
    return {one["name"]: one for one in said["findings"]}


def test_beside_a_running_bridge_everything_is_well_on_one_screen():
    with bridge() as (_, url):
        shown = run("doctor", "--url", url)
        assert (shown.returncode, shown.stderr) == (0, "")
        first, *rows, last = shown.stdout.splitlines()
    assert re.match(r"mycelium \S+ in \S+/mycelium, CPython 3\.\d+\.\d+, ", first)
    assert len(rows) < 22
    assert all(re.match(r"(ok   |note )  [a-z0-9 ]+  +\S|      +try: ", row) for row in rows), rows
    assert any(re.match(rf"ok     bridge +{url} answers in \S+ ms, which fits these contracts", row) for row in rows)
    assert last.startswith("nothing is wrong")


def test_no_bridge_and_no_contracts_file_are_no_fault_unless_somebody_names_them(tmp_path):
    nowhere = tmp_path / "nowhere.sock"
    found = findings("--url", f"unix://{nowhere}", code=1, cwd=tmp_path)
    assert found["contracts"]["state"] == "note"
    assert found["contracts"]["remedy"].startswith("`mycelium init`")
    assert found["bridge"]["state"] == "wrong"
    assert found["bridge"]["text"] == f"no bridge at unix://{nowhere}: no such file or directory"
    named = findings(code=1, env={"MYCELIUM_CONTRACTS": "gone.yaml", "MYCELIUM_URL": "localhost:1"}, cwd=tmp_path)
    assert named["contracts"]["text"] == "there is none at gone.yaml (from MYCELIUM_CONTRACTS)"
    assert {named["contracts"]["state"], named["bridge"]["state"]} == {"wrong"}
    assert {"MYCELIUM_CONTRACTS", "MYCELIUM_URL"} <= set(re.findall(r"\w+", named["environment"]["text"]))


def test_values_of_the_environment_are_not_shown(tmp_path):
    shown = call("doctor", env={"MYCELIUM_TOKEN": "canary"}, cwd=tmp_path)
    assert "MYCELIUM_TOKEN" in shown.stdout
    assert "canary" not in shown.stdout + shown.stderr


def test_a_contracts_file_with_faults_is_wrong(tmp_path):
    (tmp_path / "contracts.yaml").write_text("messages: {Ping: {tlv_type: 1, fields: {value: {type: Sting}}}}\n")
    found = findings(code=1, cwd=tmp_path)["contracts"]
    assert re.search(r"contracts\.yaml has 2 faults; the first: .*contracts\.yaml:1:", found["text"])
    assert found["remedy"] == "`mycelium schema lint` shows all"


def test_contracts_that_the_bridge_cannot_talk_with_are_wrong(tmp_path):
    text = (ROOT / "contracts.yaml").read_text()
    (tmp_path / "contracts.yaml").write_text(text.replace("value: {type: String", "value: {type: u64"))
    with bridge() as (_, url):
        assert "Ping" in findings("--url", url, code=1, cwd=tmp_path)["bridge"]["text"]


def test_fewer_files_than_connections_are_noted_with_what_to_do_about_it(tmp_path):
    limited = f"ulimit -S -n 200 && exec {shlex.join(mycelium('doctor', '-o', 'json'))}"
    ran = subprocess.run(["/bin/sh", "-c", limited], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    found = {one["name"]: one for one in json.loads(ran.stdout)["findings"]}["open files"]
    assert (found["state"], "takes 111 connections in place of 10000" in found["text"]) == ("note", True)
    assert "10192" in found["remedy"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tcp://localhost:7777", True),
        ("tls://localhost:7777", True),
        ("tls://localhost:7779", False),
        ("unix:///tmp/s", False),
    ],
)
def test_a_bridge_that_answers_on_the_default_port_is_who_has_it_whatever_it_speaks(url, expected):
    assert is_default(url) is expected


def test_who_listens_on_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.settimeout(0)
        (mine,) = listeners(port)
        assert mine.pid == os.getpid()
        assert mine.command
    assert str(Listener(None)) == "somebody else's process"


@pytest.mark.parametrize("url", ["nonsense://", "unix://relative", "tcp://:0"])
def test_an_address_that_is_none_is_one_line(url):
    found = findings("--url", url, code=1)["bridge"]
    assert found["state"] == "wrong"
    assert "\n" not in found["text"]


def test_packages_are_held_against_what_the_distribution_says_of_itself(monkeypatch):
    required = [
        "attrs>=24.2",
        'nobody-has-this>=1.0; extra == "http"',
        "rich>=1; (sys_platform != \"win32\") and extra == 'speed'",
        'pytest>=9000; extra == "dev"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: required)
    found = {one.name: one for one in machine()}
    assert (found["packages"].state, found["packages"].text) == ("ok", f"attrs {metadata.version('attrs')}")
    assert found["extra http"].state == "note"
    assert found["extra http"].text == "not installed: nobody-has-this"
    assert found["extra http"].remedy == 'pip install -U "mycelium-py[http]"'
    assert found["extra speed"].state == "ok"
    assert "extra dev" not in found
    monkeypatch.setattr(metadata, "requires", lambda _: ["attrs>=9000.1", "nobody-has-this"])
    (packages, *_) = machine()
    assert packages.state == "wrong"
    assert packages.text == f"missing or too old: nobody-has-this, attrs {metadata.version('attrs')} (needs 9000.1)"
