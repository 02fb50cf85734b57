"""The fuzzer finds what is planted, tells how to see it again, and finds nothing in the product."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent.parent / "tools"


@pytest.fixture
def fuzz(monkeypatch):
    """The tool as a module, its imports and its table of targets put back afterwards."""
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("fuzz_wire", TOOLS / "fuzz_wire.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz_wire", module)
    spec.loader.exec_module(module)
    return module


def plant(fuzz, monkeypatch, check):
    """A target of its own in place of all others."""
    target = fuzz.Target("planted", lambda: None, lambda _, rng: rng.randbytes(4), check)
    monkeypatch.setattr(fuzz, "TARGETS", {"planted": target})


def run(fuzz, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fuzz_wire.py", *arguments])
    return fuzz.main()


def even_first_byte(_, data):
    if data and data[0] % 2 == 0:
        raise KeyError(data[0])
    return f"{len(data)} bytes"


@pytest.mark.parametrize("target", ["decoder", "connection", "rust", "settings", "socket"])
def test_each_target_stands_some_fire(target):
    command = [sys.executable, str(TOOLS / "fuzz_wire.py"), "--seed", "1", "--count", "300", "--target", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 inputs" in done.stdout


def test_what_escapes_is_a_finding_with_a_command_that_shows_it_again(fuzz, monkeypatch, capsys):
    plant(fuzz, monkeypatch, even_first_byte)
    assert run(fuzz, monkeypatch, "--seed", "3", "--count", "100") == 1
    said = capsys.readouterr().out
    assert "KeyError" in said
    data = said.split("--input ")[1].strip()
    assert run(fuzz, monkeypatch, "--target", "planted", "--input", data) == 1
    assert run(fuzz, monkeypatch, "--target", "planted", "--input", "01") == 0


def test_the_same_seed_makes_the_same_inputs(fuzz, monkeypatch, capsys):
    seen = []
    plant(fuzz, monkeypatch, lambda _, data: seen.append(data) or str(data))
    for _ in range(2):
        assert run(fuzz, monkeypatch, "--seed", "3", "--count", "50") == 0
    assert seen[:50] == seen[50:]
    assert len(set(seen)) > 25


def test_a_corpus_is_kept_and_run_first(fuzz, monkeypatch, tmp_path, capsys):
    plant(fuzz, monkeypatch, lambda _, data: f"{len(data)} bytes")
    assert run(fuzz, monkeypatch, "--seed", "3", "--count", "200", "--corpus", str(tmp_path)) == 0
    kept = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(kept) > 1
    seen = []
    plant(fuzz, monkeypatch, lambda _, data: seen.append(data) or "same")
    assert run(fuzz, monkeypatch, "--seed", "3", "--count", "1", "--corpus", str(tmp_path)) == 0
    assert set(seen[:-1]) == kept


def test_an_input_that_takes_too_long_is_a_finding(fuzz, monkeypatch, capsys):
    plant(fuzz, monkeypatch, lambda *_: "")
    monkeypatch.setattr(fuzz, "SLOWEST", -1.0)
    assert run(fuzz, monkeypatch, "--seed", "3", "--count", "1") == 1
    assert "took" in capsys.readouterr().out
