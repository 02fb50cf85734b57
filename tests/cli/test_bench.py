"""`mycelium bench`: real processes, few messages, never a word about how fast."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import SECONDS, call, run, started

from mycelium.bench.places import PLACES
from mycelium.cli.bench import _PLACES


def figures(text):
    return {(each["place"], each["what"], each["number"]): each for each in json.loads(text)["results"]}


@pytest.mark.slow
def test_through_a_bridge_it_measures_throughput_latency_and_round_trips_and_loses_nothing(tmp_path):
    shown = run("bench", "unix", "--rounds", "1", "--messages", "300", "--rate", "3000", "--json", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    found = figures(shown.stdout)
    assert found["unix", "throughput", "rate"]["median"] > 0
    assert found["unix", "throughput", "lost"]["max"] == 0
    for what in ("latency at 3,000/s", "request and reply"):
        p50, p99, p99_9 = (found["unix", what, name]["median"] for name in ("p50", "p99", "p99_9"))
        assert 0 < p50 <= p99 <= p99_9
    assert json.loads(shown.stdout)["failures"] == []


@pytest.mark.slow
def test_inside_a_process_it_measures_handlers_and_iterators():
    found = figures(run("bench", "local", "--rounds", "1", "--messages", "300", "--json").stdout)
    assert {what for _, what, _ in found} == {"publish_nowait to a handler", "publish to an async handler", "async for"}
    assert all(each["median"] == 0 for (_, _, number), each in found.items() if number == "lost")


def test_the_codec_is_a_table_for_people():
    shown = call("bench", "codec", "--rounds", "1")
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["place", "what", "number", "median", "min", "max", "unit"]
    assert [line.split()[-1] for line in lines] == ["ns"] * 4


def test_a_place_that_there_is_not_is_wrong_usage():
    shown = call("bench", "nowhere")
    assert shown.returncode == 2
    assert shown.stderr == "mycelium: no place nowhere\n  try: one of local, unix, tcp, codec, or none for all\n"


def test_the_help_names_every_place():
    assert tuple(PLACES) == _PLACES
    assert "of local, unix, tcp, codec" in call("bench", "--help").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists children")
@pytest.mark.slow
def test_ctrl_c_ends_its_processes():
    with started("bench", "tcp", "--messages", "100000000") as process:
        children = until(lambda: found if len(found := children_of(process.pid)) == 3 else None)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert not any(is_running(child) for child in children)


def until(ask):
    """What a question has for an answer, asked again until it has one."""
    deadline = time.monotonic() + SECONDS
    while (found := ask()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
