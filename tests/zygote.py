"""Programs and commands of examples as processes that are there at once: forked from one that has imported everything.

`Zygote` is the side of the tests. Run as a script, this file is the process that forks; it reads a request (JSON, with
the descriptors of standard input, of the output and of a pipe for what becomes of it) and goes on as that program: exit
code, signals, threads and atexit are what they are for any process, only the imports are there already.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import warnings

PRELOADED = (
    "asyncio",
    "cattrs",
    "mycelium.bus.sync",
    "mycelium.cli.failures",
    "mycelium.cli.main",
    "mycelium.cli.output",
    "mycelium.cli.schema",
    "mycelium.cli.serve",
    "mycelium.cli.serving",
    "mycelium.cli.pub",
    "mycelium.cli.req",
    "mycelium.cli.sub",
    "mycelium.schema.compat.text_report",
    "mycelium.schema.converter",
    "mycelium.testing.serving",
    "mycelium.proof",
    "rich.console",
    "watchfiles",
)
_MOST = 1 << 20
SECONDS = 30
"""How long anything may take; it is there for hangs, not for timing."""


# --- the side of the tests -------------------------------------------------------------------------------------------


class Zygote:
    """The process that forks; ends with the block."""

    def __init__(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        with theirs:
            command = [sys.executable, "-W", "error", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()
        self._process.wait(SECONDS)

    def start(self, argv, cwd, env):
        """Begin `python ARGV` in a folder."""
        request = json.dumps({"argv": [str(each) for each in argv], "cwd": str(cwd), "env": env}).encode()
        (stdin_read, stdin), (output, output_write), (fate, fate_write) = os.pipe(), os.pipe(), os.pipe()
        socket.send_fds(self._channel, [request], [stdin_read, output_write, fate_write])
        for descriptor in (stdin_read, output_write, fate_write):
            os.close(descriptor)
        told = os.fdopen(fate)
        return Running(int(told.readline()), lambda: int(told.read()), output, os.fdopen(stdin, "w"), told)


class Interpreter:
    """Starts programs with a Python of its own, such as that of a virtual environment."""

    def __init__(self, python):
        self._python = python

    def start(self, argv, cwd, env):
        """Begin `python ARGV` in a folder."""
        output, write = os.pipe()
        command = [self._python, *argv]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=write, stderr=write, text=True, cwd=cwd, env=env
        )
        os.close(write)
        return Running(process.pid, lambda: process.wait(SECONDS), output, process.stdin)


class Running:
    """A program; its output and its errors are one stream, as they are on a terminal."""

    def __init__(self, pid, wait, output, stdin, *others):
        self.pid, self._wait, self._output, self.stdin, self._others = pid, wait, output, stdin, others
        self.text = ""
        """What it has said so far."""
        self.shown = 0
        """How much of that the page has shown."""
        self.passing = False
        """Whether the page has left out something behind that."""
        self._code = None

    def read(self, until, what):
        """Read its output until a function of it is true, or the output ends."""
        deadline = time.monotonic() + SECONDS
        while not until(self.text):
            ready, _, _ = select.select([self._output], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{what} did not come within {SECONDS} s, but:\n{self.text}"
            data = os.read(self._output, _MOST)
            if not data:
                return
            self.text += data.decode()

    def finish(self):
        """Close its input, wait for its end, and return the exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.read(lambda _: False, "the end")
        if self._code is None:
            self._code = self._wait()
        return self._code

    def stop(self):
        """End it if it still runs."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self.finish()
        for file in self._others:
            file.close()
        os.close(self._output)


# --- the process that forks ------------------------------------------------------------------------------------------


def wait_for_work(channel):
    """Wait for requests, and fork for each; returns in the child, with the request. None: nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's concern
    while True:
        text, descriptors, _, _ = socket.recv_fds(channel, _MOST, 3)
        if not text:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel.close()
            begin(*descriptors)
            return json.loads(text)
        for descriptor in descriptors:
            os.close(descriptor)


def begin(stdin, output, fate):
    """Fork once more: the child, which returns, is the program, and this process tells its number and its end."""
    pid = os.fork()
    if pid:
        for descriptor in (stdin, output):
            os.close(descriptor)  # else the pipes would never end
        with os.fdopen(fate, "w", buffering=1) as told:
            print(pid, file=told)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), file=told)
        os._exit(0)
    os.close(fate)
    for number, descriptor in enumerate((stdin, output, output)):
        os.dup2(descriptor, number)
    for descriptor in (stdin, output):
        os.close(descriptor)


def become(request):
    """Go on as `python ARGV`."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)
    warnings.simplefilter("error")
    time.tzset()
    argv = request["argv"]
    sys.path[0] = request["cwd"]
    sys.orig_argv = [sys.executable, *argv]
    if argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    for module in PRELOADED:
        importlib.import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        work = wait_for_work(asked)
    if work is not None:
        become(work)
