"""What a client is subscribed to: handlers here, wire subscriptions at the bridge, and the credit between them."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.conversation import Conversation
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher
from mycelium.bus.errors import ConnectionLost
from mycelium.bus.groups import Groups
from mycelium.bus.interest import Credit, Interest, Wish
from mycelium.bus.lag import DropReason
from mycelium.bus.requests import Answer
from mycelium.bus.subscription import LocalSubscription
from mycelium.lenient import Lenient
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.connection import Core
from mycelium.wire.errors import DecodeError
from mycelium.wire.metadata import Metadata

__all__ = ["Inbox"]

_log = logging.getLogger("mycelium.client")


@final
class Inbox:
    """The subscriptions of a client.

    A type belongs to one wire subscription, however many handlers wait for it; its credit is given back when all of
    them are done with a message.

    Args:
        core: The core protocol.

    Attributes:
        dispatcher: The handlers and iterators.
        skipped: Messages of the bridge that could not be read.
    """

    def __init__(self, core: Core) -> None:
        self.groups: Groups[LocalSubscription] = Groups()
        self.dispatcher = Dispatcher(self.groups)
        self.skipped = 0
        self._core = core
        self._interest = Interest()
        self._credits: dict[int, Credit] = {}
        self._confirmations: dict[int, Answer] = {}
        self._conversation: Conversation | None = None
        self._lines = LogLimit()
        self._lenient: tuple[Registry[Codec], Lenient] | None = None

    def __repr__(self) -> str:
        return f"<Inbox of {len(self.dispatcher.subscriptions)} subscriptions>"

    # --- subscribing ---

    def join(self, conversation: Conversation) -> None:
        """Subscribe through this connection from now on."""
        self._conversation = conversation

    def add(self, subscription: LocalSubscription, window: int | None, queue: int | None) -> list[Answer]:
        """Take a subscription up; the bridge is told of types that are new. What has to be waited for is given back.

        Raises:
            UsageError: One of the types is subscribed already, with other options than those that are given.
            ConnectionLost: There is no connection any more.
        """
        wish = self._interest.add(subscription.type_ids, window, queue)
        self.dispatcher.add(subscription)
        return self._carry(subscription, wish)

    def extend(self, subscription: LocalSubscription, type_ids: frozenset[int]) -> None:
        """Have a subscription get messages of more types."""
        wish = self._interest.add(type_ids)
        self.dispatcher.extend(subscription, type_ids)
        self._carry(subscription, wish)

    def _carry(self, subscription: LocalSubscription, wish: Wish | None) -> list[Answer]:
        if wish is not None:
            self._credits[wish.number] = Credit(wish.options.window, partial(self._give, wish.number))
            self._confirmations[wish.number] = self._tell(wish)
        numbers = {self._interest.number_of(type_id) for type_id in subscription.type_ids}
        return [answer for number, answer in self._confirmations.items() if number in numbers]

    def leave(self, subscription: LocalSubscription) -> Sequence["asyncio.Future[Any]"]:
        """A subscription has ended: the bridge is told of types that nobody here wants any more."""
        self.dispatcher.remove(subscription)
        unwanted = [one for one in subscription.type_ids if not self.dispatcher.interested(one)]
        wishes = self._interest.remove(unwanted)
        if self._conversation is None or not self._conversation.is_open:
            return ()
        return [self._tell(wish) for wish in wishes]

    # --- receiving ---

    def receive(self, batch: Batch, registry: Registry[Codec]) -> None:
        """Hand frames to the handlers, in their order."""
        entries = registry.by_id
        for index, type_id in enumerate(batch.type_ids):
            number = self._interest.carrier_of(type_id)
            credit = self._credits.get(number) if number is not None else None
            if credit is None:
                continue  # of a subscription that is no more
            entry = entries.get(type_id)
            if entry is None or not self.dispatcher.interested(type_id):
                credit.one()
                continue
            tags: dict[int, bytes] = {}
            try:
                message = self._decoded(entry, registry, batch.payload(index), tags)
                delivery = Delivery.of(Metadata.from_tags(tags)) if tags else LOCAL
            except DecodeError as error:
                self._skip(error, credit)
            else:
                self.dispatcher.deliver(type_id, message, delivery, credit.one)

    def _decoded(
        self, entry: Entry[Codec], registry: Registry[Codec], payload: bytes, tags: dict[int, bytes]
    ) -> Message:
        """A message that the bridge delivers: its rules are the bridge's business, and were checked at its door."""
        message: Message
        try:
            message = entry.codec.decode(payload, tags)
        except DecodeError as error:
            if error.rule is None:
                raise
            if self._lenient is None or self._lenient[0] is not registry:
                self._lenient = registry, Lenient(registry.lineage)
            message = self._lenient[1].codec_of(entry.message.name).decode(payload, tags)
        return message

    def lagged(self, notice: Any, registry: Registry[Codec]) -> None:
        """Count what the bridge has dropped, with every handler that did not get it."""
        reason = DropReason(notice.reason)
        for subscription in self.dispatcher.interested(notice.type_id):
            subscription.missed(notice.type_id, reason, notice.dropped)
        entry = registry.by_id.get(notice.type_id)
        name = f"type id {notice.type_id}" if entry is None else entry.message.name
        self._warn(
            f"lag {name}", f"too slow: the bridge has dropped {notice.dropped} messages of {name} ({reason.reason})"
        )

    def settle(self) -> None:
        """Give back the credit that no full batch has given back yet."""
        for credit in self._credits.values():
            credit.settle()

    def stop(self) -> list[Answer]:
        """Have the bridge send nothing more; handlers go on with what is here."""
        if self._conversation is None or not self._conversation.is_open:
            return []
        carried = [type_id for one in self.dispatcher.subscriptions for type_id in one.type_ids]
        return [self._tell(wish) for wish in self._interest.remove(carried)]

    def close(self) -> None:
        """End every subscription without telling the bridge, which is about to be left."""
        self._conversation = None
        self.dispatcher.close()

    def cut(self, reason: str) -> None:
        """The connection is gone: iterators give out what they have, then they say so."""
        for subscription in list(self.dispatcher.subscriptions):
            if subscription.handler is None:
                subscription.close(ConnectionLost(reason))

    # --- inside ---

    def _tell(self, wish: Wish) -> Answer:
        assert self._conversation is not None  # noqa: S101  nobody subscribes before there is one
        return self._conversation.ask(partial(self._request, wish), partial(self._confirmed, wish))

    def _request(self, wish: Wish, request: int) -> Message:
        made: Message
        if wish.type_ids:
            made = self._core.Subscribe(
                request=request,
                subscription=wish.number,
                type_ids=list(wish.type_ids),
                window=wish.options.window,
                queue=wish.options.queue,
            )
        else:
            made = self._core.Unsubscribe(request=request, subscription=wish.number)
        return made

    def _confirmed(self, wish: Wish) -> None:
        self._interest.settle(wish)
        if not wish.type_ids:
            self._credits.pop(wish.number, None)
            self._confirmations.pop(wish.number, None)

    def _give(self, number: int, messages: int) -> None:
        if self._conversation is not None:
            self._conversation.give_credit(number, messages)

    def _skip(self, error: DecodeError, credit: Credit) -> None:
        self.skipped += 1
        # The value that does not fit is the message's, which logs do not show.
        where = f"{error.message}.{error.field}" if error.field else error.message
        self._warn(f"skip {error.message}", f"a message of the bridge cannot be read: {where}: {error.problem}")
        credit.one()

    def _warn(self, about: str, text: str) -> None:
        """One line of log per matter and second."""
        held = self._lines.admit(about, asyncio.get_running_loop().time())
        if held is not None:
            _log.warning("%s%s", text, f" (and {held} lines like it before)" if held else "")
