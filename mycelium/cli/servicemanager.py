"""What a service manager is told: ready, reloading, stopping, and that the loop still turns (sd_notify(3)).

systemd says in `$NOTIFY_SOCKET` where it listens and in `$WATCHDOG_USEC` how often it wants to hear; nothing else is
needed of it, and where nobody listens nothing is sent.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, final

from mycelium.schema.printable import printable

__all__ = ["ServiceManager"]

_LONGEST_STATUS: Final = 1000
"""Characters; it is one line of `systemctl status`."""


@final
class ServiceManager:
    """Tells whoever started the bridge as a service how it is.

    Args:
        note: Tells whoever reads the log that it cannot be told.
        environment: Where the service manager says that it listens.
    """

    def __init__(self, note: Callable[[str], object], environment: Mapping[str, str] = os.environ) -> None:
        self._note = note
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog_seconds(environment) if self._address else None

    def __repr__(self) -> str:
        return f"<ServiceManager at {self._address or 'no socket'}, watchdog {self._watchdog}>"

    def ready(self, status: str) -> None:
        """Everything is served from now on, or again after a reload."""
        self._tell("READY=1", status)

    def reloading(self) -> None:
        """The contracts are read again; `ready` comes after it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", "reading the contracts again")

    def stopping(self, status: str) -> None:
        """The bridge drains, and ends."""
        self._tell("STOPPING=1", status)

    def status(self, status: str) -> None:
        """One line about how it is."""
        self._tell("", status)

    async def keep_alive(self) -> None:
        """Say twice in each interval of the watchdog that the loop turns, for ever; returns at once without one."""
        while self._watchdog is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _tell(self, state: str, status: str) -> None:
        self._send(f"{state}\nSTATUS={printable(status)[:_LONGEST_STATUS]}".lstrip())

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(text.encode(errors="replace"), address)
        except OSError as error:
            self._note(f"the service manager at {self._address} is not told any more: {error.strerror or error}")
            self._address, self._watchdog = "", None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """The interval of the watchdog if it is this process that is to answer it."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    # The one-file bridge is a child of the process that systemd knows.
    ours = {os.getpid(), os.getppid()} if getattr(sys, "frozen", False) else {os.getpid()}
    if not microseconds.isdecimal() or int(microseconds) == 0 or (pid and pid not in map(str, ours)):
        return None
    return int(microseconds) / 1e6
