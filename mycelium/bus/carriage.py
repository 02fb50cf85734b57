"""The wire subscriptions of a client at its bridge: asked for, confirmed, given credit; again with each connection."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, final

from attrs import evolve

from mycelium.bus.conversation import Conversation
from mycelium.bus.credit import Backlog, Credit
from mycelium.bus.errors import BusError, ConnectionLost
from mycelium.bus.interest import Interest, WireOptions, Wish
from mycelium.bus.outcome import new_outcome
from mycelium.bus.requests import Answer
from mycelium.schema.classes import Message
from mycelium.wire.connection import Core

__all__ = ["Carriage"]


@final
class Carriage:
    """What the bridge has been asked to send.

    Args:
        core: The core protocol.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._interest = Interest()
        self._credits: dict[int, Credit] = {}
        self._backlogs: dict[int, Backlog] = {}
        self._confirmations: dict[int, Answer] = {}
        self._conversation: Conversation | None = None

    def __repr__(self) -> str:
        return f"<Carriage of {self._interest!r}>"

    # --- connections ---

    def join(self, conversation: Conversation) -> list[tuple[int, Answer]]:
        """Ask through this connection for everything there is, and from now on; the bridge's answers by number."""
        self._conversation = conversation
        return [(wish.number, self._begin(wish)) for wish in self._interest.again()]

    def part(self) -> set[int]:
        """The connection is gone, or about to be: what came through it is given back no more; the types that did."""
        self._conversation = None
        for number, credit in self._credits.items():
            if credit.out:
                credit.void(self._backlogs.setdefault(number, Backlog(partial(self._widen, number))))
        self._credits.clear()
        return self._interest.interrupt()

    def cut(self, error: BusError) -> None:
        """There will be no connection any more."""
        for answer in self._confirmations.values():
            if not answer.done():
                answer.set_exception(error)
        self._confirmations.clear()

    # --- asking ---

    def add(self, type_ids: Iterable[int], asked: Mapping[str, Any]) -> list[Answer]:
        """Have these types sent; done when the bridge has confirmed all of them, whenever it was asked.

        Args:
            type_ids: The types.
            asked: Options by the names of `WireOptions`; those that are left out may be whatever they are.

        Raises:
            UsageError: One of them is subscribed already, with other options than those that are given.
        """
        type_ids = list(type_ids)
        wish = self._interest.add(type_ids, asked)
        numbers = {self._interest.number_of(type_id) for type_id in type_ids}
        if not self._is_open:  # the next connection is asked, also for what an earlier one has confirmed
            return [self._confirmation(number) for number in sorted(filter(None, numbers))]
        if wish is not None:
            self._begin(wish)
        return [answer for number, answer in self._confirmations.items() if number in numbers]

    def remove(self, type_ids: Iterable[int]) -> list[Answer]:
        """Have these types sent no more."""
        wishes = self._interest.remove(type_ids)
        for wish in wishes:
            if not wish.type_ids:
                self._confirmations.pop(wish.number, None)
                self._backlogs.pop(wish.number, None)
        return [self._tell(wish) for wish in wishes] if self._is_open else []

    # --- what is known ---

    def carrier_of(self, type_id: int) -> int | None:
        """The subscription through which a frame of the type comes now."""
        return self._interest.carrier_of(type_id)

    def number_of(self, type_id: int) -> int | None:
        """The subscription that is to carry a type."""
        return self._interest.number_of(type_id)

    def options_of(self, type_id: int) -> WireOptions | None:
        """The options of the subscription that is to carry a type."""
        return self._interest.options_of(type_id)

    # --- credit ---

    def credit_of(self, number: int | None) -> Credit | None:
        """Where messages of a subscription are counted."""
        return None if number is None else self._credits.get(number)

    def settle(self) -> None:
        """Give back the credit that no full batch has given back yet."""
        for credit in self._credits.values():
            credit.settle()

    # --- inside ---

    @property
    def _is_open(self) -> bool:
        return self._conversation is not None and self._conversation.is_open

    def _begin(self, wish: Wish) -> Answer:
        """Ask for a subscription, with a whole window less what handlers still have of earlier connections."""
        backlog = self._backlogs.get(wish.number)
        if backlog is not None:
            wish = evolve(wish, options=evolve(wish.options, window=max(1, wish.options.window - backlog.count)))
        self._credits[wish.number] = Credit(wish.options.window, partial(self._give, wish.number))
        confirmation = self._confirmation(wish.number)
        answer = self._tell(wish)
        answer.add_done_callback(lambda done: _pass_on(done, confirmation))
        return answer

    def _widen(self, number: int) -> None:
        """Handlers are done with what came through earlier connections: the window is whole again."""
        if self._backlogs.pop(number, None) is not None and self._is_open and number in self._credits:
            wish = self._interest.wish_of(number)
            self._credits[number].resize(wish.options.window)
            self._tell(wish)

    def _confirmation(self, number: int) -> Answer:
        """Done when the bridge carries a subscription, over however many connections that takes."""
        answer = self._confirmations.get(number)
        if answer is None or answer.done():
            answer = self._confirmations[number] = new_outcome()
        return answer

    def _tell(self, wish: Wish) -> Answer:
        assert self._conversation is not None  # noqa: S101  looked at before
        return self._conversation.ask(partial(self._request, wish), partial(self._confirmed, wish))

    def _request(self, wish: Wish, request: int) -> Message:
        made: Message
        if wish.type_ids:
            options = wish.options
            made = self._core.Subscribe(
                request=request,
                subscription=wish.number,
                type_ids=list(wish.type_ids),
                on_lag=options.on_lag,
                window=options.window,
                queue=options.queue,
                no_echo=True if options.no_echo else None,
                group=options.group,
            )
        else:
            made = self._core.Unsubscribe(request=request, subscription=wish.number)
        return made

    def _confirmed(self, wish: Wish) -> None:
        self._interest.settle(wish)
        if not wish.type_ids:
            self._credits.pop(wish.number, None)

    def _give(self, number: int, messages: int) -> None:
        if self._conversation is not None:
            self._conversation.give_credit(number, messages)


def _pass_on(answer: Answer, confirmation: Answer) -> None:
    """The bridge has answered; where it has not, the next connection may."""
    if confirmation.done() or answer.cancelled():
        return
    error = answer.exception()
    if error is None:
        confirmation.set_result(None)
    elif not isinstance(error, ConnectionLost):
        confirmation.set_exception(error)
