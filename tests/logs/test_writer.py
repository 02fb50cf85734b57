"""Lines that nobody reads keep nobody from working, and none is lost where somebody does."""

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from processes import SECONDS, call, environment, mycelium, run

import mycelium as package
from mycelium.logs import Writer

PIPE_BYTES = 4096


@pytest.fixture
def pipe():
    """A pipe that holds little: its reading end, and a stream for the other one."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "w") as stream:
        yield source, stream


def log_to(writer, number):
    record = logging.makeLogRecord({"msg": "line %d %s", "args": (number, "x" * 100), "levelno": logging.INFO})
    writer.handle(record)


def stuff(stream):
    """Fill the pipe behind a stream."""
    os.set_blocking(stream.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stream.fileno(), b"\n" * 512)
    os.set_blocking(stream.fileno(), True)


def read_until(source, text):
    """Everything up to a text."""
    found = b""
    while text not in found:
        found += source.read(65536)
    return found.decode()


def test_a_reader_that_is_stuck_holds_up_nobody_and_what_was_lost_is_counted(pipe):
    source, stream = pipe
    stuff(stream)
    writer = Writer(stream, most=20)
    before = time.monotonic()
    for number in range(200):
        log_to(writer, number)
    assert time.monotonic() - before < SECONDS / 3  # it waited for nothing
    lost, texts = writer.dropped, read_until(source, b"line 0 ")
    assert lost in (179, 180)  # one may be on its way
    while writer._lines.qsize():
        texts += source.read(65536).decode()
    log_to(writer, 999)
    texts += read_until(source, b"line 999 ")
    assert f"{lost} lines were not written, since nobody read the ones before\nline 999 " in texts
    told = [int(line.split()[1]) for line in texts.splitlines() if line.startswith("line ")]
    assert len(told) == 200 - lost + 1
    assert told[:20] == [*range(20)]


def test_the_last_line_waits_for_its_reader_a_moment_but_not_for_ever(pipe):
    _, stream = pipe
    stuff(stream)
    writer = Writer(stream)
    log_to(writer, 1)
    before = time.monotonic()
    for _ in range(50):
        writer.flush()
    assert time.monotonic() - before < SECONDS / 3


def test_a_reader_that_is_gone_is_no_error(pipe):
    source, stream = pipe
    writer = Writer(stream)
    source.close()
    for number in range(3):
        log_to(writer, number)
    writer.flush()
    assert writer.dropped == 3


def test_a_pipe_that_does_not_block_gets_every_line(pipe):
    source, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = Writer(stream)
    for number in range(200):
        log_to(writer, number)
    texts = read_until(source, b"line 199 x")
    assert texts.count("line ") == 200
    assert writer.dropped == 0


def test_threads_may_log_at_the_same_time(pipe):
    source, stream = pipe
    writer = Writer(stream)
    threads = [threading.Thread(target=lambda: [log_to(writer, one) for one in range(50)]) for _ in range(4)]
    for one in threads:
        one.start()
    texts = b""
    while texts.count(b"\n") < 200:
        texts += source.read(65536)
    for one in threads:
        one.join()
    assert all(line.startswith(b"line ") for line in texts.splitlines())


PROGRAM = """
import logging, mycelium.logs
mycelium.logs.configure("json")
for number in range(500):
    logging.getLogger("app").info("line %d", number)
"""


def told_by(program):
    """The messages of a program's log lines."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )
    return [json.loads(line)["message"] for line in done.stderr.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0", "import os; os.kill(os.getpid(), 2)"])
def test_everything_is_written_when_the_program_ends_however_it_ends(ending):
    assert told_by(PROGRAM + ending) == [f"line {number}" for number in range(500)]


def test_a_child_that_was_forked_writes_too():
    fork = "import os\npid = os.fork()\nlogging.getLogger('app').info('fork %d', pid == 0)\nif pid: os.wait()"
    assert sorted(one for one in told_by(PROGRAM + fork) if "fork" in one) == ["fork 0", "fork 1"]


async def test_a_bridge_whose_standard_error_is_stuck_goes_on_and_ends_in_time(contracts, tmp_path, pipe):
    _, stream = pipe
    stuff(stream)
    url = f"unix://{tmp_path}/bus.sock"
    command = mycelium("serve", "--listen", url, "--log-format", "json", "--log-level", "debug")
    bridge = subprocess.Popen(command, stderr=stream, env=environment())  # noqa: ASYNC220
    try:
        for _ in range(10):  # each is a few lines of log, for which there is no room
            client = package.MyceliumClient(contracts, timeout=SECONDS)
            await client.connect(url, retry_first=True)
            async with client, client.messages(contracts.Ping) as pings:
                await client.publish(contracts.Ping("x"))
                assert await pings.next(timeout=SECONDS) == contracts.Ping("x")
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(SECONDS) == 0
    finally:
        bridge.kill()
        bridge.wait()


def test_what_keeps_a_bridge_from_starting_is_a_line_too(tmp_path):
    missing = run("serve", tmp_path / "none.yaml", "--log-format", "json")
    (line,) = missing.stderr.splitlines()
    facts = json.loads(line)
    assert missing.returncode == 4
    assert (facts["event"], facts["level"], facts["error_type"]) == (
        "server.config_error",
        "critical",
        "ContractNotFound",
    )
    assert facts["hint"] == "name one on the command line, or set MYCELIUM_CONTRACTS"


def test_a_command_that_is_called_in_a_program_leaves_its_logging_as_it_was():
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.enumerate(), warnings.showwarning
    assert call("serve", "none.yaml", "--log-format", "json").returncode == 4
    assert before == (root.handlers, root.level, sys.excepthook, threading.enumerate(), warnings.showwarning)
