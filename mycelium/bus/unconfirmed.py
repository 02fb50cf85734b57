"""Confirmed messages whose Receipts have not come yet, by their number on the connection."""

import asyncio
from typing import Any, Final, TypeAlias, final

from mycelium.bus.errors import BackpressureTimeout, QueueFull, refusal
from mycelium.bus.outcome import new_outcome
from mycelium.bus.receipt import Receipt
from mycelium.wire.errors import ErrorCode

__all__ = ["Unconfirmed", "Waiter", "fail"]

Waiter: TypeAlias = "asyncio.Future[Receipt]"
_MOST_TEXTS: Final = 256


@final
class Unconfirmed:
    """Number -> who waits for the Receipt of the message.

    Args:
        block_seconds: How long a publisher waits under `block`, for errors.
    """

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._waiters: dict[Waiter, None] = {}
        """All of them, those of messages included that have not been sent yet."""
        self._waiting: dict[int, Waiter] = {}
        self._texts: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"<Unconfirmed, {len(self)} to come>"

    def __len__(self) -> int:
        return sum(not waiter.done() for waiter in self._waiting.values())

    def new_waiter(self) -> Waiter:
        """Somebody is about to publish a message, and to wait for its Receipt."""
        waiter = new_outcome()
        self._waiters[waiter] = None
        waiter.add_done_callback(lambda done: self._waiters.pop(done, None))
        return waiter

    def expect(self, waiter: Waiter, number: int) -> None:
        """A message has been handed to the socket under this number."""
        if not waiter.done():
            self._waiting[number] = waiter
            waiter.add_done_callback(lambda _: self._waiting.pop(number, None))

    def explain(self, number: int, text: str) -> bool:
        """Why a message is refused, ahead of its Receipt; false where nobody waits for that."""
        if number not in self._waiting:
            return False
        while len(self._texts) >= _MOST_TEXTS:
            self._texts.pop(next(iter(self._texts)))
        self._texts[number] = text
        return True

    def settle(self, notice: Any) -> int:
        """A Receipt came; for how many messages that nobody waits for."""
        covered = notice.last - notice.first + 1
        if covered <= len(self._waiting):
            numbers = [one for one in range(notice.first, notice.last + 1) if one in self._waiting]
        else:
            numbers = [one for one in self._waiting if notice.first <= one <= notice.last]
        for number in numbers:
            self._answer(number, notice)
        return int(max(covered, 0)) - len(numbers)

    def lose(self, error: Exception) -> None:
        """The connection is gone: no Receipt will come, and what became of the messages is unknown."""
        waiting, self._waiting = self._waiting, {}
        self._texts.clear()
        for waiter in waiting.values():
            fail(waiter, error)

    def close(self, error: Exception) -> None:
        """No Receipt will come to anybody, whether or not the message was sent."""
        for waiter in self._waiters:
            fail(waiter, error)

    async def settled(self) -> None:
        """Wait until everybody has an answer."""
        while self._waiting:
            await asyncio.wait(list(self._waiting.values()))
            await asyncio.sleep(0)  # the callbacks that take them out come after this one

    def _answer(self, number: int, notice: Any) -> None:
        waiter = self._waiting.pop(number)
        text = self._texts.pop(number, "")
        if waiter.done():
            return
        receipt = Receipt(number, notice.matched, notice.enqueued, notice.dropped, notice.code)
        error = self._error_of(receipt, text)
        if error is None:
            waiter.set_result(receipt)
        else:
            waiter.set_exception(error)

    def _error_of(self, receipt: Receipt, text: str) -> Exception | None:
        match receipt.code:
            case None:
                return None
            case ErrorCode.QUEUE_FULL:
                problem = text or "a subscriber's queue is full"
                return QueueFull(f"{problem}; {receipt.enqueued} others have the message", receipt.enqueued)
            case ErrorCode.BACKPRESSURE_TIMEOUT:
                return BackpressureTimeout(self._block_seconds, receipt.enqueued)
            case code:
                return refusal(code, text or "no reason given")


def fail(waiter: Waiter, error: Exception) -> None:
    """Tell whoever waits that no Receipt will come, unless there was one."""
    if not waiter.done():
        waiter.set_exception(error)
