"""What a message that is published in this process carries beside its fields."""

from typing import NamedTuple

from mycelium.bus.answers import BRIDGE
from mycelium.wire.metadata import Metadata

__all__ = ["Carried"]


class Carried(NamedTuple):
    """Of one message.

    Attributes:
        ask: The correlation id of a request.
        trace: A trace context.
    """

    ask: bytes | None
    trace: bytes | None

    def to_metadata(self) -> Metadata:
        """The same in its frame."""
        return Metadata(trace=self.trace, correlation=self.ask, reply_to=None if self.ask is None else BRIDGE)
