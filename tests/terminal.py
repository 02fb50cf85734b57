"""Runs the examples of a page, in its order and in one folder, as a reader would in a few terminals.

Programs and commands of this project are forked from a process that has imported everything; whatever else is on a
command line goes through bash. A bridge listens on any free port, and what the page says of port 7777 is about that.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from pages import ROOT
from zygote import SECONDS

_PORT, _HTTP_PORT = 7777, 7778
_PLACES = {_PORT: r"listening on t[cl][ps]://[\d.]+:(\d+)", _HTTP_PORT: r"http://127\.0\.0\.1:(\d+)"}
"""Ports of the pages, and how a bridge says where it is in truth."""
_ELSEWHERE = "bus.example.com"
_SHELL = set("|<>;&$`*?{}()")
_SNIPPETS = Path(__file__).parent / "snippets.py"
_SOMEBODY = {"NAME": "Somebody", "EMAIL": "somebody@example.org", "DATE": "2030-01-01T12:00:00Z"}
_ENVIRONMENT = {
    "CI": "1",  # has Hypothesis be patient
    "COLUMNS": "100",
    "HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis"),  # with tables that are slow to make
    "LANG": "C.UTF-8",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # else their modules are rewritten, which takes longer than all the rest
    "PYTHONUNBUFFERED": "1",
    "SOURCE": str(ROOT),
    "TZ": "UTC",
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _SOMEBODY.items()},
}
"""Nothing of whoever runs the tests."""
_MARK = "\x1e"
_TIME = re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b")
_END = re.compile(f"{_MARK}.*\n")


class Terminal:
    """Where a page's examples run.

    Args:
        starter: What starts Python programs: a Zygote or an Interpreter.
        folder: Theirs, an empty one.
        python: The interpreter where a command line needs a shell.
        library: Where `mycelium` is found; empty where it is installed.
        http: The place where bridges answer HTTP; empty for their default.
    """

    def __init__(self, starter, folder, python=sys.executable, library=ROOT, http="off"):
        self._starter, self._folder, self._interpreter = starter, folder, python
        self._ports = {}
        self._raw = {}
        self._running = {}
        self._snippets = None
        self._code = 0
        tools = folder.parent / f"{folder.name}-tools"
        self._tools = {tools / "mycelium": "-m mycelium", tools / "python": ""}
        self._env = {
            **_ENVIRONMENT,
            "HOME": str(folder),
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(library),
            **({"MYCELIUM_HTTP": http} if http else {}),
        }

    def __enter__(self):
        for path, module in self._tools.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec "{self._interpreter}" -W error {module} "$@"\n')
            path.chmod(0o755)
        return self

    def __exit__(self, *_):
        if self._snippets is not None:
            self._snippets.stop()
        for running in reversed(self._running.values()):
            running.stop()

    # --- examples ---

    def run(self, example):
        """Run one example."""
        if example.note.startswith("skip: "):
            return
        if example.name is not None:
            self._write(example)
        else:
            getattr(self, f"_{example.language}")(example)

    def _write(self, example):
        path = self._folder / example.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._raw[path] = example.text
        self._place(path)

    def _python(self, example):
        if self._snippets is None:
            self._snippets = self._starter.start([_SNIPPETS], self._folder, self._env)
        kind = "session" if example.language == "pycon" else "block"
        print(json.dumps([kind, self._local(example.text), example.line]), file=self._snippets.stdin, flush=True)
        begin = len(self._snippets.text)
        self._snippets.read(lambda text: _END.search(text, begin), "the end of the block")
        said, mark, answer = self._snippets.text[begin:].partition(_MARK)
        assert mark, said
        assert not said, said
        problem = json.loads(answer)
        assert not problem, f"\n{example.text}\n{problem}"

    _pycon = _python

    def _bash(self, example):
        done = subprocess.run(
            ["bash", "-ec", self._local(example.text)],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _console(self, example):
        if example.note.startswith("more of "):
            self._expect_more(example.note.removeprefix("more of "), example.text)
            return
        parts = re.split(r"^\$ ", example.text.replace("\\\n", ""), flags=re.MULTILINE)
        assert not parts[0].strip(), f"output without a command: {parts[0]}"
        commands = [part.partition("\n") for part in parts[1:]]
        for number, (command, _, expected) in enumerate(commands, 1):
            is_last = number == len(commands)
            goes_on = command.endswith(" &") or (is_last and example.note == "goes on")
            if command == "echo $?":
                assert expected.strip() == str(self._code), f"exit code {self._code}, not {expected}"
                self._code = 0
                continue
            assert self._code == 0, f"exit code {self._code}"
            if goes_on:
                self._begin(command.removesuffix(" &"), expected)
            else:
                self._code = self._finish(command, expected)
            if is_last and example.note.startswith("exits "):
                assert self._code == int(example.note.removeprefix("exits "))
                self._code = 0
        assert self._code == 0, f"exit code {self._code}"

    # --- commands ---

    def _begin(self, command, expected):
        running = self._running[command] = self._start(command)
        if command.startswith("mycelium serve"):
            self._find(_PORT, running)
            self._env = {**self._env, "MYCELIUM_URL": f"tcp://localhost:{self._ports[_PORT]}"}
            if f":{_HTTP_PORT}" in expected:
                self._find(_HTTP_PORT, running)
        self._await(running, expected, command)

    def _expect_more(self, command, expected):
        (running,) = [each for name, each in self._running.items() if name.startswith(command)]
        self._await(running, expected, command)

    def _await(self, running, expected, command):
        """Wait until a command that goes on has said what is expected; what it says after that is for later."""

        def end(text):
            """Behind which line it is; None if it has not come."""
            lines = self._shown(text[running.shown : text.rfind("\n") + 1]).splitlines(keepends=True)
            for begin in range(len(lines) + 1 if running.passing else 1):
                for stop in range(begin, len(lines) + 1):
                    if matches(expected, "".join(lines[begin:stop])):
                        return stop
            return None

        running.read(lambda text: end(text) is not None, f"{expected!r} of {command!r}")
        stop, said = end(running.text), running.text[running.shown :]
        assert stop is not None, f"{command}\nexpected:\n{expected}\nsaid:\n{said}"
        running.shown += sum(map(len, said.splitlines(keepends=True)[:stop]))
        running.passing = expected.rstrip().endswith(("...", "…"))

    def _finish(self, command, expected):
        if command.startswith("pkill -f "):
            return self._end(command.removeprefix("pkill -f "))
        if needs_shell(command):
            done = subprocess.run(
                ["bash", "-c", self._local(command)],
                cwd=self._folder,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            text, code = done.stdout, done.returncode
        else:
            running = self._start(command)
            try:
                code, text = running.finish(), running.text
            finally:
                running.stop()
        assert matches(expected, self._shown(text)), f"$ {command}\nexpected:\n{expected}\nsaid:\n{text}"
        return code

    def _end(self, name):
        """What `pkill -f NAME` does to a command of this page that goes on."""
        (running,) = [each for command, each in self._running.items() if name in command]
        os.kill(running.pid, signal.SIGTERM)
        return 0

    def _start(self, command):
        assert not needs_shell(command), f"{command} goes on, and needs a shell"
        first, *rest = shlex.split(self._local(command))
        return self._starter.start(["-m", "mycelium", *rest] if first == "mycelium" else rest, self._folder, self._env)

    # --- ports ---

    def _find(self, port, running):
        """Learn where a bridge is that a page has at a port."""
        running.read(lambda text: re.search(_PLACES[port], text), f"that the bridge is at {port}")
        found = re.search(_PLACES[port], running.text)
        assert found, running.text
        self._ports[port] = int(found[1])
        for path in self._raw:
            self._place(path)

    def _place(self, path):
        text = self._local(self._raw[path])
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    def _local(self, text):
        """What a reader types, for the ports that there are; a bridge takes any that are free."""
        if text.startswith("mycelium serve"):
            return text.replace(f":{_PORT}", ":0") + ("" if "--listen" in text else " --listen tcp://127.0.0.1:0")
        if f":{_HTTP_PORT}" in text and _HTTP_PORT not in self._ports:
            (bridge,) = [running for command, running in self._running.items() if command.startswith("mycelium serve")]
            self._find(_HTTP_PORT, bridge)
        for port, real in self._ports.items():
            text = text.replace(f":{port}", f":{real}")
        return text.replace(_ELSEWHERE, "localhost")

    def _shown(self, text):
        for port, real in self._ports.items():
            text = text.replace(f":{real}", f":{port}")
        return text.replace(str(self._folder), "…")


def needs_shell(command):
    """Whether a command line is more than a program of this project and its arguments."""
    return command.split()[0] not in {"mycelium", "python"} or not _SHELL.isdisjoint(re.sub(r"'[^']*'", "", command))


def matches(expected, got):
    """Whether output is what the page shows; `…` and `...` stand for anything in a line, alone for any lines."""
    pattern = "".join(_pattern(line) for line in _lines(expected))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(got))) is not None


def _pattern(line):
    return r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"


def _lines(text):
    """Without what is never the same: times of day, and white space at the end of lines."""
    plain = _TIME.sub("00:00:00.000", text).replace("…", "...")
    return [line.rstrip() for line in plain.strip().splitlines()]
