"""A client for the length of a block."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from mycelium.bus.client import MyceliumClient
from mycelium.handle import Source

__all__ = ["connect"]


@contextlib.asynccontextmanager
async def connect(
    url: str | None = None, contracts: Source | None = None, **options: Any
) -> AsyncIterator[MyceliumClient]:
    """A client that is connected inside the block; see `MyceliumClient` and its `connect` for arguments and errors."""
    client = MyceliumClient(contracts, **options)
    await client.connect(url)
    async with client:
        yield client
