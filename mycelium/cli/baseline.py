"""What a contract is compared with: files, standard input, git, the lockfile."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from mycelium.cli.git import Git, GitError
from mycelium.errors import MyceliumError
from mycelium.schema.compat.lockfile import Lock, LockError, read_lock
from mycelium.schema.compat.scope import Tombstones
from mycelium.schema.errors import ContractError
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_text

__all__ = ["LOCKFILE", "Baseline", "BaselineError", "Baselines", "InvalidContract", "default_spec", "find_baselines"]

LOCKFILE: Final = "contracts.lock"
KEYWORDS: Final = ("lock", "git:", "merge-base:", "tag:")
"""What `--against` values begin with that are no paths."""
_BRIDGES: Final = ("tcp://", "unix://", "tls://")
_TARGETS: Final = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
"""Where continuous integration says which branch a change is for: GitHub, GitLab."""


class BaselineError(MyceliumError):
    """There is nothing to compare with; `absent` where a place was found and has no such file."""

    def __init__(self, what: str, why: str, remedy: str, *, absent: bool = False) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.absent = absent

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.remedy}"


class InvalidContract(MyceliumError):
    """One side of a comparison is no contract; says which."""

    def __init__(self, side: str, name: str, error: ContractError) -> None:
        super().__init__(side, name, error)
        self.side = side
        self.name = name
        self.error = error

    def __str__(self) -> str:
        return f"the {self.side} contract ({self.name}) is invalid:\n{self.error}"


@frozen
class Baseline:
    """One contract of the past."""

    label: str
    """`merge-base:main (3f1c9ab)`."""
    schema: Schema
    tombstones: Tombstones = field(factory=Tombstones)
    clients: Mapping[str, Schema] = field(factory=dict)
    """Who is connected to the bridge that this is from, and the contracts that each goes by."""


@frozen
class Baselines:
    """The contract to compare with, and older ones."""

    previous: Baseline
    older: tuple[Baseline, ...] = ()
    """Oldest first."""


def read_contract(text: bytes, name: str, side: str) -> Schema:
    """A contract of one side of the comparison.

    Raises:
        InvalidContract: It has faults.
    """
    try:
        return parse_text(text, name)
    except ContractError as error:
        raise InvalidContract(side, name, error) from error


def find_baselines(specs: Sequence[str], current: Path) -> Baselines:
    """Every baseline of the command line; the one of the highest version is what the contract is compared with.

    Args:
        specs: Values of `--against`.
        current: The new contract's file, from which git and the lockfile are found.

    Raises:
        BaselineError: One is not there.
        InvalidContract: One is no contract.
    """
    found = [one for spec in specs for one in _Finder(current).find(spec)]
    ordered = sorted(found, key=lambda one: one.schema.version)
    return Baselines(ordered[-1], tuple(ordered[:-1]))


def default_spec(current: Path, environment: Mapping[str, str] = os.environ) -> str:
    """What to compare with where nobody says: the lockfile, the branch that CI merges into, the default branch.

    Raises:
        BaselineError: There is none of them.
    """
    if (current.parent / LOCKFILE).is_file():
        return "lock"
    target = next((environment[name] for name in _TARGETS if environment.get(name)), None)
    if target is not None:
        return f"merge-base:{target}"
    branch = Git(current.parent).default_branch()
    if branch is None:
        raise BaselineError(
            "nothing to compare with",
            "there is no contracts.lock, and git knows no default branch here",
            "name a baseline: --against OLD.yaml, --against main, or run `mycelium schema lock`",
        )
    return f"merge-base:{branch}"


def _running(url: str) -> list[Baseline]:
    """The contracts of a running bridge, and of everybody who is connected to it."""
    from mycelium.bus.errors import BusError
    from mycelium.cli.bridge import connected

    try:
        bridge, clients = connected(url)
    except (BusError, TimeoutError) as error:
        raise BaselineError(f"cannot compare with {url}", str(error), "compare with a file or a git ref") from error
    return [Baseline(f"bridge {url}", bridge, clients=clients)]


@frozen
class _Finder:
    """Finds baselines of one contract."""

    current: Path

    def find(self, spec: str) -> list[Baseline]:
        if spec == "-":
            return [Baseline("standard input", read_contract(sys.stdin.buffer.read(), "<stdin>", "old"))]
        if spec.startswith(_BRIDGES):
            return _running(spec)
        if spec in {"lock", "lock:all"}:
            return self._locked(every=spec == "lock:all")
        if spec.startswith("git:"):
            return [self._from_git(spec.removeprefix("git:"), spec)]
        if spec.startswith("merge-base:"):
            return [self._merge_base(spec)]
        if spec.startswith("tag:"):
            return [self._tagged(spec)]
        path = Path(spec)
        if path.is_file():
            return [Baseline(spec, read_contract(path.read_bytes(), spec, "old"))]
        return [self._from_git(spec, spec)]

    # --- lockfile ---

    def _locked(self, *, every: bool) -> list[Baseline]:
        path = self.current.parent / LOCKFILE
        lock = load_lock(path)
        if lock.last is None:
            why = f"{path} has no version" if path.is_file() else f"there is no {path}"
            raise BaselineError("no locked version", why, "write one with `mycelium schema lock`", absent=True)
        entries = lock.entries if every else lock.entries[-1:]
        found = [Baseline(LOCKFILE, entry.schema) for entry in entries]
        found[-1] = evolve(found[-1], tombstones=lock.tombstones)
        return found

    # --- git ---

    @property
    def git(self) -> Git:
        """Git where the contract is."""
        return Git(self.current.parent)

    def _merge_base(self, spec: str) -> Baseline:
        name, path = _split(spec.removeprefix("merge-base:"))
        commit = self._commit(name, spec)
        base = self.git.merge_base(commit)
        if base is None:
            raise self._missing(spec, f"HEAD and {name} have no common ancestor that this clone knows", name)
        return self._read(base, path, spec)

    def _tagged(self, spec: str) -> Baseline:
        pattern, path = _split(spec.removeprefix("tag:"))
        tag = self.git.newest_tag(pattern)
        if tag is None:
            raise self._missing(spec, f"no tag that matches {pattern} is reachable from HEAD", "--tags")
        return self._read(self._commit(tag, spec), path, f"{spec} = {tag}")

    def _from_git(self, name: str, spec: str) -> Baseline:
        ref, path = _split(name)
        return self._read(self._commit(ref, spec), path, spec)

    def _commit(self, name: str, spec: str) -> str:
        try:
            self.git.run("rev-parse", "--show-toplevel")
        except GitError as error:
            why = f"{name} is no file, and git says: {str(error).splitlines()[0]}"
            raise BaselineError(f"cannot compare with {spec}", why, "check the path, or name a file") from error
        commit = self.git.commit(name)
        if commit is None:
            raise self._missing(spec, f"{name} is neither a file nor a revision that git knows here", name)
        return commit

    def _missing(self, spec: str, why: str, ref: str) -> BaselineError:
        remedy = "check the name, or fetch it: `git fetch origin " + ref + "`"
        if self.git.shallow():
            remedy = f"this is a shallow clone: `git fetch --depth=200 origin {ref}`"
        return BaselineError(f"cannot compare with {spec}", why, remedy)

    def _read(self, commit: str, path: str | None, label: str) -> Baseline:
        short = commit[:7]
        wanted = path if path is not None else self._own_path(label)
        if not self.git.has(commit, wanted):
            former = self.git.former_path(commit, wanted) if path is None else None
            if former is None:
                raise BaselineError(
                    f"cannot compare with {label}",
                    f"{wanted} is not in {short}",
                    "for a contract's first commit: --allow-missing-baseline",
                    absent=True,
                )
            wanted = former
        try:
            text = self.git.show(commit, wanted)
        except GitError as error:
            raise self._missing(label, f"git cannot read {wanted} in {short}: {error}", commit) from error
        return Baseline(f"{label} ({short})", read_contract(text, f"{short}:{wanted}", "old"))

    def _own_path(self, label: str) -> str:
        """The contract's path in its work tree."""
        top = self.git.top()
        try:
            return self.current.resolve().relative_to((top or Path()).resolve()).as_posix()
        except ValueError:
            why = f"{self.current} is not in the work tree"
            raise BaselineError(f"cannot compare with {label}", why, "name its path: REF:PATH") from None


def _split(name: str) -> tuple[str, str | None]:
    """`REF:PATH` or `REF`."""
    ref, colon, path = name.partition(":")
    return ref, path if colon else None


def load_lock(path: Path) -> Lock:
    """A lockfile; empty where there is none.

    Raises:
        BaselineError: It cannot be read.
    """
    try:
        return read_lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Lock()
    except (LockError, OSError, UnicodeDecodeError) as error:
        remedy = error.remedy if isinstance(error, LockError) else "restore it from version control"
        why = error.problem if isinstance(error, LockError) else str(error)
        raise BaselineError(f"{path} cannot be read", why, remedy) from error
