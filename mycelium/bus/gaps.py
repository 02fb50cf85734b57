"""When a subscriber is told of what it did not get: in its place, and drops within a second if no message comes."""

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

    Attributes:
        inline: Gaps that an iterator is to give out.
        ahead: Gaps that come behind messages, each with how many of those still wait.
    """

    def __init__(
        self, losses: Losses, describe: Callable[[Iterable[Lost]], list[Gap]], report: Callable[[Gap], None]
    ) -> None:
        self.inline: deque[Gap] = deque()
        self._losses = losses
        self._describe = describe
        self._report = report
        self._timer: asyncio.TimerHandle | None = None
        self.ahead: list[tuple[int, Gap]] = []

    def __repr__(self) -> str:
        return f"<Gaps of {self._losses!r}>"

    def tell(self) -> None:
        """Tell of everything that was not told yet; what an iterator has not taken yet is told of first."""
        if self._losses.untold and not self.inline:
            self.close()
            for gap in self._describe(one for one in self._losses.take_untold() if one[1].reason in REPORTED):
                self._report(gap)

    def put(self, gap: Gap, behind: int) -> None:
        """Tell a gap when so many messages that wait have been taken; if none came since the last one they are one."""
        if not (behind and self.ahead and self.ahead[-1][0] == behind):
            self.ahead.append((behind, gap))

    def step(self) -> None:
        """A message that waited has been taken."""
        self.ahead = [(behind - 1, gap) for behind, gap in self.ahead]

    def reach(self, *, end: bool = False) -> None:
        """Tell the gaps that nothing waits before any more; at the end all of them."""
        while self.ahead and (end or self.ahead[0][0] <= 0):
            self._report(self.ahead.pop(0)[1])

    def schedule(self) -> None:
        """Something was dropped: it is told within a second."""
        if self._timer is None and self._losses.untold:
            self._timer = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.tell()

    def close(self) -> None:
        """Tell nothing later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
