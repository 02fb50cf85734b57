"""The bridge's door: what a client's application frames have to pass before anybody gets them."""

from collections.abc import Iterator, Mapping
from typing import final

from attrs import frozen

from mycelium.bus.monotonic import MonotonicGuard
from mycelium.schema.errors import RuleError
from mycelium.schema.model import Message, Schema
from mycelium.schema.registry import Entry
from mycelium.wire.batches import verify_batch
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, ErrorCode
from mycelium.wire.metadata import Metadata

__all__ = ["Door", "Letter", "Objection"]


@frozen
class Objection:
    """Why a frame is not let in.

    Attributes:
        index: Its place in the batch.
        type_id: Its type.
        code: The error's code.
        problem: For the client; it may show the client's own values, so it is not for logs.
        excused: Whether the client could not know better: it is told once in a while, and never sent away for it.
    """

    index: int
    type_id: int
    code: ErrorCode
    problem: str
    excused: bool = False


@frozen
class Letter:
    """A frame for one session alone, or one that asks for such: a reply, or a request.

    Attributes:
        index: Its place in the batch.
        metadata: Of the frame.
    """

    index: int
    metadata: Metadata


@final
class Door:
    """Checks frames against the newest generation: type, structure, rules and metadata.

    Args:
        session: The number that this connection may give as its own.
        guard: Of this connection.

    Attributes:
        guard: See above.
        contracts: What the client writes by, where that is something else than the newest generation.
        unreadable: Types that it writes in a way that is not read any more.
    """

    def __init__(self, session: int, guard: MonotonicGuard) -> None:
        self.guard = guard
        self.contracts: Schema | None = None
        self.unreadable: frozenset[int] = frozenset()
        self._session = session

    def __repr__(self) -> str:
        return f"<Door of session {self._session}>"

    def notes(self, batch: Batch, entries: Mapping[int, Entry[Codec]]) -> Iterator[Objection | Letter]:
        """What is to be said of the frames of a batch, in their order; nothing of those that may just pass.

        It looks no further than it is asked to: who stops asking has not had the rest checked.

        Args:
            batch: Frames of the client.
            entries: The newest generation by type id.
        """
        if len(batch) > 1 and self._all_pass(batch, entries):
            return
        guarded = self.guard.fields
        for index, type_id in enumerate(batch.type_ids):
            entry = entries.get(type_id)
            if entry is None or type_id in self.unreadable:
                yield self._no_entry(index, type_id, known=entry is not None)
                continue
            payload = batch.payload(index)
            try:
                tags = entry.codec.verify(payload)
                metadata = Metadata.from_tags(tags) if tags else None
                lie = None if metadata is None else self._lie_in(metadata)
                if lie is None and type_id in guarded:
                    self.guard.check(entry.codec.decode(payload))
            except (DecodeError, RuleError) as error:
                excused = error.rule is not None and self._rules_differ(entry.message)
                yield Objection(index, type_id, ErrorCode.INVALID_PAYLOAD, str(error), excused)
            else:
                if lie is not None:
                    yield Objection(index, type_id, ErrorCode.DENIED, lie)
                elif metadata is not None and (metadata.reply_to is not None or metadata.deliver_to is not None):
                    yield Letter(index, metadata)

    def _all_pass(self, batch: Batch, entries: Mapping[int, Entry[Codec]]) -> bool:
        """Whether a look at all frames at once shows that nothing is to be said."""
        if not (batch.types.isdisjoint(self.unreadable) and batch.types.isdisjoint(self.guard.fields)):
            return False
        if not batch.types <= entries.keys():
            return False
        return verify_batch(batch, {type_id: entries[type_id].codec for type_id in batch.types})

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

    def _lie_in(self, metadata: Metadata) -> str | None:
        """What a client says of itself must be true, and a request or reply needs the id that ties them."""
        origin = self._session if metadata.origin is None else metadata.origin[0]
        reply_to = self._session if metadata.reply_to is None else metadata.reply_to
        if origin != self._session or reply_to != self._session:
            return f"the metadata names another session than this one, {self._session}"
        if metadata.correlation is None and (metadata.reply_to is not None or metadata.deliver_to is not None):
            return "a request or reply without a correlation id"
        return None
