"""The command as a user runs it: real processes, waited for by what they say and ended by their id."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from mycelium.cli.main import main

ROOT = Path(__file__).parent.parent
SECONDS = 30
"""How long anything may take; it is there for hangs, not for timing."""


def mycelium(*arguments):
    """The command line of `mycelium` with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "mycelium", *map(str, arguments)]


def environment(**changes):
    """The environment without any setting of a user's own; bridges that run side by side need no HTTP on one port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYCELIUM_")}
    return {**kept, "PYTHONUNBUFFERED": "1", "MYCELIUM_HTTP": "off", **changes}


def run(*arguments, input="", cwd=ROOT, env=None):  # noqa: A002  subprocess calls it so
    """Run a command to its end."""
    return subprocess.run(
        mycelium(*arguments),
        input=input,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**(env or {})),
        timeout=SECONDS,
        check=False,
    )


def call(*arguments, input="", cwd=ROOT, env=None):  # noqa: A002
    """Run a command to its end inside this process, where a process of its own would prove nothing more."""
    argv = [str(each) for each in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _process_state(io.StringIO(input), ["mycelium", *argv], environment(**(env or {}))),
        warnings.catch_warnings(),
        contextlib.chdir(cwd),
    ):
        try:
            code = main(argv)
        except SystemExit as exit_:
            code = exit_.code or 0
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _process_state(stdin, argv, variables):
    """Standard input, arguments and environment as a process of its own would have them."""
    before = sys.stdin, sys.argv, dict(os.environ)
    sys.stdin, sys.argv = stdin, argv
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        sys.stdin, sys.argv, kept = before
        os.environ.clear()
        os.environ.update(kept)


@contextlib.contextmanager
def started(*arguments, cwd=ROOT, env=None, command=None):
    """A command of `mycelium`, or another command line, that goes on; ended when the block ends."""
    process = subprocess.Popen(
        command or mycelium(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(**(env or {})),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def line_with(process, text):
    """Read the talk of a process up to the line that contains a text."""
    seen = []
    for line in process.stderr:
        if text in line:
            return line.strip()
        seen.append(line)
    raise AssertionError(f"{text!r} was never said, but: {''.join(seen)}")


@contextlib.contextmanager
def bridge(*arguments, listen="tcp://127.0.0.1:0", cwd=ROOT):
    """A running `mycelium serve` and its URL."""
    with started("serve", *arguments, "--listen", listen, cwd=cwd) as process:
        yield process, line_with(process, "listening on").split()[-1]


def stop(process):
    """SIGTERM, and the exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(SECONDS)
