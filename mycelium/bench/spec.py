"""What a process of the benchmark is told when it is started."""

import json
from typing import Self

from attrs import asdict, frozen

__all__ = ["Spec"]


@frozen
class Spec:
    """The task of a process.

    Attributes:
        role: publisher, subscriber, …; each contender has a table of them.
        url: Where the server is, in the contender's own words.
        workload: Key of `WORKLOADS`.
        messages: How many are published in all.
        size: Bytes of a payload, for workloads that have one.
        connections: Over which publishers or subscribers are spread.
        flight: Confirmed publishes at the same time.
        rate: Messages a second of an open loop.
        uvloop: Run on uvloop in place of plain asyncio.
        way: Which of several ways to do it, where a role has them.
    """

    role: str
    url: str = ""
    workload: str = "counter"
    messages: int = 1000
    size: int = 1024
    connections: int = 1
    flight: int = 256
    rate: int = 20_000
    uvloop: bool = False
    way: str = ""

    def to_json(self) -> str:
        """As an argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` made."""
        return cls(**json.loads(text))
