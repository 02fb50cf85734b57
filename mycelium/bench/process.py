"""A process of the benchmark as its starter sees it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn, final

from mycelium.bench.errors import ProcessFailed

__all__ = ["Process", "cpu_seconds", "interrupt_on_sigterm", "memory_bytes", "started"]

_SECONDS: Final = 120.0
"""How long a process may take for anything; it is there for hangs."""
_ENDING_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 2.0
_CHUNK: Final = 65536
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM)
_KIBIBYTE: Final = 1024


@final
class Process:
    """One that was started here.

    Args:
        name: For people.
        made: The process itself, with pipes for all that it reads and says.
        talk: Which of its outputs is read.
    """

    def __init__(self, name: str, made: subprocess.Popen[bytes], talk: IO[bytes]) -> None:
        self.name = name
        self._made = made
        self._talk = talk
        self._rest = b""
        self._ignoring: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Its id."""
        return self._made.pid

    def say(self, word: str = "go") -> None:
        """Write a line to it."""
        assert self._made.stdin is not None  # noqa: S101  it was started with pipes
        self._made.stdin.write(f"{word}\n".encode())
        self._made.stdin.flush()

    def line(self, seconds: float = _SECONDS) -> str:
        """What it says next.

        Raises:
            ProcessFailed: It has ended, or says nothing.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._talk], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise ProcessFailed(self.name, f"it said nothing for {seconds:g} s")
            more = os.read(self._talk.fileno(), _CHUNK)
            if not more:
                raise ProcessFailed(self.name, f"it ended with code {self._made.wait(_ENDING_SECONDS)}")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")

    def line_with(self, text: str) -> str:
        """The next line that contains a text; see `line`."""
        while text not in (line := self.line()):
            pass
        return line

    def facts(self) -> dict[str, Any]:
        """What it reports next; see `line`."""
        read: dict[str, Any] = json.loads(self.line())
        return read

    def ignore(self) -> None:
        """Listen no more: whatever else it says is read and forgotten, so that it never waits for a reader."""

        def read() -> None:
            while os.read(self._talk.fileno(), _CHUNK):
                pass

        self._ignoring = threading.Thread(target=read, daemon=True)
        self._ignoring.start()

    def end(self, grace: float) -> None:
        """Let it end: its input ends, after some seconds it gets a SIGTERM, and it is killed when it takes long."""
        assert self._made.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._made.stdin.close()
        for seconds, insist in ((grace, self._made.terminate), (_ENDING_SECONDS, self._made.kill)):
            try:
                self._made.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                insist()
        self._made.wait()
        if self._ignoring is not None:
            self._ignoring.join()
        self._talk.close()


def _popen(command: Sequence[str], env: Mapping[str, str], talks_on_stderr: bool) -> subprocess.Popen[bytes]:
    words = [sys.executable if word == "python" and not place else word for place, word in enumerate(command)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYCELIUM_")}
    pipe, devnull = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603  the commands are ours
        words,
        stdin=pipe,
        stdout=devnull if talks_on_stderr else pipe,
        stderr=pipe if talks_on_stderr else None,
        env={**kept, **env},
        start_new_session=True,  # Ctrl-C is for the command, which ends its processes in order
    )


@contextlib.contextmanager
def started(
    name: str,
    command: Sequence[str],
    *,
    talks_on_stderr: bool = False,
    env: Mapping[str, str] | None = None,
    grace: float = _GRACE_SECONDS,
) -> Iterator[Process]:
    """A process for the time of the block.

    Args:
        name: For people.
        command: What is run; the first word `python` is this interpreter.
        talks_on_stderr: Read that in place of standard output, which is thrown away.
        env: Additions to the environment.
        grace: Seconds that it has after its input ended, before a SIGTERM; 0 for those that do not read any.
    """
    let_go = _hold_interrupts()
    try:
        made = _popen(command, env or {}, talks_on_stderr)
    except BaseException:
        let_go()
        raise
    talk = made.stderr if talks_on_stderr else made.stdout
    assert talk is not None  # noqa: S101  it is a pipe
    process = Process(name, made, talk)
    try:
        let_go()
        yield process
    finally:
        process.end(grace)


def cpu_seconds(processes: Iterable[Process]) -> float | None:
    """What processes have computed so far, all threads added; None where that cannot be asked for."""
    try:
        return sum(time.clock_gettime(_cpu_clock(process.pid)) for process in processes)
    except OSError:
        return None


def _cpu_clock(pid: int) -> int:
    """The clock of another process, as Linux composes it (clock_getcpuclockid(3), CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2


def memory_bytes(process: Process) -> int | None:
    """What a process occupies in memory; None where there is no /proc."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * _KIBIBYTE


def _hold_interrupts() -> Callable[[], None]:
    """Have Ctrl-C wait until a function is called: it must not come between a process and whoever will end it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    arrived: list[int] = []
    usual = {each: signal.signal(each, lambda number, _: arrived.append(number)) for each in _INTERRUPTS}

    def let_go() -> None:
        for each, handler in usual.items():
            signal.signal(each, handler)
        for number in arrived:
            signal.raise_signal(number)

    return let_go


def interrupt_on_sigterm() -> None:
    """Have a SIGTERM end this program as Ctrl-C does, so that the processes that it started are ended."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
