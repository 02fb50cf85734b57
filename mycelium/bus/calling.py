"""Whose handler is running."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mycelium.bus.subscription import LocalSubscription

__all__ = ["calling", "calling_subscription"]

calling: "Final[ContextVar[LocalSubscription | None]]" = ContextVar("mycelium_subscription", default=None)
calling_subscription: "Final[Callable[[], LocalSubscription | None]]" = calling.get
"""The subscription whose async handler is running here; None outside of handlers."""
