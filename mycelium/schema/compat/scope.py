"""What the rules of one comparison share: both schemas, what corresponds in them, and what was asked for."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Literal, TypeAlias

from attrs import field, frozen

from mycelium.schema.compat.accepted import sent
from mycelium.schema.compat.findings import FailureMode
from mycelium.schema.compat.pairs import MessagePair, SchemaPair, shape
from mycelium.schema.compat.reads import Outcome, reads
from mycelium.schema.model import Alias, EnumDef, Field, Ranges, Type, in_ranges, inner_types, messages_in

__all__ = ["Scope", "Settings", "Tombstones", "Verdict", "failure_mode"]

Verdict = tuple[Outcome, Outcome]
"""New reads old, old reads new."""


@frozen
class Tombstones:
    """Numbers and names that older, no longer compared versions used: they count as reserved.

    Attributes:
        type_ids: Type id to the names of the messages that had it.
        fields: Message name to tag to the field that had it (name, type).
    """

    type_ids: Mapping[int, tuple[str, ...]] = field(factory=dict)
    fields: Mapping[str, Mapping[int, tuple[tuple[str, str], ...]]] = field(factory=dict)


Profile: TypeAlias = Literal["tlv", "rust"]


@frozen
class Settings:
    """What changes findings and verdicts, not only which of them fail a run."""

    validation: Literal["decode", "publish-only"] = "decode"
    """Whether readers run value rules; if not, rule changes break nothing."""
    unknown_types: Literal["skip", "fail"] = "skip"
    """What readers do with type ids that they do not know."""
    profile: Profile = "tlv"
    """Whether messages must also be the same structs in the Rust dialect."""
    everything: bool = False
    """Go on after SCHEMA_ID_CHANGED."""
    tombstones: Tombstones = field(factory=Tombstones)


def failure_mode(*outcomes: Outcome) -> FailureMode | None:
    """The worst of what can happen, in words."""
    worst = Outcome.NOTHING
    for outcome in outcomes:
        worst |= outcome
    if worst & Outcome.WRONG:
        return "silent"
    if not worst & Outcome.ERROR:
        return None
    some = any(one & Outcome.ERROR and one & Outcome.RIGHT for one in outcomes)
    return "some_values" if some else "every_message"


@frozen(slots=False)
class Scope:
    """One comparison of two schemas."""

    pair: SchemaPair
    settings: Settings = field(factory=Settings)
    compare_messages: Callable[["Scope", MessagePair], tuple[Outcome, Outcome]] | None = field(
        default=None, eq=False, repr=False
    )
    """The verdict over two messages that are not each other's partners; decides where nested types were exchanged."""
    _structures: dict[tuple[str, str], Verdict] = field(factory=dict, init=False, eq=False, repr=False)

    @cached_property
    def partners(self) -> frozenset[tuple[str, str]]:
        """Messages that are each other's, by previous and current name."""
        return frozenset((pair.previous.name, pair.current.name) for pair in self.pair.messages.kept)

    @cached_property
    def enum_partners(self) -> frozenset[tuple[str, str]]:
        """Enums that are each other's."""
        return frozenset((old.name, new.name) for old, new in self.pair.enums)

    def same_type(self, old: Type, new: Type) -> bool:
        """Whether two types are one, but for changes inside enums and messages that are reported there."""
        return old == new or shape(old, self.pair.names) == shape(new, {})

    def relate(self, old: Field, new: Field) -> Verdict:
        """What either side makes of the other's values of a field, its presence and the readers' rules aside."""
        return self.read_by_new(old, new), self.read_by_old(old, new)

    def read_by_new(self, old: Field, new: Field) -> Outcome:
        """What new readers make of a field's old values."""
        if self.same_type(old.type, new.type):
            return Outcome.RIGHT
        return reads(old.type, new.type, self._backward, sent(old))

    def read_by_old(self, old: Field, new: Field) -> Outcome:
        """What old readers make of a field's new values."""
        if self.same_type(old.type, new.type):
            return Outcome.RIGHT
        return reads(new.type, old.type, self._forward, sent(new))

    def _backward(self, old: str, new: str) -> Outcome:
        return self._structure(old, new)[0]

    def _forward(self, new: str, old: str) -> Outcome:
        return self._structure(old, new)[1]

    def _structure(self, old: str, new: str) -> Verdict:
        """Nested messages: partners answer for themselves, of others the structure decides."""
        if (old, new) in self.partners or self.compare_messages is None:
            return Outcome.RIGHT, Outcome.RIGHT
        known = self._structures.get((old, new))
        if known is None:
            # A message may hold itself: while it is looked at, it is taken to agree; the answer is a fix point.
            self._structures[old, new] = (Outcome.RIGHT, Outcome.RIGHT)
            pair = MessagePair(self.pair.previous.messages[old], self.pair.current.messages[new])
            known = self._structures[old, new] = self.compare_messages(self, pair)
        return known

    @cached_property
    def changed_types(self) -> "Mapping[str, tuple[Alias | EnumDef, Alias | EnumDef]]":
        """Names under `types` that stand for something else now."""
        from mycelium.schema.compat.aliases import changed_names

        return changed_names(self)

    # --- who uses what ---

    @cached_property
    def holders(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Message name to the fields that hold it, as (message, path), in the current schema."""
        result: dict[str, list[tuple[str, str]]] = {}
        for message in self.pair.current.messages.values():
            for one in message.fields:
                for name in messages_in(one.type):
                    result.setdefault(name, []).append((message.name, f"messages.{message.name}.fields.{one.name}"))
        return {name: tuple(users) for name, users in result.items()}

    def reach(self, message: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Every field that holds the message, however deep, as paths; and the messages that have these fields."""
        paths: dict[str, None] = {}
        seen: dict[str, None] = {}
        waiting = [message]
        while waiting:
            for holder, path in self.holders.get(waiting.pop(), ()):
                paths[path] = None
                if holder not in seen:
                    seen[holder] = None
                    waiting.append(holder)
        return tuple(sorted(paths)), tuple(seen)

    def enum_users(self, old: EnumDef, new: EnumDef) -> Iterator[tuple[MessagePair, Field, Field]]:
        """Fields of both schemas whose values are or hold the enum."""
        for pair in self.pair.messages.kept:
            for moved in self.pair.fields[pair.current.name].kept:
                if _holds_enum(moved.previous.type, old.name) and _holds_enum(moved.current.type, new.name):
                    yield pair, moved.previous, moved.current

    # --- the experimental range ---

    def experimental(self, *messages: str) -> bool:
        """Whether all the messages, by current or previous name, had ids of the range that promises nothing."""
        bounds = self.pair.previous.tag_ranges.get("experimental")
        if bounds is None or not messages:
            return False
        ranges: Ranges = (bounds,)
        former = {pair.current.name: pair.previous for pair in self.pair.messages.kept}
        known = [former.get(name) or self.pair.previous.messages.get(name) for name in messages]
        return all(one is not None and in_ranges(one.type_id, ranges) for one in known)


def _holds_enum(type_: Type, name: str) -> bool:
    if isinstance(type_, EnumDef):
        return type_.name == name
    return any(_holds_enum(inner, name) for inner in inner_types(type_))
