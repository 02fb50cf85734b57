"""How much memory waiting frames hold, and how much they may: bytes that are in many queues count once."""

import contextlib
from pathlib import Path
from typing import Final, final

__all__ = ["Ledger", "available_memory"]

_PRESSURE: Final = 0.8
"""Of the ceiling: above it publishers are asked to wait."""
_RELIEF: Final = 0.7
"""Below it they may go on."""
_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MEMINFO: Final = "/proc/meminfo"
_KIB: Final = 1024
_GUESS: Final = 1024 * 1024 * 1024


@final
class Ledger:
    """Bytes that queues and retained values hold.

    Args:
        limit: The ceiling.

    Attributes:
        limit: See above.
        used: Bytes, whole chunks as they came from a socket: a small message may keep a larger chunk alive.
        unsent: Bytes that were given to sockets and not taken by the kernel; set by whoever looks at them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.unsent = 0
        self._holders: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Ledger, {self.total} of {self.limit} bytes>"

    def hold(self, data: bytes) -> None:
        """A queue holds bytes."""
        key = id(data)  # nobody else gets it as long as somebody holds them
        holders = self._holders.get(key, 0)
        self._holders[key] = holders + 1
        if not holders:
            self.used += len(data)

    def release(self, data: bytes) -> None:
        """A queue holds them no more."""
        key = id(data)
        holders = self._holders[key] - 1
        if holders:
            self._holders[key] = holders
        else:
            del self._holders[key]
            self.used -= len(data)

    def charge(self, size: int) -> None:
        """Count what is held beside frames; a negative size for what is not any more."""
        self.used += size

    @property
    def total(self) -> int:
        """Bytes that count against the ceiling."""
        return self.used + self.unsent

    @property
    def is_over(self) -> bool:
        """Whether something has to be given up."""
        return self.used + self.unsent > self.limit

    def is_pressed(self, *, before: bool) -> bool:
        """Whether publishers are to wait.

        Args:
            before: Whether they do so already.
        """
        return self.total > self.limit * (_RELIEF if before else _PRESSURE)


def available_memory() -> int:
    """Bytes of memory that this machine or container has."""
    found = []
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or the word `max`
            found.append(int(Path(path).read_text()))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(_MEMINFO).read_text().splitlines()
        total = next(line for line in lines if line.startswith("MemTotal:"))
        found.append(int(total.split()[1]) * _KIB)
    return min(found, default=_GUESS)
