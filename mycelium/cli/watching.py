"""A bridge looked at again and again, whatever becomes of it: gone, restarted, on other contracts."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from attrs import frozen

from mycelium.bus.errors import BusError
from mycelium.cli.bridge import asker
from mycelium.cli.figures import age
from mycelium.cli.sampling import Picture, Sampler

__all__ = ["WATCHER", "View", "watched"]

WATCHER: Final = "mycelium top"
"""What a bridge is looked at as."""

_RETRY_SECONDS: Final = 0.5
_NOTE_SECONDS: Final = 10.0
"""How long it is said that a bridge has been away."""


@frozen
class View:
    """What there is to see.

    Attributes:
        picture: The last one of the bridge.
        note: What has happened to the connection; empty where nothing has.
        is_away: Whether there is none now.
    """

    picture: Picture
    note: str = ""
    is_away: bool = False


async def watched(
    url: str, sort: str, limit: int, interval: float, credentials: Mapping[str, Any]
) -> AsyncGenerator[View, None]:
    """A view every `interval` seconds, without end. Each connection is a client of its own: contracts may be others.

    Raises:
        ConnectError: There is no bridge at the beginning.
        Refused: It does not let this client in.
    """
    clock = asyncio.get_running_loop().time
    picture: Picture | None = None
    gone_at, note, note_until = 0.0, "", 0.0
    while True:
        try:
            async with await asker(url, WATCHER, credentials) as client:
                sampler = Sampler(client, url, sort, limit)
                while True:
                    before, picture = picture, await sampler.look()
                    if gone_at and before is not None:
                        is_same = picture.bridge["started_at"] == before.bridge["started_at"]
                        note = "there again" if is_same else "there again, and has been restarted"
                        gone_at, note_until = 0.0, clock() + _NOTE_SECONDS
                    yield View(picture, note if clock() < note_until else "")
                    await asyncio.sleep(interval)
        except (BusError, TimeoutError) as error:
            if picture is None:
                raise
            gone_at = gone_at or clock()
            why = getattr(error, "reason", None) or str(error) or "no answer"
            yield View(picture, f"away for {age(clock() - gone_at)} ({why}); trying again", is_away=True)
            await asyncio.sleep(_RETRY_SECONDS)
