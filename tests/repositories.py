"""Scratch git repositories with a contract, and commands that run in them."""

import argparse
import contextlib
import importlib
import io
import json
import os
import subprocess
from typing import NamedTuple

import pytest

OLD = """\
# The feed of quotes.
schema: {id: 0x10, version: 1, min_compatible: 1}
messages:
  Quote:
    tlv_type: 1001
    domain: Market
    fields:
      price: {type: u64}   # cents
      size:
        # shares
        type: u32
"""
INSERTED = OLD.replace("      size:", "      lot: {type: u32, optional: true}\n      size:").replace(
    "n: 1, m", "n: 2, m"
)
REQUIRED = OLD.replace("n: 1, m", "n: 2, m") + "      venue: {type: u16}\n"
COMMANDS = ("check", "diff", "lock", "accept", "bump", "pin_tags", "rules", "explain", "compat")


def command(arguments):
    """Run a command in this process; the exit code."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for name in COMMANDS:
        importlib.import_module(f"mycelium.cli.schema_{name}").add_parser(commands)
    try:
        parsed = parser.parse_args(arguments)
        return parsed.func(parsed)
    except SystemExit as ended:
        return ended.code


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Repository:
    """A scratch repository with a contract on main and a feature branch."""

    def __init__(self, path):
        self.path = path
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "GITHUB_", "CI_"))}
        who = {"NAME": "Ada", "EMAIL": "ada@example.org"}
        self.environment = clean | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
        }

    def git(self, *arguments):
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, text, name="contracts.yaml"):
        (self.path / name).write_text(text)

    def commit(self, text, message, name="contracts.yaml"):
        self.write(text, name)
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def run(self, *arguments, stdin="", **environment):
        with pytest.MonkeyPatch.context() as patch, io.StringIO() as out, io.StringIO() as err:
            for name in [name for name in os.environ if name not in self.environment]:
                patch.delenv(name)
            for name, value in (self.environment | environment).items():
                patch.setenv(name, value)
            patch.chdir(self.path)
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = command(arguments)
            return Ended(code, out.getvalue(), err.getvalue())

    def json(self, *arguments, **environment):
        done = self.run(*arguments, "--format", "json", **environment)
        return done.returncode, json.loads(done.stdout)

    def apply(self, patch):
        subprocess.run(["patch", "-p1", "-s"], cwd=self.path, input=patch, text=True, check=True)
