"""Futures of what may go wrong with nobody there to hear of it."""

import asyncio
from typing import Any, TypeVar

__all__ = ["heard", "new_outcome"]

T = TypeVar("T")


def new_outcome() -> "asyncio.Future[Any]":
    """A future of the running loop whose exception nobody has to look at: who waited for it may have gone."""
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    outcome.add_done_callback(_look)
    return outcome


def _look(outcome: "asyncio.Future[Any]") -> None:
    """Take note of an exception, which the loop would else complain of."""
    if not outcome.cancelled():
        outcome.exception()


async def heard(outcome: "asyncio.Future[T]") -> T:
    """Wait for an outcome, which others may wait for too: it goes on when whoever waits here is cancelled.

    `asyncio.shield` does the same, but has the loop complain of an exception that comes when nobody waits any more.
    """
    if not outcome.done():
        await asyncio.wait([outcome])
    return outcome.result()
