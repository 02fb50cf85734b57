"""Buses, bridges, clients and subscriptions belong to one thread: that of their event loop."""

from collections.abc import Callable
from threading import RLock, get_ident

from mycelium.bus.errors import UsageError

__all__ = ["check_thread", "thread_test"]


def check_thread(owner: int | None, what: str) -> None:
    """Refuse a call that comes from another thread.

    Args:
        owner: The thread that something belongs to; None: nobody's yet.
        what: What it is.

    Raises:
        UsageError: The caller is in another one.
    """
    if owner is not None and owner != get_ident():
        raise UsageError(f"a {what} belongs to one thread; use asyncio.run_coroutine_threadsafe from others")


def thread_test() -> Callable[[], bool]:
    """A function that says whether it is called in the thread that calls this one.

    It asks a lock that this thread takes here and keeps whether its caller is the owner, as `threading.Condition` does:
    the numbers that `get_ident()` makes for each comparison would be felt where messages are published.
    """
    lock = RLock()
    lock.acquire()
    is_owned: Callable[[], bool] | None = getattr(lock, "_is_owned", None)
    if is_owned is not None:
        return is_owned
    owner = get_ident()
    return lambda: get_ident() == owner
