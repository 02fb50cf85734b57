"""Connecting to an address."""

import asyncio
import os
import re
from collections.abc import Callable
from typing import TypeVar

from mycelium.bus.errors import ConnectError
from mycelium.bus.urls import Address

__all__ = ["dial"]

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def dial(address: Address, make: Callable[[], P]) -> P:
    """Connect.

    Args:
        address: Where somebody listens.
        make: Makes the connection's protocol.

    Raises:
        ConnectError: Nobody is there.
    """
    loop = asyncio.get_running_loop()
    try:
        if address.scheme == "unix":
            _, made = await loop.create_unix_connection(make, address.path)
        else:
            _, made = await loop.create_connection(make, address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise ConnectError(str(address), _reason(error)) from error
    return made


def _reason(error: Exception) -> str:
    """The operating system's own words, in whose place asyncio puts its own, for each address of the host."""
    numbers = {int(one) for one in re.findall(r"\[Errno (-?\d+)\]", str(error))}
    if len(numbers) == 1 and (number := numbers.pop()) > 0:
        return os.strerror(number).lower()
    return (getattr(error, "strerror", None) or str(error)).lower()
