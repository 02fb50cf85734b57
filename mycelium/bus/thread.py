"""Buses, bridges, clients and subscriptions belong to one thread: that of their event loop."""

from threading import get_ident

from mycelium.bus.errors import UsageError

__all__ = ["check_thread"]


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
