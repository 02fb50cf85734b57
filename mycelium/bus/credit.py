"""What handlers of a client are done with, and what they still have; bookkeeping without I/O."""

from collections.abc import Callable
from typing import final

__all__ = ["Backlog", "Credit"]


@final
class Backlog:
    """Messages of earlier connections that handlers still have; so many fewer are taken ahead through this one.

    Args:
        on_empty: Called when they are done with all of them.

    Attributes:
        count: How many there are.
    """

    def __init__(self, on_empty: Callable[[], None]) -> None:
        self.count = 0
        self._on_empty = on_empty

    def __repr__(self) -> str:
        return f"<Backlog of {self.count}>"

    def done(self, messages: int) -> None:
        """Handlers are done with some."""
        self.count -= messages
        if not self.count:
            self._on_empty()


@final
class Credit:
    """Counts what handlers are done with, and gives it back to the bridge in batches of a quarter window.

    Args:
        window: Messages that the bridge sends ahead of the handlers.
        give: Tells the bridge.

    Attributes:
        out: Messages that handlers have and are not done with.
    """

    def __init__(self, window: int, give: Callable[[int], None]) -> None:
        self.out = 0
        self._give = give
        self._done = 0
        self.resize(window)

    def __repr__(self) -> str:
        return f"<Credit of {self.window}, {self._done} to give back>"

    def resize(self, window: int) -> None:
        """The bridge sends so many ahead from now on."""
        self.window = window
        self._batch = max(1, window // 4)

    def some(self, messages: int) -> None:
        """Messages are done with."""
        self.out -= messages
        self._done += messages
        if self._done >= self._batch:
            self.settle()

    def settle(self) -> None:
        """Give back what is left of a batch; to be called now and then."""
        if self._done:
            done, self._done = self._done, 0
            self._give(done)

    def void(self, backlog: Backlog) -> None:
        """The connection that it counts for is gone: what is out belongs to the backlog, and to no other connection."""
        backlog.count += self.out
        self._give, self._batch, self._done = backlog.done, 1, 0
