"""`mycelium init`: what it writes runs, and its own test passes."""

import re
import subprocess
import sys

import pytest
from processes import SECONDS, bridge, call, environment, started

from mycelium.cli.init import FILES


def run(folder, *command):
    argv = [sys.executable, *command]
    return subprocess.run(
        argv, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    parent = tmp_path_factory.mktemp("init")
    shown = call("init", "sensors", cwd=parent)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "  cd sensors\n" in shown.stdout
    assert {path.name for path in (parent / "sensors").iterdir()} == set(FILES)
    return parent / "sensors"


def test_the_application_runs_with_a_bridge_of_its_own(folder):
    ran = run(folder, "-W", "error", "app.py")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "ALARM oven: 63.5 °C is too hot"


def test_the_application_runs_over_another_bridge_where_others_listen(folder):
    with bridge(cwd=folder) as (_, url), started("sub", "Alarm", "--count", "1", "--url", url, cwd=folder) as listener:
        assert "subscribed" in listener.stderr.readline()
        assert run(folder, "app.py", url).returncode == 0
        assert listener.stdout.readline() == 'Alarm  sensor="oven"  text="63.5 °C is too hot"\n'


def test_its_test_passes_with_nothing_but_pytest(folder):
    ran = run(folder, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


def test_linters_and_type_checkers_have_nothing_to_say(folder):
    assert call("schema", "stubs", "contracts.yaml", "-o", "messages.pyi", cwd=folder).returncode == 0
    assert call("schema", "lint", cwd=folder).stdout.endswith("contracts.yaml: no faults, no findings\n")
    for tool in ("ruff check --isolated", "ruff format --check --isolated --line-length 120"):
        ran = run(folder, "-m", *tool.split(), "--no-cache", ".")
        assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_is_there_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    shown = call("init", cwd=tmp_path)
    assert shown.returncode == 1
    assert f"{name} in {tmp_path} would be overwritten" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    shown = call("init", "taken", cwd=tmp_path)
    assert (shown.returncode, "taken is a file" in shown.stderr) == (2, True)


def test_every_application_has_a_protocol_of_its_own(tmp_path):
    for name in ("one", "two"):
        assert call("init", name, cwd=tmp_path).returncode == 0
    ids = [
        re.search("id: (0x[0-9a-f]{8}),", (tmp_path / name / "contracts.yaml").read_text())[1]
        for name in ("one", "two")
    ]
    assert ids[0] != ids[1]
