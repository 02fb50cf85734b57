"""Socket options of both sides of a connection."""

import asyncio
import contextlib
import socket
import threading
from typing import Final, cast

__all__ = ["HIGH_WATER", "LOW_WATER", "READ_SIZE", "read_buffer", "tune"]

READ_SIZE: Final = 64 * 1024
"""Bytes that are read from a connection before it is the others' turn."""
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
_USER_TIMEOUT_MS: Final = 30_000


class _Local(threading.local):
    """Of one thread."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))


_local: Final = _Local()


def read_buffer() -> memoryview:
    """What connections of this thread read into, one after the other: bytes are taken out before anybody else reads."""
    return _local.buffer


def tune(transport: asyncio.BaseTransport) -> None:
    """Socket options of both sides: no Nagle delay, dead peers noticed, and few bytes out of our hands."""
    cast("asyncio.WriteTransport", transport).set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
    made = transport.get_extra_info("socket")
    if made is None or made.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # it may be gone already, which is noticed soon enough
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
