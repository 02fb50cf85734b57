"""The benchmark against peers runs with whatever peers are here, says which are not, and writes tables and pictures."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent.parent / "tools"


def run(tool, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(TOOLS / tool), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )


def measured(*arguments, **environment):
    done = run("bench_bus.py", *arguments, "--rounds", "1", "--json", "-", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def contenders(found):
    return {each["contender"] for each in found["results"]}


def test_peers_that_are_not_here_are_named_and_the_rest_runs(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    found = measured("idle-memory", "--only", "nats", "redis", PATH=str(empty))
    assert found["results"] == []
    assert set(found["missing"]) == {"nats", "redis"}


def test_figures_become_markdown_in_their_place_of_a_page(tmp_path):
    figures, page = tmp_path / "bench.json", tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end figures -->\nafter\n")
    found = measured("in-process", "--only", "mycelium", "--messages", "300")
    assert "mycelium" in contenders(found)
    assert found["failures"] == []
    figures.write_text(json.dumps(found))
    assert run("bench_bus.py", "--markdown", figures, "--into", page).returncode == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\nMycelium ")
    assert text.endswith("<!-- end figures -->\nafter\n")
    assert "| in-process | mycelium | rate |" in text
    assert "old" not in text


def test_a_row_that_there_is_not_is_wrong_usage():
    done = run("bench_bus.py", "nowhere")
    assert done.returncode == 2
    assert "no row nowhere; there are tcp-counter, unix-counter" in done.stderr


def test_nobody_of_the_rows_to_be_measured_alone_is_wrong_usage():
    done = run("bench_bus.py", "in-process", "--only", "blinker,nats")
    assert done.returncode == 2
    assert "nobody in these rows is called blinker,nats; there are mycelium, blinker, pyee" in done.stderr


@pytest.mark.slow
def test_every_row_runs_with_every_peer_that_is_here_and_loses_nothing():
    found = measured("--messages", "2000")
    assert found["failures"] == []
    assert contenders(found) >= {"mycelium", "relay", "handler"}
    assert all(each["max"] == 0 for each in found["results"] if each["number"] == "lost")
    assert {each["row"] for each in found["verdicts"]} >= {"iterator", "iterator-local"}


def test_pictures_are_drawn_from_figures_of_growth(tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not here")
    rows = [
        {"row": row, "contender": name, "number": "rate", "median": 10.0, "min": 9.0, "max": 12.0, "unit": "/s"}
        for name in ("mycelium", "nats")
        for row in ("payload/16", "payload/64", "subscribers/1", "subscribers/500")
    ]
    figures = tmp_path / "growth.json"
    figures.write_text(json.dumps({"results": rows}))
    done = run("plot_bench.py", figures, "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("payload", "subscribers"))


def test_pictures_need_figures_of_growth(tmp_path):
    figures = tmp_path / "bench.json"
    figures.write_text(json.dumps({"results": []}))
    done = run("plot_bench.py", figures)
    if "matplotlib cannot be imported" not in done.stderr:
        assert "has no figures of growth" in done.stderr
    assert done.returncode == 1
