"""Files with secrets, which nobody else may read."""

import os
import stat
from pathlib import Path
from typing import Final

from mycelium.bus.errors import SecurityError

__all__ = ["check_private", "read_secret", "read_setting"]

_MOST_BYTES: Final = 1024 * 1024
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""What others may not do with a secret; a group may read it, as services do."""


def read_secret(path: Path) -> bytes:
    """The bytes of a regular file that others can neither read nor write.

    Raises:
        SecurityError: It is none, or cannot be read.
    """
    return _read(path, private=True)


def read_setting(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        SecurityError: It is none, or cannot be read.
    """
    return _read(path, private=False)


def check_private(path: Path) -> None:
    """Look at a secret that somebody else reads; see `read_secret` for errors."""
    read_secret(path)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with open(path, "rb", opener=_opener) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise SecurityError.about(str(path), "it is no regular file", "name a file")
            if private and state.st_mode & _OTHERS:
                problem = f"others may read or change it (mode {stat.S_IMODE(state.st_mode):04o})"
                raise SecurityError.about(str(path), problem, f"chmod 600 {path}")
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise SecurityError.about(str(path), problem, "name a file that this process can read") from error
    if len(data) > _MOST_BYTES:
        raise SecurityError.about(str(path), f"it has over {_MOST_BYTES} bytes", "name another file")
    return data


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to must not be waited for
