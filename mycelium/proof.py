"""Proof by bytes: a message written with one schema, read with the other.

The compatibility checker reasons about schemas; this module does what it reasons about, with the project's own codecs.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final, Literal

from mycelium.handle import make_registry
from mycelium.schema.compat.findings import Probe, Witness
from mycelium.schema.compat.pairs import FieldPairs, SchemaPair, pair_fields
from mycelium.schema.compat.samples import Sampler, interests
from mycelium.schema.errors import MessageError
from mycelium.schema.model import (
    MISSING,
    Array,
    EnumDef,
    Field,
    Map,
    Message,
    MessageRef,
    Scalar,
    Schema,
    Type,
    Vec,
)
from mycelium.schema.registry import Registry
from mycelium.schema.values import to_json_value
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError

__all__ = ["Crossing", "Proofs"]

Side = Literal["old", "new"]

_MOST_BYTES: Final = 4096
"""Of a witness: longer ones prove as much and nobody reads them."""


_WORK: Final = 20_000
"""Fields written while one witness is searched for, so that a message of thousands of fields takes no longer."""
_FEWEST_TRIES: Final = 2
_MOST_FOCUS: Final = 8
_MOST_FIELDS: Final = 1000
"""Of a message; Python takes the better part of a second to call a constructor with ten thousand keywords."""


class Crossing:
    """One direction: messages written with one schema and read with the other.

    Args:
        pair: The schemas.
        writer: Which side writes.
        registries: Classes and codecs of both sides.
    """

    def __init__(self, pair: SchemaPair, writer: Side, registries: Mapping[Side, Registry[Codec]]) -> None:
        self.pair = pair
        self.side: Side = writer
        self.writer = registries[writer]
        self.reader = registries["new" if writer == "old" else "old"]

    def partner(self, message: str) -> str | None:
        """The reader's name of a writer's message that both sides know."""
        for one in self.pair.messages.kept:
            names = (one.previous.name, one.current.name)
            ours, theirs = names if self.side == "old" else names[::-1]
            if ours == message:
                return theirs
        return None

    def fields(self, writer: Message, reader: Message) -> FieldPairs:
        """Which of two messages' fields correspond."""
        old, new = (writer, reader) if self.side == "old" else (reader, writer)
        return pair_fields(old, new, self.pair.names)

    def write(self, message: str, values: Mapping[str, Any]) -> bytes | None:
        """The payload of a message, or None where its values do not obey the writer's contract."""
        try:
            made = self.writer.class_of(message)(**values)
            codec = self.writer.codec_of(message)
            payload = codec.encode(made)
            if codec.check_rules is not None:
                codec.check_rules(made)
        except MessageError:
            return None
        return payload

    def read(self, type_id: int, message: str, payload: bytes) -> str | None:
        """What goes wrong when the other side reads a payload: None if nothing does.

        Args:
            type_id: Of the frame.
            message: The writer's name of the message.
            payload: What it wrote.
        """
        entry = self.reader.by_id.get(type_id)
        if entry is None:
            return f"no message has type id {type_id}: the frame is skipped"
        try:
            theirs = entry.codec.decode(payload)
        except DecodeError as error:
            return f"{type(error).__name__}: {error}"
        if entry.message.name != self.partner(message):
            return f"read as {entry.message.name}"
        return self.difference(self.writer.entries[message].message, entry.message, payload, theirs)

    def difference(self, writer: Message, reader: Message, payload: bytes, theirs: Any) -> str | None:
        """The first field that reads as something else than it was, in words."""
        ours = self.writer.codec_of(writer.name).decode(payload)
        pairs = self.fields(writer, reader)
        for one in pairs.kept:
            before, after = (one.previous, one.current) if self.side == "old" else (one.current, one.previous)
            was, now = getattr(ours, before.name), getattr(theirs, after.name)
            if not self._agrees(before, after, was, now):
                return f"{after.name} reads as {self._show(after, now)}; it was {self._show(before, was, ours=True)}"
        strangers = [*pairs.added, *(one.current for one in pairs.reused)]
        if self.side == "new":
            strangers = [*pairs.removed, *(one.previous for one in pairs.reused)]
        for stranger in strangers:
            now, written = getattr(theirs, stranger.name), writer.by_tag.get(stranger.tag)
            if written is not None and now is not None and getattr(ours, written.name) is not None:
                return f"{stranger.name} reads as {self._show(stranger, now)}; that was {written.name}"
        return None

    def _agrees(self, before: Field, after: Field, was: Any, now: Any) -> bool:
        """Whether a field of both sides has one value.

        Absence has no value of its own: it agrees with None, with the writer's own default, and with the default of a
        reader for whom the field is required, if the writer has none.
        """
        if was is None:
            return now is None or (not after.optional and before.default is MISSING)
        if now is None:
            return before.optional and to_json_value(before.type, was, self.writer) == before.default
        return self.same(before.type, after.type, was, now)

    def same(self, ours: Type, theirs: Type, was: Any, now: Any) -> bool:
        """Whether two values of possibly different types are one value."""
        match ours, theirs:
            case EnumDef(), EnumDef():
                return int(was) == int(now) and _same_name(ours, theirs, int(was))
            case (Array(before, _) | Vec(before), Array(after, _) | Vec(after)):
                return len(was) == len(now) and all(
                    self.same(before, after, one, other) for one, other in zip(was, now, strict=True)
                )
            case Map(), Map():
                pairs = zip(was.items(), now.items(), strict=False)
                return len(was) == len(now) and all(
                    self.same(ours.key, theirs.key, one[0], other[0])
                    and self.same(ours.value, theirs.value, one[1], other[1])
                    for one, other in pairs
                )
            case MessageRef(before), MessageRef(after):
                return self._same_message(before, after, was, now)
            case _:
                return _plain(ours, was) == _plain(theirs, now)

    def _same_message(self, before: str, after: str, was: Any, now: Any) -> bool:
        writer, reader = self.writer.schema.messages[before], self.reader.schema.messages[after]
        for one in self.fields(writer, reader).kept:
            old, new = (one.previous, one.current) if self.side == "old" else (one.current, one.previous)
            if not self._agrees(old, new, getattr(was, old.name), getattr(now, new.name)):
                return False
        return True

    def _show(self, field: Field, value: Any, *, ours: bool = False) -> str:
        registry = self.writer if ours else self.reader
        shown = "absent" if value is None else json.dumps(to_json_value(field.type, value, registry))
        return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004  a line has room for that

    def messages(
        self, message: Message, focus: tuple[Field, ...], others: tuple[Field, ...]
    ) -> Iterator[dict[str, Any]]:
        """Messages worth trying: plain ones in which one field after the other takes odd values.

        Args:
            message: Of the writer.
            focus: The writer's fields to vary.
            others: The reader's fields in question, whose limits are worth a look.
        """
        sampler = Sampler(self.writer.schema, self._make, interests((*focus, *others)))
        for full in (True, False):
            values = sampler.fields(message, full=full)
            if values is None:
                continue
            yield values
            for one in focus:
                yield from ({**values, one.name: value} for value in sampler.of_field(one))

    def _make(self, name: str, values: dict[str, Any]) -> Any:
        return self.writer.class_of(name)(**values)


def _same_name(ours: EnumDef, theirs: EnumDef, number: int) -> bool:
    """Whether a number has no name on one side that is another number's on the other."""
    was, now = ours.by_number.get(number), theirs.by_number.get(number)
    return (was is None or theirs.members.get(was, number) == number) and (
        now is None or ours.members.get(now, number) == number
    )


def _plain(type_: Type, value: Any) -> tuple[str, Any]:
    """A value with its kind: text is its bytes, a bool and an enum their number."""
    if isinstance(value, str):
        return "bytes", value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return "bytes", value
    if isinstance(value, float) or type_ in {Scalar("f32"), Scalar("f64")}:
        return "float", repr(value + 0.0)
    if isinstance(value, int):
        return "integer", int(value)
    return type(value).__name__, value


class Proofs:
    """Finds witnesses for findings about two schemas; a `Prover`.

    Classes and codecs are made when the first witness is asked for.
    """

    def __init__(self, previous: Schema, current: Schema) -> None:
        self.pair = SchemaPair(previous, current)

    @cached_property
    def crossings(self) -> Mapping[Side, Crossing]:
        """Both directions, by who writes."""
        registries: dict[Side, Registry[Codec]] = {
            "old": make_registry(self.pair.previous),
            "new": make_registry(self.pair.current),
        }
        return {"old": Crossing(self.pair, "old", registries), "new": Crossing(self.pair, "new", registries)}

    def __call__(self, probe: Probe) -> Witness | None:
        """The first bytes found that break what the probe is about."""
        asked: tuple[tuple[Side, bool], ...] = (("old", probe.backward), ("new", probe.forward))
        for side, wanted in asked:
            witness = self._search(self.crossings[side], probe) if wanted else None
            if witness is not None:
                return witness
        return None

    def _search(self, crossing: Crossing, probe: Probe) -> Witness | None:
        old = crossing.side == "old"
        name, other = (probe.previous, probe.current) if old else (probe.current, probe.previous)
        if name is None:
            return None
        fields, their_fields = (
            (probe.previous_fields, probe.current_fields) if old else (probe.current_fields, probe.previous_fields)
        )
        message = crossing.writer.schema.messages[name]
        if len(message.fields) > _MOST_FIELDS:
            return None
        theirs = crossing.reader.schema.messages.get(other) if other else None
        focus = tuple(message.by_name[one] for one in fields)
        others = tuple(theirs.by_name[one] for one in their_fields) if theirs else ()
        spare: Witness | None = None
        tries = max(_FEWEST_TRIES, _WORK // (len(message.fields) + 1))
        for values in islice(crossing.messages(message, focus[:_MOST_FOCUS], others[:_MOST_FOCUS]), tries):
            payload = crossing.write(name, values)
            if payload is None or len(payload) > _MOST_BYTES:
                continue
            error = crossing.read(message.type_id, name, payload)
            if error is None:
                continue
            witness = Witness(crossing.side, payload.hex(), "new" if old else "old", error)
            names = {*fields, *their_fields}
            if not names or not names.isdisjoint(re.findall(r"\w+", error)):
                return witness
            spare = spare or witness
        return spare
