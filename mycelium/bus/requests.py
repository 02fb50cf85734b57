"""Questions to the bridge that wait for their answers, by number."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, final

from mycelium.bus.outcome import new_outcome

if TYPE_CHECKING:
    import asyncio

__all__ = ["Answer", "Requests"]

Answer: TypeAlias = "asyncio.Future[None]"
_NUMBERS: Final = 1 << 32
"""A request's number is a u32 on the wire."""


@final
class Requests:
    """Number -> who waits for the answer, and what has to be done the moment it comes.

    A question stays until it is answered or the connection is gone, whether or not somebody still waits: the answer
    changes what later frames mean.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[Answer, Callable[[], None] | None]] = {}

    def __repr__(self) -> str:
        return f"<Requests, {len(self._waiting)} waiting>"

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, on_answer: Callable[[], None] | None = None) -> tuple[int, Answer]:
        """A number for a new question, and the future of its answer.

        Args:
            on_answer: Called when the bridge has said yes, before anything that it says later is looked at.
        """
        number = next(self._numbers) % _NUMBERS
        answer: Answer = new_outcome()
        self._waiting[number] = answer, on_answer
        return number, answer

    def answer(self, number: int) -> None:
        """The bridge has said yes; a number that nobody has asked with is skipped."""
        answer, on_answer = self._waiting.pop(number, (None, None))
        if on_answer is not None:
            on_answer()
        if answer is not None and not answer.done():
            answer.set_result(None)

    def refuse(self, number: int, error: Exception) -> bool:
        """The bridge has said no; false where nobody has asked with the number."""
        answer, _ = self._waiting.pop(number, (None, None))
        if answer is not None and not answer.done():
            answer.set_exception(error)
        return answer is not None

    def fail(self, error: Exception) -> None:
        """No answer will come any more."""
        for number in list(self._waiting):
            self.refuse(number, error)
