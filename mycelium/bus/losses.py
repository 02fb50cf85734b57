"""What a subscription did not get: counted by reason for good, and by type until somebody is told."""

from collections import Counter
from collections.abc import Iterable
from typing import final

from mycelium.bus.lag import DropReason
from mycelium.bus.meter import Tally

__all__ = ["Losses"]


@final
class Losses:
    """Drops of one subscription.

    Attributes:
        by_reason: All of them.
        episode: Those since the queue was last in order.
        pending: Type and reason to how many were dropped since the last `take_untold`.
        tally: Where they are counted by type; None where nobody asks for it.
    """

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self.episode = 0
        self.pending: Counter[tuple[int, DropReason]] = Counter()
        self.tally: Tally | None = None

    def __repr__(self) -> str:
        return f"<Losses of {self.by_reason.total()} messages>"

    @property
    def untold(self) -> bool:
        """Whether `take_untold` would give something."""
        return bool(self.pending)

    def count(self, type_id: int, reason: DropReason, number: int = 1) -> None:
        """Messages of a type were dropped."""
        self.write_off(type_id, reason, number)
        self.episode += number
        self.pending[type_id, reason] += number

    def count_each(self, type_ids: Iterable[int], reason: DropReason) -> None:
        """Messages of these types were dropped."""
        for type_id, number in Counter(type_ids).items():
            self.count(type_id, reason, number)

    def write_off(self, type_id: int, reason: DropReason, number: int) -> None:
        """Messages were dropped of which nobody has to be told."""
        self.by_reason[reason.reason] += number
        if self.tally is not None:
            self.tally.dropped[type_id, reason.reason] += number

    def take_untold(self) -> list[tuple[int, DropReason, int]]:
        """Type, reason and how many were dropped since the last call."""
        if not self.pending:
            return []
        untold = [(type_id, reason, number) for (type_id, reason), number in sorted(self.pending.items())]
        self.pending.clear()
        return untold
