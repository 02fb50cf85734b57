"""Read-only questions to git: which commit a name is, what a file says there. The work tree is never touched."""

import os
import subprocess
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["Git", "GitError"]

_TIMEOUT: Final = 60.0
"""Seconds; no question asked here takes that long, but a repository on a network drive may hang."""
_FOREIGN: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Set by git for its hooks, and meant for the directory that the hook began in."""
_ENVIRONMENT: Final = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


class GitError(Exception):
    """Git gave no answer; the text is git's own."""


@frozen
class Git:
    """Git in one directory."""

    directory: Path

    def run(self, *arguments: str) -> bytes:
        """What git prints.

        Raises:
            GitError: It failed, or there is no git.
        """
        command = ["git", "-c", "core.quotepath=off", "--no-pager", *arguments]
        try:
            done = subprocess.run(  # noqa: S603  names from the command line are never taken for options: see `commit`
                command,
                cwd=self.directory,
                env={name: value for name, value in os.environ.items() if name not in _FOREIGN} | _ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git gave no answer within {_TIMEOUT:.0f} s") from error
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip() or f"git exited with {done.returncode}")
        return done.stdout

    def line(self, *arguments: str) -> str | None:
        """The first line that git prints, or None where it fails."""
        try:
            return self.run(*arguments).decode(errors="replace").strip().split("\n")[0] or None
        except GitError:
            return None

    def top(self) -> Path | None:
        """The root of the work tree."""
        line = self.line("rev-parse", "--show-toplevel")
        return None if line is None else Path(line)

    def commit(self, name: str) -> str | None:
        """The full id of a commit, by any name that git knows, `origin/NAME` included."""
        if not name or name.startswith("-"):
            return None
        for candidate in (name, f"origin/{name}"):
            found = self.line("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
            if found is not None:
                return found
        return None

    def merge_base(self, commit: str) -> str | None:
        """The common ancestor of HEAD and a commit."""
        return self.line("merge-base", "HEAD", commit)

    def newest_tag(self, pattern: str) -> str | None:
        """The nearest tag that HEAD comes from and that matches a pattern."""
        return self.line("describe", "--tags", "--abbrev=0", f"--match={pattern}", "HEAD")

    def default_branch(self) -> str | None:
        """The branch that work is merged into, as far as the clone knows."""
        head = self.line("symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD")
        if head is not None:
            return head
        return next((name for name in ("main", "master") if self.commit(name)), None)

    def shallow(self) -> bool:
        """Whether the clone lacks history."""
        return self.line("rev-parse", "--is-shallow-repository") == "true"

    def has(self, commit: str, path: str) -> bool:
        """Whether a file is in a commit."""
        return self.line("cat-file", "-t", f"{commit}:{path}") == "blob"

    def show(self, commit: str, path: str) -> bytes:
        """A file as it is in a commit.

        Raises:
            GitError: It is not there, or the clone lacks it.
        """
        return self.run("cat-file", "blob", f"{commit}:{path}")

    def former_path(self, commit: str, path: str) -> str | None:
        """What a file was called in a commit, if it was renamed since."""
        try:
            listed = self.run("diff", "--name-status", "-z", "-M", "--diff-filter=R", commit, "--")
        except GitError:
            return None
        parts = listed.decode(errors="surrogateescape").split("\0")
        renames = zip(parts[1::3], parts[2::3], strict=False)
        return next((old for old, new in renames if new == path), None)
