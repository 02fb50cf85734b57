"""Standard input without blocking the event loop, which has a bridge to answer meanwhile."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

__all__ = ["lines"]

_LONGEST: Final = 64 * 1024 * 1024
"""Bytes of a line; no payload is larger."""


async def lines() -> AsyncIterator[str]:
    """Lines of standard input, as they come."""
    if _never_waits():
        for line in sys.stdin:
            yield line
        return
    reader = asyncio.StreamReader(_LONGEST)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        async for raw in reader:
            yield raw.decode(errors="replace")
    finally:
        transport.close()


def _never_waits() -> bool:
    """Whether it is a file, which asyncio cannot wait for and which nobody has to."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)) or os.path.samestat(
        os.fstat(sys.stdin.fileno()), Path(os.devnull).stat()
    )
