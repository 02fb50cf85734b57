"""A handler that is subscribed, for threads without an event loop."""

import contextlib
from typing import final

from mycelium.bus.errors import ClosedError
from mycelium.bus.hands import Hands
from mycelium.bus.loopthread import LoopThread
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.subscription import LocalSubscription

__all__ = ["SyncSubscription"]


@final
class SyncSubscription:
    """A handler that is subscribed; `SyncClient.subscribe` makes it.

    Attributes:
        name: The handler's, for people.
    """

    def __init__(self, thread: LoopThread, subscription: LocalSubscription, hands: Hands) -> None:
        self.name = subscription.name
        self._thread = thread
        self._subscription = subscription
        self._hands = hands

    def __repr__(self) -> str:
        return f"<SyncSubscription, {self._subscription!r}>"

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._subscription.closed

    def stats(self) -> SubscriptionStats:
        """The counters as they stand.

        Raises:
            UsageError: This thread runs an event loop.
        """
        return self._thread.ask(self._subscription.stats)

    def unsubscribe(self) -> None:
        """End the subscription: nothing new is taken, and what waits for the handler is dropped. May be called twice.

        The handler may finish the message that it has, for at most 5 s, unless this is called from inside it.

        Raises:
            UsageError: This thread runs an event loop.
        """
        with contextlib.suppress(ClosedError):  # then the client has ended it
            self._thread.run(self._subscription.unsubscribe)
        self._hands.end()
