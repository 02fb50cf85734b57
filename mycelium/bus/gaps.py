"""When a subscriber is told of what it did not get: in its place, or a second later if nothing goes on."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, final

from mycelium.bus.lag import REPORTED, DropReason
from mycelium.bus.losses import Losses
from mycelium.events import Gap

__all__ = ["Gaps"]

_REPORT_SECONDS: Final = 1.0
Lost: TypeAlias = tuple[int, DropReason, int]


@final
class Gaps:
    """The gaps of one subscription.

    Args:
        losses: What was dropped.
        describe: Makes a Gap of each type and reason.
        report: Tells one.
        in_line: Whether gaps behind messages wait for as long as these do.

    Attributes:
        inline: Gaps that an iterator is to give out.
        ahead: Gaps that come behind messages, each with how many of those still wait.
    """

    def __init__(
        self,
        losses: Losses,
        describe: Callable[[Iterable[Lost]], list[Gap]],
        report: Callable[[Gap], None],
        *,
        in_line: bool = False,
    ) -> None:
        self.inline: deque[Gap] = deque()
        self._losses = losses
        self._describe = describe
        self._report = report
        self._in_line = in_line
        self._moves = False
        self._timer: asyncio.TimerHandle | None = None
        self.ahead: list[tuple[int, Gap]] = []

    def __repr__(self) -> str:
        return f"<Gaps of {self._losses!r}>"

    def tell(self) -> None:
        """Tell of everything that was not told yet; what an iterator has not taken yet is told of first."""
        if self._losses.untold and not self.inline:
            if not self.ahead:
                self.close()
            for gap in self._describe(one for one in self._losses.take_untold() if one[1].reason in REPORTED):
                self._report(gap)

    def next_inline(self) -> Gap | None:
        """The next one for an iterator that takes them among its messages, after everything was told."""
        self.tell()
        return self.inline.popleft() if self.inline else None

    def put(self, gap: Gap, behind: int) -> None:
        """Tell a gap when so many messages that wait have been taken, or when none is taken for a second."""
        self.ahead.append((behind, gap))
        if not self._in_line:
            self._arm()

    def step(self) -> None:
        """A message that waited has been taken."""
        self.ahead = [(behind - 1, gap) for behind, gap in self.ahead]
        self._moves = True

    def reach(self, *, end: bool = False) -> None:
        """Tell the gaps that nothing waits before any more; at the end all of them."""
        while self.ahead and (end or self.ahead[0][0] <= 0):
            self._report(self.ahead.pop(0)[1])

    def schedule(self) -> None:
        """Something was dropped: it is told within a second."""
        if self._timer is None and self._losses.untold:
            self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._moves = False
            self._timer = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if not self._in_line:
            self.reach(end=not self._moves)
            if self.ahead:
                self._arm()
        self.tell()

    def close(self) -> None:
        """Tell nothing later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
