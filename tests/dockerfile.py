"""A Dockerfile without an engine: its steps, run in a scratch folder that stands for the root of the image.

Absolute paths of the image are paths below that folder; nothing else about a step is changed. Where this process may,
what the image is to run is run by the user that it names, else by this one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import define, evolve, field

IGNORED = {"LABEL", "VOLUME", "STOPSIGNAL", "EXPOSE"}
"""Instructions that do nothing to the files."""
_ROOTS = ("/opt", "/src", "/run/mycelium", "/contracts")
"""Folders of the image that its steps name."""
_PATHS = re.compile(r"(?<![\w.-])(?:(?<!/)|(?<=://))(" + "|".join(_ROOTS) + r")(?=[/\s\":\[]|$)")
_SYSTEM = "/usr/bin:/bin"


def instructions(text):
    """Pairs of a word and the rest of its line; continued lines as one, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def exec_form(rest):
    """The words of `["a", "b"]`; a shell in between would not pass signals on."""
    words = json.loads(rest)
    assert isinstance(words, list), rest
    return words


@define
class Image:
    """What a Dockerfile has made.

    Attributes:
        scratch: The folder with everything in it.
        env: Variables of its processes.
        user: Who they belong to, as a number; None for whoever runs this.
    """

    scratch: Path
    env: dict[str, str] = field(factory=dict)
    user: int | None = None
    workdir: str = "/"
    entrypoint: list[str] = field(factory=list)
    command: list[str] = field(factory=list)
    health: list[str] = field(factory=list)

    @property
    def root(self):
        return self.scratch / "root"

    def at(self, text):
        """A text of the image with its paths where they are here."""
        return _PATHS.sub(lambda found: f"{self.root}{found[1]}", text)

    def path(self, name):
        """Where a file of the image is."""
        return Path(self.at(name))

    def popen(self, words, **options):
        """Start a process of the image; its root is not writable."""
        identity = {} if self.user is None or os.getuid() else {"user": self.user, "group": self.user}
        if identity:
            identity["extra_groups"] = []
        env = {**{name: self.at(value) for name, value in self.env.items()}, **options.pop("env", {})}
        program = shutil.which(words[0], path=env["PATH"])
        assert program, f"there is no {words[0]} on {env['PATH']}"
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = [program, *map(self.at, words[1:])]
        return subprocess.Popen(words, env=env, cwd="/", text=True, **pipes, **identity, **options)


def build(dockerfile, context, ignore, scratch):
    """Run the steps of a Dockerfile.

    Args:
        dockerfile: Its text.
        context: The folder that it is built from.
        ignore: The text of its .dockerignore, which leaves everything out and takes in again what begins with `!`.
        scratch: An empty folder that every user may read.
    """
    under_way = _Build(scratch)
    for name in re.findall(r"^!(.+)$", ignore, re.MULTILINE):
        _copy(context / name, under_way.context / name)
    _python(scratch)
    for word, rest in instructions(dockerfile):
        under_way.step(word, rest)
    return under_way.image


class _Build:
    """A build that goes on; each instruction has its method."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.context = scratch / "context"
        self.image = None
        self._stages = {}
        self._stage = ""
        self._variables = {}

    def step(self, word, rest):
        if word not in IGNORED:
            getattr(self, f"_{word.lower()}")(rest)

    def _arg(self, rest):
        name, _, default = rest.partition("=")
        self._variables[name] = default

    def _from(self, rest):
        """A new root; the last stage's goes elsewhere, so that all stages have the same paths, as in an image."""
        if self.image is not None:
            self._stages[self._stage] = self.scratch / f"stage-{self._stage}"
            self.image.root.rename(self._stages[self._stage])
        base, _, self._stage = rest.partition(" AS ")
        assert base.startswith("python:"), base
        self.image = Image(self.scratch, env={"PATH": f"{self.scratch / 'base'}:{_SYSTEM}"})
        self.image.root.mkdir()

    def _workdir(self, rest):
        self.image = evolve(self.image, workdir=rest)
        self.image.path(rest).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest):
        source, words = self.context, rest.split()
        if words[0].startswith("--from="):
            source = self._stages[words.pop(0).removeprefix("--from=")]
        *names, target = words
        into = self.image.path(os.path.join(self.image.workdir, target))  # noqa: PTH118  paths of the image
        for name in names:
            found = source / name.lstrip("/")
            _copy(found, into / found.name if target.endswith("/") and found.is_file() else into)

    def _run(self, rest):
        image = self.image
        for name, value in self._variables.items():
            rest = rest.replace(f"${{{name}}}", value)
        if os.getuid():
            rest = re.sub(r"-o \d+ -g \d+", "", rest)  # only root gives files away
        inherited = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HTTP", "SSL"))}
        env = {**inherited, **{name: image.at(value) for name, value in image.env.items()}, "HOME": str(self.scratch)}
        command = ["/bin/sh", "-c", image.at(rest)]
        ran = subprocess.run(command, cwd=image.path(image.workdir), env=env, capture_output=True, check=False)
        assert ran.returncode == 0, f"{rest}\n{ran.stderr.decode()}"

    def _env(self, rest):
        for name, value in re.findall(r"(\w+)=(\S+)", rest):
            self.image.env[name] = value.replace("${PATH}", self.image.env["PATH"])

    def _user(self, rest):
        self.image = evolve(self.image, user=int(rest.partition(":")[0]))

    def _healthcheck(self, rest):
        self.image = evolve(self.image, health=exec_form(rest[rest.index("CMD") + 3 :]))

    def _entrypoint(self, rest):
        self.image = evolve(self.image, entrypoint=exec_form(rest))

    def _cmd(self, rest):
        self.image = evolve(self.image, command=exec_form(rest))


def _python(scratch):
    """What `FROM python` brings: an interpreter that every user may run."""
    (scratch / "base").mkdir()
    others = {} if os.getuid() else {"user": 65534, "group": 65534, "extra_groups": []}
    code = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    for candidate in (os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            ran = subprocess.run([candidate, "-c", code], capture_output=True, cwd="/", check=False, **others)
        except OSError:
            continue
        if ran.returncode == 0:
            (scratch / "base" / "python").symlink_to(candidate)
            return
    raise AssertionError("no interpreter here can be run by another user")


def _copy(source, target):
    assert source.exists(), f"{source} is not there"
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True, ignore=unwanted)
    else:
        shutil.copy2(source, target)
