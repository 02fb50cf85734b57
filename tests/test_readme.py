"""What the README says is true: its commands, its contracts and its programs, run as they stand."""

import re
import shlex
import signal
import subprocess
import sys

import pytest
from processes import ROOT, bridge, environment, started
from processes import run as run_command

import mycelium

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block(language, beginning):
    (found,) = [each for each in blocks(language) if beginning in each]
    return found


def run(folder, name, text):
    path = folder / name
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", name],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def line_of(beginning):
    (found,) = [line for line in README.splitlines() if line.startswith(beginning)]
    return found


def command_line(folder, *arguments):
    done = run_command(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "contracts.yaml").write_text(block("yaml", "# contracts.yaml"))
    return tmp_path


def test_exactly_two_commands_one_for_the_demo_and_one_for_the_tests():
    commands = blocks("sh")
    assert [command.count("\n") for command in commands] == [1, 1]
    assert commands[0].strip().endswith(".venv/bin/mycelium demo")
    assert commands[1].strip().endswith(".venv/bin/python -m pytest -q -n 2 --dist worksteal")
    assert README.index(commands[1]) < README.index("\n## ")


def test_one_program_answers_the_other(folder):
    with bridge(cwd=folder) as (_, url):
        answer, ask = (block("python", f"# {name}").replace("localhost:7777", url) for name in ("answer.py", "ask.py"))
        (folder / "answer.py").write_text(answer.replace("    print(", "    print('ready', flush=True)\n    print("))
        command = [sys.executable, "answer.py"]
        with started(cwd=folder, command=command) as answering:
            assert answering.stdout.readline() == "ready\n"
            assert run(folder, "ask.py", ask) == "re: hello from python\n"
            request = shlex.split(line_of("$ mycelium req").removeprefix("$ mycelium"))
            asked = command_line(folder, *request, "--url", url)
            assert asked == 'Pong  value="re: ?"\n'
            blocking = run(folder, "blocking.py", block("python", "# blocking.py").replace("localhost:7777", url))
            assert blocking.splitlines() == ["re: without asyncio", "Ping(value='to myself')"]


def test_the_worker_finishes_what_it_has_when_it_is_told_to_stop(folder):
    with bridge(cwd=folder) as (_, url):
        (folder / "worker.py").write_text(block("python", "# worker.py").replace("localhost:7777", url))
        with started(cwd=folder, command=[sys.executable, "worker.py"]) as worker:
            assert worker.stdout.readline() == "ready\n"
            command_line(folder, "pub", "Ping", '{"value": "x"}', "--count", "20", "--confirm", "--url", url)
            worker.send_signal(signal.SIGTERM)
            out, talk = worker.communicate(timeout=30)
            assert (worker.returncode, talk, out) == (0, "", "done: x\n" * 20)


def test_the_bus_program_runs(folder):
    text = block("python", "bus = mycelium.MessageBus(")
    text = text.replace("/tmp/mycelium.sock", f"{folder}/bus.sock")
    lines = run(folder, "bus.py", text).splitlines()
    assert "Pong(value='re: x')" in lines
    assert lines[-1].endswith(f"'unix://{folder}/bus.sock']")


def test_the_contracts_file_is_one():
    contracts = mycelium.load(block("yaml", "tlv_type: 1040"))
    assert contracts.Order.TOPIC == "market-data"
    assert contracts.Order(id=1, owner=bytes(20), side=contracts.Side.buy, price=1.5).venue == 0


def test_every_command_that_is_named_exists():
    from mycelium.cli.main import COMMANDS
    from mycelium.cli.schema import COMMANDS as SCHEMA

    named = set(re.findall(r"`mycelium ([a-z]+)", README))
    assert named <= {*COMMANDS, "schema"}
    under_schema = set(re.findall(r"mycelium schema ([a-z][a-z-]*)", README))
    assert {name.replace("-", "_") for name in under_schema} <= {*SCHEMA, "json_schema"}
