"""Futures of what may go wrong with nobody there to hear of it."""

import asyncio
from typing import Any

__all__ = ["new_outcome"]


def new_outcome() -> "asyncio.Future[Any]":
    """A future of the running loop whose exception nobody has to look at: who waited for it may have gone."""
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    outcome.add_done_callback(_look)
    return outcome


def _look(outcome: "asyncio.Future[Any]") -> None:
    """Take note of an exception, which the loop would else complain of."""
    if not outcome.cancelled():
        outcome.exception()
