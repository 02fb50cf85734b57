"""What may go wrong while measuring."""

from mycelium.errors import MyceliumError

__all__ = ["BenchError", "ProcessFailed"]


class BenchError(MyceliumError):
    """The benchmark cannot go on."""


class ProcessFailed(BenchError):
    """A process of the benchmark ended or hangs.

    Attributes:
        name: Which.
        reason: What is known.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"the {self.name} failed: {self.reason}; what it wrote to standard error says more"
