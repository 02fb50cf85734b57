"""Notices who holds the event loop: nothing else goes on meanwhile, heartbeats neither."""

from collections.abc import Callable, Coroutine, Generator
from time import monotonic
from types import coroutine
from typing import Any, Final, TypeAlias

__all__ = ["MOST_SECONDS", "OnHeld", "watched"]

MOST_SECONDS: Final = 0.1
"""How long anybody may go on before the others get a turn."""

OnHeld: TypeAlias = Callable[[float], None]
"""Called with the seconds."""


async def watched(work: Callable[[], Coroutine[Any, Any, None]], on_held: OnHeld) -> None:
    """Do some work, and tell of each of its steps that takes too long; a step ends where the work waits."""
    await _steps(work(), on_held)


@coroutine
def _steps(work: Coroutine[Any, Any, None], on_held: OnHeld) -> Generator[Any, Any, None]:
    value: Any = None
    error: BaseException | None = None
    while True:
        began = monotonic()
        try:
            waiting_for = work.send(value) if error is None else work.throw(error)
        except StopIteration:
            return
        finally:
            if (seconds := monotonic() - began) > MOST_SECONDS:
                on_held(seconds)
        try:
            value, error = (yield waiting_for), None
        except BaseException as thrown:  # noqa: BLE001  whatever is thrown in here is meant for the work
            value, error = None, thrown
