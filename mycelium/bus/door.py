"""The bridge's door: what a client's application frames have to pass before anybody gets them."""

from collections.abc import Iterator, Mapping
from typing import final

from attrs import frozen

from mycelium.bus.monotonic import MonotonicGuard
from mycelium.schema.errors import RuleError
from mycelium.schema.registry import Entry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, ErrorCode
from mycelium.wire.metadata import Metadata

__all__ = ["Door", "Objection"]


@frozen
class Objection:
    """Why a frame is not let in.

    Attributes:
        index: Its place in the batch.
        type_id: Its type.
        code: The error's code.
        problem: For the client; it may show the client's own values, so it is not for logs.
    """

    index: int
    type_id: int
    code: ErrorCode
    problem: str


@final
class Door:
    """Checks frames against the newest generation: type, structure, rules and metadata.

    Args:
        session: The number that this connection may give as its own.
        guard: Of this connection.
    """

    def __init__(self, session: int, guard: MonotonicGuard) -> None:
        self._session = session
        self._guard = guard

    def __repr__(self) -> str:
        return f"<Door of session {self._session}>"

    def objections(self, batch: Batch, entries: Mapping[int, Entry[Codec]]) -> Iterator[Objection]:
        """What is wrong with the frames of a batch, in their order; nothing for those that may pass.

        It looks no further than it is asked to: who stops asking has not had the rest checked.

        Args:
            batch: Frames of the client.
            entries: The newest generation by type id.
        """
        guarded = self._guard.fields
        for index, type_id in enumerate(batch.type_ids):
            entry = entries.get(type_id)
            if entry is None:
                problem = f"the bridge's contracts have no type id {type_id}"
                yield Objection(index, type_id, ErrorCode.UNKNOWN_TYPE, problem)
                continue
            payload = batch.payload(index)
            try:
                tags = entry.codec.verify(payload)
                lie = self._lie_in(tags) if tags else None
                if lie is None and type_id in guarded:
                    self._guard.check(entry.codec.decode(payload))
            except (DecodeError, RuleError) as error:
                yield Objection(index, type_id, ErrorCode.INVALID_PAYLOAD, str(error))
            else:
                if lie is not None:
                    yield Objection(index, type_id, ErrorCode.DENIED, lie)

    def _lie_in(self, tags: Mapping[int, bytes]) -> str | None:
        """What a client says of itself must be true; replies are not asked for yet, so none may be sent."""
        metadata = Metadata.from_tags(tags)
        origin = self._session if metadata.origin is None else metadata.origin[0]
        reply_to = self._session if metadata.reply_to is None else metadata.reply_to
        if origin != self._session or reply_to != self._session:
            return f"the metadata names another session than this one, {self._session}"
        if metadata.deliver_to is not None:
            return "nobody has asked for this reply"
        return None
