"""What is sent: messages whose values change, and which fields a reader looks at.

Classes come from the contracts for Mycelium, and from wherever they like for others; all have the same fields.
"""

import random
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from attrs import frozen

from mycelium.examples import example_contracts

__all__ = ["FIELDS", "WORKLOADS", "Make", "Workload", "contract_text", "readers"]

Make = Callable[[int], Any]
"""A message of a number."""

_MORE: Final = """
  # Only the benchmark sends these. Text is TextMessage without its rules: others have none to check.
  Text:
    tlv_type: 2000
    fields: {sender: {type: String}, content: {type: String}, timestamp: {type: u64}}
  Quote:
    tlv_type: 2001
    fields: {instrument: {type: u32}, price: {type: f64}, size: {type: u32}}
  Trade:
    tlv_type: 2002
    fields: {trade_id: {type: u64}, venue: {type: String}, quantity: {type: i64}}
  Blob:
    tlv_type: 2003
    fields: {number: {type: u64}, body: {type: bytes}}
  Stamped:
    tlv_type: 2004
    fields: {due: {type: u64, description: Nanoseconds of the monotonic clock}, number: {type: u64}}
"""
FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    "CounterUpdate": {"counter_id": int, "value": int, "delta": int},
    "Text": {"sender": str, "content": str, "timestamp": int},
    "TextMessage": {"sender": str, "content": str, "timestamp": int},
    "Quote": {"instrument": int, "price": float, "size": int},
    "Trade": {"trade_id": int, "venue": str, "quantity": int},
    "Blob": {"number": int, "body": bytes},
    "Stamped": {"due": int, "number": int},
    "Ping": {"value": str},
    "Pong": {"value": str},
}
"""The messages and the Python types of their fields, in file order."""
_MIX: Final = ("CounterUpdate", "Text", "Quote", "Trade")
_MIX_LENGTH: Final = 4096
"""Steps after which the random order of types begins again; a power of two."""


def contract_text() -> str:
    """The project's example contracts, and what the benchmark needs beside them."""
    return example_contracts().read_text(encoding="utf-8") + _MORE


def readers() -> dict[str, Callable[[Any], Any]]:
    """For each message, a function that reads all its fields."""
    return {name: attrgetter(*fields) for name, fields in FIELDS.items()}


@frozen
class Workload:
    """A sequence of messages.

    Attributes:
        types: Names of the messages in it.
        maker: Of an object with the classes as attributes and the size of payloads: a function of the number.
    """

    types: tuple[str, ...]
    maker: Callable[[Any, int], Make]


def _counter(classes: Any, _: int) -> Make:
    made = classes.CounterUpdate
    return lambda number: made(counter_id=number, value=number % 1000, delta=-1)


def _text(classes: Any, _: int) -> Make:
    return _line(classes.Text)


def _ruled(classes: Any, _: int) -> Make:
    return _line(classes.TextMessage)


def _line(made: Callable[..., Any]) -> Make:
    return lambda number: made(sender="bench", content=f"message {number} of this run", timestamp=number)


def _quote(classes: Any, _: int) -> Make:
    made = classes.Quote
    return lambda number: made(instrument=number % 100, price=number * 0.25, size=number)


def _trade(classes: Any, _: int) -> Make:
    made = classes.Trade
    return lambda number: made(trade_id=number, venue="XETR", quantity=-number)


def _mix(classes: Any, size: int) -> Make:
    makers = [maker(classes, size) for maker in (_counter, _text, _quote, _trade)]
    drawn = random.Random(1).choices(makers, k=_MIX_LENGTH)  # noqa: S311  the same order in every run
    return lambda number: drawn[number % _MIX_LENGTH](number)


def _blob(classes: Any, size: int) -> Make:
    made = classes.Blob
    bodies = [bytes([first]) * size for first in range(16)]
    return lambda number: made(number=number, body=bodies[number % 16])


def _stamped(classes: Any, _: int) -> Make:
    made = classes.Stamped
    return lambda number: made(due=0, number=number)


WORKLOADS: Final[Mapping[str, Workload]] = {
    "counter": Workload(("CounterUpdate",), _counter),
    "text": Workload(("Text",), _text),
    "ruled": Workload(("TextMessage",), _ruled),
    "mix": Workload(_MIX, _mix),
    "blob": Workload(("Blob",), _blob),
    "stamped": Workload(("Stamped",), _stamped),
}
