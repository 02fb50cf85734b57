"""The bridge's door: what a client's application frames have to pass before anybody gets them."""

import contextlib
from collections.abc import Mapping
from typing import Final, final

from attrs import frozen

from mycelium.bus.monotonic import MonotonicGuard
from mycelium.schema.errors import RuleError
from mycelium.schema.model import Message, Schema
from mycelium.schema.registry import Entry
from mycelium.wire.batches import Sieve, verify_batch
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, ErrorCode
from mycelium.wire.metadata import CORRELATION, DELIVER_TO, KINDS, ORIGIN, PUBLISHED_AT, REPLY_TO, TRACE

__all__ = ["Door", "Letter", "Objection"]

_NUMBER_SIZE: Final = KINDS[REPLY_TO].size


@frozen
class Objection:
    """Why a frame is not let in.

    Attributes:
        index: Its place in the batch.
        type_id: Its type.
        code: The error's code.
        problem: For the client; it may show the client's own values, so it is not for logs.
        excused: Whether the client could not know better: it is told once in a while, and never sent away for it.
        rule: The name of the rule that a value breaks; None where it is not about one.
        note: The same for logs; empty where there is only the type to be told.
        asks: The correlation id, if it is a request, of which the client is told that nobody has got it.
    """

    index: int
    type_id: int
    code: ErrorCode
    problem: str
    excused: bool = False
    rule: str | None = None
    note: str = ""
    asks: bytes | None = None


@final
class Letter:
    """A frame for one session alone, or one that asks for such: a reply, or a request.

    Attributes:
        index: Its place in the batch.
        correlation: What ties the two.
        deliver_to: The session that a reply is for; None for a request.
    """

    __slots__ = ("correlation", "deliver_to", "index")

    def __init__(self, index: int, correlation: bytes, deliver_to: int | None) -> None:
        self.index = index
        self.correlation = correlation
        self.deliver_to = deliver_to


@final
class Door:
    """Checks frames against the newest generation: type, structure, rules and metadata.

    Args:
        session: The number that this connection may give as its own.
        guard: Of this connection.

    Attributes:
        guard: See above.
        stamp: When the first message of the batch was published that says so, in nanoseconds of its publisher's clock.
        trace: The trace context of the first message that has one.
        contracts: What the client writes by, where that is something else than the newest generation.
    """

    def __init__(self, session: int, guard: MonotonicGuard) -> None:
        self.guard = guard
        self.stamp: int | None = None
        self.trace: bytes | None = None
        self.contracts: Schema | None = None
        self._unreadable: frozenset[int] = frozenset()
        self._forbidden: frozenset[int] = frozenset()
        self._revoked: frozenset[int] = frozenset()
        """Those of them that it might publish before."""
        self._shut: frozenset[int] = frozenset()
        """All of these: they do not come in."""
        self._who = ""
        self._sieve = Sieve()
        self._session = session
        self._own = session.to_bytes(_NUMBER_SIZE, "little")
        """The same as metadata has it."""

    def __repr__(self) -> str:
        return f"<Door of session {self._session}>"

    @property
    def unreadable(self) -> frozenset[int]:
        """Types that the client writes in a way that is not read any more."""
        return self._unreadable

    @unreadable.setter
    def unreadable(self, type_ids: frozenset[int]) -> None:
        self._unreadable = type_ids
        self._shut = type_ids | self._forbidden

    def forbid(self, type_ids: frozenset[int], who: str, *, live: bool) -> None:
        """Let in no messages of these types, but of all others.

        Args:
            type_ids: What the client may not publish.
            who: As what it may not.
            live: Whether it is publishing already, and cannot know.
        """
        self._revoked = ((type_ids - self._forbidden) | (type_ids & self._revoked)) if live else frozenset()
        self._forbidden, self._who = type_ids, who
        self._shut = type_ids | self._unreadable

    def look(self, batch: Batch, entries: Mapping[int, Entry[Codec]], start: int = 0) -> Objection | Letter | None:
        """What is to be said of the next frame that may not just pass; None if all of them may, from `start` on.

        It looks no further than that: who does not ask again has not had the rest checked.

        Args:
            batch: Frames of the client.
            entries: The newest generation by type id.
            start: Index of the first frame that has not been looked at.
        """
        if start:
            return self._look_at_each(batch, entries, start, len(batch))
        self.stamp = self.trace = None
        if len(batch.type_ids) == 1:
            return self._look_at(0, batch.type_ids[0], batch.payload(0), entries)
        for first, stop in self._sieve.left_over(batch, lambda part: self._all_pass(part, entries)):
            note = self._look_at_each(batch, entries, first, stop)
            if note is not None:
                return note
        return None

    def _look_at_each(
        self, batch: Batch, entries: Mapping[int, Entry[Codec]], start: int, stop: int
    ) -> Objection | Letter | None:
        for index in range(start, stop):
            note = self._look_at(index, batch.type_ids[index], batch.payload(index), entries)
            if note is not None:
                return note
        return None

    def _look_at(
        self, index: int, type_id: int, payload: bytes, entries: Mapping[int, Entry[Codec]]
    ) -> Objection | Letter | None:
        entry = entries.get(type_id)
        if entry is None or type_id in self._shut:
            if entry is not None and type_id in self._forbidden:
                return self._denied(index, entry, payload)
            return self._no_entry(index, type_id, known=entry is not None)
        try:
            tags = entry.codec.verify(payload)
            if tags and (lie := self._lie_in(tags)) is not None:
                return Objection(index, type_id, ErrorCode.DENIED, lie)
            if type_id in self.guard.fields:
                self.guard.check(entry.codec.decode(payload))
        except (DecodeError, RuleError) as error:
            excused = error.rule is not None and self._rules_differ(entry.message)
            return Objection(index, type_id, ErrorCode.INVALID_PAYLOAD, str(error), excused, error.rule)
        if tags:
            if self.stamp is None and PUBLISHED_AT in tags:
                self.stamp = int.from_bytes(tags[PUBLISHED_AT], "little")
            if self.trace is None:
                self.trace = tags.get(TRACE)
            if REPLY_TO in tags or DELIVER_TO in tags:
                whose = tags.get(DELIVER_TO)
                return Letter(index, tags[CORRELATION], None if whose is None else int.from_bytes(whose, "little"))
        return None

    def _all_pass(self, batch: Batch, entries: Mapping[int, Entry[Codec]]) -> bool:
        """Whether a look at all frames at once shows that nothing is to be said."""
        if not (batch.types.isdisjoint(self._shut) and batch.types.isdisjoint(self.guard.fields)):
            return False
        if not batch.types <= entries.keys():
            return False
        return verify_batch(batch, {type_id: entries[type_id].codec for type_id in batch.types})

    def _denied(self, index: int, entry: Entry[Codec], payload: bytes) -> Objection:
        type_id, text = entry.message.type_id, f"{self._who} may not publish {entry.message.name}"
        asks = None
        with contextlib.suppress(DecodeError):
            tags = entry.codec.verify(payload) or {}
            asks = tags.get(CORRELATION) if REPLY_TO in tags else None
        excused = type_id in self._revoked
        return Objection(index, type_id, ErrorCode.DENIED, text, excused=excused, note=text, asks=asks)

    def _no_entry(self, index: int, type_id: int, *, known: bool) -> Objection:
        if known:
            problem = f"type id {type_id} is written differently since the bridge's contracts changed"
            return Objection(index, type_id, ErrorCode.SCHEMA_INCOMPATIBLE, problem, excused=True)
        declared = self.contracts is not None and type_id in self.contracts.by_id
        problem = f"the bridge's contracts have no type id {type_id}"
        return Objection(index, type_id, ErrorCode.UNKNOWN_TYPE, problem, excused=declared)

    def _rules_differ(self, message: Message) -> bool:
        """Whether the client writes by other rules than those of the newest generation."""
        own = self.contracts.by_id.get(message.type_id) if self.contracts is not None else None
        if own is None:
            return False
        return {one.tag: one.rules for one in own.fields} != {one.tag: one.rules for one in message.fields}

    def _lie_in(self, tags: Mapping[int, bytes]) -> str | None:
        """What a client says of itself must be true, and a request or reply needs the id that ties them."""
        own = self._own
        if tags.get(REPLY_TO, own) != own or not tags.get(ORIGIN, own).startswith(own):
            return f"the metadata names another session than this one, {self._session}"
        if CORRELATION not in tags and (REPLY_TO in tags or DELIVER_TO in tags):
            return "a request or reply without a correlation id"
        return None
