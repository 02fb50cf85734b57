"""The one-file bridge: built, started where there is no Python, and talked to from outside."""

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys

import pytest
from processes import ROOT, SECONDS, line_with, run, started

import mycelium

CONTRACTS = (ROOT / "contracts.yaml").read_text()
MORE = CONTRACTS.replace("version: 1", "version: 2").replace(
    "      value: {type: String, description: Any text}",
    "      value: {type: String, description: Any text}\n      venue: {type: u16, default: 7}",
)
BUILD_SECONDS = 900
"""It takes 40 on a quiet machine."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def onefile(tmp_path_factory):
    made = tmp_path_factory.mktemp("onefile") / "mycelium"
    faulthandler.cancel_dump_traceback_later()  # the watch over this test would take a slow machine's build for a hang
    command = [sys.executable, ROOT / "tools" / "build_onefile.py", "-o", made]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return made


@pytest.fixture
def folder(tmp_path):
    """A place to run in: a contracts file, and a folder to unpack to."""
    (tmp_path / "contracts.yaml").write_text(CONTRACTS)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def alone(onefile, folder, *arguments):
    """A command of the file, which finds no Python and no package."""
    bare = {"PATH": "/nowhere", "PYTHONPATH": "", "TMPDIR": str(folder / "tmp")}
    return started(cwd=folder, command=[str(onefile), *arguments], env=bare)


@contextlib.contextmanager
def serving(onefile, folder):
    with alone(onefile, folder, "serve", "--listen", "tcp://127.0.0.1:0") as process:
        yield process, line_with(process, "listening on").split()[-1]


def test_it_serves_reloads_and_drains_as_the_installed_one_does(onefile, folder):
    file = folder / "contracts.yaml"
    with serving(onefile, folder) as (process, url):
        asked = run("ping", "--count", "1", "--url", url)
        assert asked.returncode == 0, asked.stderr
        with (
            mycelium.sync.connect(url, mycelium.load(CONTRACTS)) as client,
            client.messages(client.types.Ping) as pings,
        ):
            published = run("pub", "Ping", '{"value": "hi"}', "--url", url, cwd=folder)
            assert published.returncode == 0, published.stderr
            assert pings.next(timeout=SECONDS).value == "hi"
            file.write_text(MORE)
            line_with(process, "version 2 is in force")
            process.send_signal(signal.SIGHUP)
            line_with(process, "read again, says the same")
            file.write_text(CONTRACTS.replace("value: {type: String", "value: {type: u64"))
            line_with(process, "is not applied (incompatible); version 2 goes on")
            client.publish(client.types.Ping(value="last"), confirm=True)
            process.send_signal(signal.SIGTERM)
            line_with(process, "stopping: 1 connections")
            assert pings.next(timeout=SECONDS).value == "last"
            line_with(process, "stopped")
        assert process.wait(SECONDS) == 0
    assert not any((folder / "tmp").iterdir())


def test_whoever_is_killed_in_place_of_the_bridge_takes_it_along(onefile, folder):
    with serving(onefile, folder) as (process, url):
        process.kill()
        line_with(process, "stopped")
        assert run("ping", "--count", "1", "--url", url).returncode == 4


def test_every_command_is_there_and_those_that_start_processes_find_themselves(onefile, folder):
    with alone(onefile, folder, "demo", "--duration", "1s") as demo:
        out, err = demo.communicate(timeout=SECONDS)
        assert (demo.returncode, err) == (0, "")
        assert "lost 0" in out
    with alone(onefile, folder, "doctor", "-o", "json") as doctor:
        found = {one["name"]: one for one in json.loads(doctor.communicate(timeout=SECONDS)[0])["findings"]}
        assert found["packages"]["state"] == "ok"
        assert found["extra speed"]["state"] == "ok"
    for command in ("init", "schema", "bench", "encode"):
        with alone(onefile, folder, command, "--help") as shown:
            assert "usage: mycelium" in shown.communicate(timeout=SECONDS)[0]


def test_it_holds_no_path_of_the_machine_that_built_it(onefile):
    assert os.fsencode(ROOT) not in onefile.read_bytes()
