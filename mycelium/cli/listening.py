"""Who listens on a TCP port of this machine, as Linux tells in /proc."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from mycelium.schema.printable import printable

__all__ = ["Listener", "listeners"]

_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")
_LISTENING: Final = "0A"
_LONGEST: Final = 60
"""Characters of a command line."""


@frozen
class Listener:
    """A process that listens; one that belongs to somebody else has no number and no command here."""

    pid: int | None
    command: str = ""

    def __str__(self) -> str:
        return "somebody else's process" if self.pid is None else f"process {self.pid} ({self.command})"


def listeners(port: int) -> list[Listener]:
    """Who listens on a port, on whatever address; nobody is known where there is no /proc."""
    inodes = {inode for table in _TABLES for inode in _inodes(_PROC / table, port)}
    if not inodes:
        return []
    owners = sorted({pid for pid, inode in _sockets() if inode in inodes})
    return [Listener(pid, _command(pid)) for pid in owners] or [Listener(None)]


def _inodes(table: Path, port: int) -> Iterator[str]:
    """Of sockets that listen on the port. Of a line the second word is the local address, then state and inode."""
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def _sockets() -> Iterator[tuple[int, str]]:
    """Process and inode of every socket that this user may see."""
    for folder in _PROC.glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            for link in folder.iterdir():
                with contextlib.suppress(OSError):
                    target = str(link.readlink())
                    if target.startswith("socket:["):
                        yield int(folder.parent.name), target[8:-1]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        return printable(b" ".join(words).decode(errors="replace"))[:_LONGEST]
    return "it has just ended"
