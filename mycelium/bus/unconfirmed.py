"""Confirmed messages whose Receipts have not come yet, by their number on the connection."""

import asyncio
from functools import partial
from typing import Any, Final, TypeAlias, final

from mycelium.bus.errors import BackpressureTimeout, ConfirmTimeout, ConnectionLost, QueueFull, refusal
from mycelium.bus.parcel import Parcel, Stamp
from mycelium.bus.receipt import Receipt
from mycelium.wire.errors import ErrorCode

__all__ = ["Unconfirmed", "Waiter", "fail"]

Waiter: TypeAlias = "asyncio.Future[Receipt]"
_MOST_TEXTS: Final = 256


@final
@final
class Unconfirmed:
    """Number -> who waits for the Receipt of the message.

    One timer looks after all who wait, since they wait equally long.

    Args:
        block_seconds: How long a publisher waits under `block`, for errors.
    """

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._waiters: dict[Waiter, tuple[float, float, str]] = {}
        """All of them, those of messages included that have not been sent yet, with the end of their time by the loop's
        clock, how long it was, and the name of the message."""
        self._waiting: dict[int, Waiter] = {}
        self._texts: dict[int, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Unconfirmed, {len(self)} to come>"

    def __len__(self) -> int:
        return sum(not waiter.done() for waiter in self._waiting.values())

    def new_waiter(self, name: str, seconds: float) -> Waiter:
        """Somebody is about to publish a message, and to wait for its Receipt; whoever gets it has to `forget` it.

        Args:
            name: The message's.
            seconds: How long to wait; the same in every call.
        """
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        end = loop.time() + seconds
        self._waiters[waiter] = end, seconds, name
        if self._timer is None:
            self._timer = loop.call_at(end, self._expire)
        return waiter

    def parcel(self, frame: bytes, stamp: Stamp, waiter: Waiter) -> Parcel:
        """The message, where it may have to wait to be sent."""

        def dropped(why: str) -> None:
            fail(waiter, ConnectionLost(why))

        return Parcel(frame, stamp, is_confirmed=True, on_handed=partial(self.expect, waiter), on_dropped=dropped)

    def expect(self, waiter: Waiter, number: int) -> None:
        """A message has been handed to the socket under this number."""
        if not waiter.done():
            self._waiting[number] = waiter

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits any more."""
        self._waiters.pop(waiter, None)
        if not self._waiters and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def explain(self, number: int, text: str) -> bool:
        """Why a message is refused, ahead of its Receipt; false where nobody waits for that."""
        if number not in self._waiting or self._waiting[number].done():
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
        waited = sum([self._answer(number, notice) for number in numbers])
        return int(max(covered, 0)) - waited

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
        while waiting := [one for one in self._waiting.values() if not one.done()]:
            await asyncio.wait(waiting)

    def _expire(self) -> None:
        """Tell those whose time is over, and look again when the next one's is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for waiter, (end, seconds, name) in self._waiters.items():
            if end > now:
                self._timer = loop.call_at(end, self._expire)
                return
            fail(waiter, ConfirmTimeout(name, seconds))

    def _answer(self, number: int, notice: Any) -> bool:
        """Give the Receipt to whoever waits; whether somebody does."""
        waiter = self._waiting.pop(number)
        text = self._texts.pop(number, "") if self._texts else ""
        if waiter.done():
            return False
        receipt = Receipt(number, notice.matched, notice.enqueued, notice.dropped, notice.code)
        error = self._error_of(receipt, text)
        if error is None:
            waiter.set_result(receipt)
        else:
            fail(waiter, error)
        return True

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
    """Tell whoever waits that no Receipt will come, unless there was one; who waited may have gone."""
    if not waiter.done():
        waiter.set_exception(error)
        waiter.exception()
