"""What a client is subscribed to: handlers here, wire subscriptions at the bridge, and the credit between them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, final

from attrs import asdict

from mycelium.bus.budget import LogLimit
from mycelium.bus.calling import calling_subscription
from mycelium.bus.carriage import Carriage
from mycelium.bus.clientmeter import ClientMeter
from mycelium.bus.conversation import Conversation
from mycelium.bus.delivery import LOCAL, Delivery
from mycelium.bus.dispatch import Dispatcher, after
from mycelium.bus.errors import BusError, Refused
from mycelium.bus.groups import Groups
from mycelium.bus.keys import lag_of
from mycelium.bus.lag import REPORTED, DropReason, Lag
from mycelium.bus.lastvalues import LastValues
from mycelium.bus.localqueue import Done
from mycelium.bus.requests import Answer
from mycelium.bus.subscription import LocalSubscription
from mycelium.lenient import Lenient
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.schema.model import Message as Model
from mycelium.schema.registry import Registry
from mycelium.wire.batches import Sieve, decode_batch
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.connection import Core
from mycelium.wire.errors import DecodeError, Misfit
from mycelium.wire.metadata import CORRELATION, DELIVER_TO, REPLY_TO, TRACE, Metadata
from mycelium.wire.tlv import walk

__all__ = ["Inbox"]

_log = Log("mycelium.client")
_LETTER: Final = frozenset({CORRELATION, REPLY_TO})
"""Metadata of a request that carries no other."""


@final
class Inbox:
    """The subscriptions of a client.

    A type belongs to one wire subscription, however many handlers wait for it; its credit is given back when all of
    them are done with a message.

    Args:
        core: The core protocol.
        on_reply: Called with the correlation id of each reply to a request of this client, the message, and its trace
            context.
        send_reply: Sends a reply: correlation id, the session that asked, and the message.

    Attributes:
        dispatcher: The handlers and iterators.
        groups: Those that share their messages.
        skipped: Messages of the bridge that could not be read.
        meter: Who counts what comes; None for nobody.
    """

    def __init__(
        self,
        core: Core,
        *,
        on_reply: Callable[[bytes, Message, bytes | None], None],
        send_reply: Callable[[bytes, int, Message], None],
    ) -> None:
        self.groups: Groups[LocalSubscription] = Groups()
        self.dispatcher = Dispatcher(self.groups)
        self.skipped = 0
        self.meter: ClientMeter | None = None
        self._on_reply = on_reply
        self._send_reply = send_reply
        self._carriage = Carriage(core)
        self._retained: dict[int, int] = {}
        """Last values that are still to come, by subscription."""
        self._last = LastValues()
        self._joined: dict[LocalSubscription, None] = {}
        """Those that this connection was begun with: they may have missed messages even if it did not carry them."""
        self._severed: set[LocalSubscription] = set()
        """Those that had a connection, and have not been told yet that there was a time without."""
        self._lines = LogLimit()
        self._sieve = Sieve()
        self._readers: tuple[Registry[Codec], Lenient] | None = None
        self._codecs: dict[int, Codec] = {}
        """Of that generation, without rules."""

    def __repr__(self) -> str:
        return f"<Inbox of {len(self.dispatcher.subscriptions)} subscriptions>"

    # --- connections ---

    def join(self, conversation: Conversation) -> list[tuple[int, Answer]]:
        """Subscribe through this connection to everything there is, and from now on; the bridge's answers by number."""
        self._last.clear()
        self._joined = dict.fromkeys(self.dispatcher.subscriptions)
        return self._carriage.join(conversation)

    def part(self) -> None:
        """The connection is gone, be it one that did not come to carry every subscription."""
        carried = self._carriage.part()
        self._retained.clear()
        subscriptions = self.dispatcher.subscriptions
        self._severed.update(one for one in subscriptions if one in self._joined or carried & one.type_ids)
        self._joined = {}

    def interrupted(self) -> None:
        """There is a connection again; nobody knows what was missed meanwhile."""
        severed, self._severed = self._severed, set()
        for subscription in list(self.dispatcher.subscriptions):
            if subscription in severed:
                subscription.interrupted()

    def refuse(self, number: int, error: Refused) -> list[LocalSubscription]:
        """The bridge does not carry a subscription any more: those who share it end."""
        ended = [
            one
            for one in self.dispatcher.subscriptions
            if any(self._carriage.number_of(type_id) == number for type_id in one.type_ids)
        ]
        for subscription in ended:
            subscription.close(error)
        return ended

    # --- subscribing ---

    def add(self, subscription: LocalSubscription, asked: Mapping[str, Any]) -> list[Answer]:
        """Take a subscription up; the bridge is told of types that are new. What has to be waited for is given back.

        Args:
            subscription: The handler or iterator.
            asked: What was asked for of the wire subscription, by the names of `WireOptions`.

        Raises:
            UsageError: One of the types is subscribed already, with other options than those that are given.
        """
        known = [one for one in sorted(subscription.type_ids) if self._carriage.number_of(one) is not None]
        answers = self._carriage.add(subscription.type_ids, asked)
        self.dispatcher.add(subscription)
        for type_id in known:
            for message, delivery in self._last.of(type_id):
                subscription.offer_retained(message, delivery)
        return answers

    def extend(self, subscription: LocalSubscription, type_ids: frozenset[int]) -> None:
        """Have a subscription get messages of more types, on the terms on which it gets those that it has."""
        new = [one for one in type_ids if self._carriage.number_of(one) is None]
        options = self._carriage.options_of(min(subscription.type_ids))
        if new and options is not None:  # None where the client drains, and nothing is to come any more
            self._carriage.add(new, asdict(options, recurse=False))
        self.dispatcher.extend(subscription, type_ids)

    def leave(self, subscription: LocalSubscription) -> Sequence["asyncio.Future[Any]"]:
        """A subscription has ended: the bridge is told of types that nobody here wants any more."""
        self.dispatcher.remove(subscription)
        return self._unwish(one for one in subscription.type_ids if not self.dispatcher.interested(one))

    def stop(self) -> list[Answer]:
        """Have the bridge send nothing more; handlers go on with what is here."""
        return self._unwish(type_id for one in self.dispatcher.subscriptions for type_id in one.type_ids)

    def close(self) -> None:
        """End every subscription without telling the bridge, which is about to be left."""
        self._carriage.part()
        self.dispatcher.close()

    def cut(self, error: BusError) -> None:
        """There will be no connection any more: iterators give out what they have, then they say so."""
        self._carriage.cut(error)
        for subscription in list(self.dispatcher.subscriptions):
            if subscription.handler is None:
                subscription.close(error)

    def disconnected(self, error: Refused) -> None:
        """The bridge sends this client away for being too slow: that is what `disconnect` asks for."""
        for subscription in list(self.dispatcher.subscriptions):
            options = filter(None, map(self._carriage.options_of, subscription.type_ids))
            if any(one.on_lag is Lag.DISCONNECT for one in options):
                subscription.close(error)

    # --- what is known ---

    def blocks_itself(self, model: Model) -> bool:
        """Whether this is called from a handler in whose own queue, under `block`, messages of the type wait."""
        caller = calling_subscription()
        options = self._carriage.options_of(model.type_id)
        if caller is None or options is None or caller not in self.dispatcher.subscriptions:
            return False
        lag = lag_of(model) if options.on_lag is None else options.on_lag
        return lag is Lag.BLOCK and caller.wants(model.type_id)

    # --- receiving ---

    def receive(self, batch: Batch, registry: Registry[Codec]) -> None:
        """Hand frames to the handlers, in their order."""
        if self.meter is not None:
            self.meter.came(batch)
        if len(batch.type_ids) == 1:
            self._receive_each(batch, 0, 1, registry)
            return
        for start, stop in self._sieve.left_over(batch, lambda part: self._receive_run(part, registry)):
            self._receive_each(batch, start, stop, registry)

    def _receive_each(self, batch: Batch, start: int, stop: int, registry: Registry[Codec]) -> None:
        carriage = self._carriage
        for index in range(start, stop):
            tags: dict[int, bytes] = {}
            type_id, payload = batch.type_ids[index], batch.payload(index)
            try:
                message = self._decoded(type_id, registry, payload, tags)
            except DecodeError as error:
                self._skip(error, type_id, payload)
                continue
            if tags and DELIVER_TO in tags and CORRELATION in tags:
                self._on_reply(tags[CORRELATION], message, tags.get(TRACE))
                continue
            number = carriage.carrier_of(type_id)
            credit = carriage.credit_of(number)
            if credit is not None and number is not None:  # else of a subscription that is no more
                delivery = self._delivery(tags, number) if tags or self._retained else LOCAL
                if message.__mycelium__.message.retain is not None:
                    self._last.put(message, delivery, len(payload))
                credit.out += 1
                self._deliver(type_id, message, delivery, credit.some)

    def _receive_run(self, batch: Batch, registry: Registry[Codec]) -> bool:
        """Take all frames at once if one handler takes them; false where there is more to them than their fields."""
        types = batch.types
        takers = {self.dispatcher.takers(type_id) for type_id in types}
        carriers = {self._carriage.carrier_of(type_id) for type_id in types}
        if len(takers) > 1 or len(carriers) > 1 or self.groups or self._retained:
            return False
        only, credit = takers.pop(), self._carriage.credit_of(carriers.pop())
        codecs = {type_id: codec for type_id in types if (codec := self._codec(type_id, registry)) is not None}
        if len(only) != 1 or credit is None or len(codecs) < len(types):
            return False
        if any(codec.message.retain is not None for codec in codecs.values()):
            return False
        messages = decode_batch(batch, codecs)
        if messages is None:
            return False
        credit.out += len(messages)
        only[0].offer_run(messages, credit.some)
        return True

    def retained(self, notice: Any) -> None:
        """So many frames that come now are last values, those that were announced before included."""
        self._retained[notice.subscription] = notice.messages

    def lagged(self, notice: Any, registry: Registry[Codec]) -> None:
        """Count what the bridge has dropped, with every handler that did not get it; of a group with one."""
        if self._carriage.number_of(notice.type_id) != notice.subscription:
            return  # it was of those who have left
        reason = DropReason(notice.reason)
        for subscription in self._takers(notice.type_id):
            subscription.missed(notice.type_id, reason, notice.dropped)
        if reason is not DropReason.CONFLATED:  # which is what `latest` asks for
            entry = registry.by_id.get(notice.type_id)
            name = f"type id {notice.type_id}" if entry is None else entry.message.name
            slow = "too slow: " if reason.reason in REPORTED else ""
            about = {"message_type": name, "type_id": notice.type_id, "reason": reason.reason}
            self._warn(f"lag {name}", Line.CONSUMER_LOSES, slow=slow, dropped=notice.dropped, **about)

    def settle(self) -> None:
        """Give back the credit that no full batch has given back yet."""
        self._carriage.settle()

    # --- inside ---

    def _takers(self, type_id: int) -> tuple[LocalSubscription, ...]:
        """Who gets the next message of a type."""
        takers = self.dispatcher.takers(type_id)
        if self.groups.members:
            takers = (*takers, *(one for turns in self.groups.of(type_id) if (one := turns.pick()) is not None))
        return takers

    def _deliver(self, type_id: int, message: Message, delivery: Delivery, done: Done) -> None:
        takers = self._takers(type_id)
        shared = done if len(takers) == 1 else after(len(takers), done)
        for taker in takers:
            taker.offer(message, delivery, shared)

    def _delivery(self, tags: Mapping[int, bytes], number: int) -> Delivery:
        send_reply: Callable[[Message], object] | None = None
        if CORRELATION in tags and REPLY_TO in tags:
            asker = int.from_bytes(tags[REPLY_TO], "little")
            send_reply = partial(self._send_reply, tags[CORRELATION], asker)
        if tags.keys() <= _LETTER:
            delivery = Delivery(send_reply=send_reply)
        else:
            delivery = Delivery.of(Metadata.from_tags(tags), send_reply)
        return delivery.as_retained() if self._retained and self._take_retained(number) else delivery

    def _take_retained(self, number: int) -> bool:
        """Whether the next frame of a subscription is a last value; it is taken for one."""
        left = self._retained.pop(number, 0)
        if left > 1:
            self._retained[number] = left - 1
        return left > 0

    def _codec(self, type_id: int, registry: Registry[Codec]) -> Codec | None:
        """What reads messages that the bridge delivers: their rules were checked at its door, and are its business."""
        if self._readers is None or self._readers[0] is not registry:
            self._readers = registry, Lenient(registry.lineage)
            self._codecs.clear()
        codec = self._codecs.get(type_id)
        if codec is None and (entry := registry.by_id.get(type_id)) is not None:
            is_free = entry.codec.walk.rules is None
            codec = self._codecs[type_id] = entry.codec if is_free else self._readers[1].codec_of(entry.message.name)
        return codec

    def _decoded(self, type_id: int, registry: Registry[Codec], payload: bytes, tags: dict[int, bytes]) -> Message:
        codec = self._codec(type_id, registry)
        if codec is None:
            raise DecodeError(f"type id {type_id}", None, "these contracts have no such message", None)
        message: Message = codec.decode(payload, tags)
        return message

    def _unwish(self, type_ids: Iterable[int]) -> list[Answer]:
        unwanted = list(type_ids)
        for type_id in unwanted:
            self._last.forget(type_id)
        return self._carriage.remove(unwanted)

    def _skip(self, error: DecodeError, type_id: int, payload: bytes) -> None:
        """Leave out a message that cannot be read; its credit is given back all the same."""
        self.skipped += 1
        number = self._carriage.carrier_of(type_id)
        credit = self._carriage.credit_of(number)
        if credit is not None and number is not None and not _is_reply(payload):
            self._take_retained(number)
            credit.out += 1
            credit.some(1)
        # The value that does not fit is the message's, which logs do not show.
        where = f"{error.message}.{error.field}" if error.field else error.message
        about = {"message_type": error.message, "type_id": type_id, "reason": error.problem}
        self._warn(f"skip {error.message}", Line.FRAME_UNREADABLE, where=where, size_bytes=len(payload), **about)

    def _warn(self, about: str, line: Line, **values: Any) -> None:
        """One line of log per matter and second."""
        held = self._lines.admit(about, asyncio.get_running_loop().time())
        if held is not None:
            _log(line, suppressed=held, **values)


def _is_reply(payload: bytes) -> bool:
    """Whether a message that cannot be read came past every subscription, on nobody's credit."""
    try:
        return any(tag == DELIVER_TO for tag, _, _ in walk(payload, 0, len(payload)))
    except Misfit:  # the bridge hands on no such thing
        return False
