"""What plans count, each message once, and who is told of it: the sums are made where and when somebody asks."""

from collections import Counter, defaultdict
from typing import final

from mycelium.bus.meter import Tally
from mycelium.bus.stats import Calls, Count, Counts

__all__ = ["Planned"]


@final
class Planned:
    """Messages of one bus that have gone by plan and are not counted among all others yet.

    That is done whenever plans are forgotten, so that neither plans nor handlers that have gone are remembered here.
    """

    def __init__(self) -> None:
        self._offered: defaultdict[int, Count] = defaultdict(Count)
        self._called: dict[Calls, int] = {}
        """The type id of each."""

    def __repr__(self) -> str:
        return f"<Planned: {self.number} messages>"

    def offered(self, type_id: int) -> Count:
        """Where a plan counts messages of a type that it offers."""
        return self._offered[type_id]

    def called(self, type_id: int, counts: Counts) -> Calls:
        """The same of messages that it calls a sync handler with, whose own counts are given and know of it too."""
        calls = counts.calls[type_id]
        self._called[calls] = type_id
        return calls

    @property
    def number(self) -> int:
        """How many there are."""
        return sum(one.number for one in self._offered.values()) + sum(one.unsettled for one in self._called)

    @property
    def received(self) -> Counter[int]:
        """The same by type id."""
        return self.delivered + Counter({type_id: one.number for type_id, one in self._offered.items()})

    @property
    def delivered(self) -> Counter[int]:
        """Those that a handler was called with, by type id."""
        delivered: Counter[int] = Counter()
        for calls, type_id in self._called.items():
            delivered[type_id] += calls.unsettled
        return delivered

    def settle(self, tally: Tally | None) -> int:
        """Plans are forgotten: count their messages elsewhere from now on.

        Args:
            tally: Where messages are counted by type, if anywhere.

        Returns:
            How many there were.
        """
        number = self.number
        if tally is not None:
            tally.take_all(self.received, self.delivered)
        for calls in self._called:
            calls.settled = calls.begun
        self._offered.clear()
        self._called.clear()
        return number
