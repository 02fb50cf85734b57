"""Which element of the previous schema is which of the current one.

A message is the same by its name; else by `renamed_from`; else by its type id, if the old name is gone and some field
keeps name, tag and type (or neither has fields); what shares a type id without that was reused. A field is the same by
its name; else by `renamed_from`; else by tag and type together. `renamed_from` is read on both sides, so that a
roll-back is understood as well as the rename.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from attrs import frozen

from mycelium.schema.model import (
    Array,
    EnumDef,
    Field,
    Map,
    Message,
    MessageRef,
    Schema,
    Type,
    Vec,
)

__all__ = ["FieldPairs", "MessagePair", "Moved", "SchemaPair", "chains", "pair_fields", "pair_messages", "shape"]


@frozen
class MessagePair:
    """One message in both schemas."""

    previous: Message
    current: Message

    @property
    def renamed(self) -> bool:
        """Whether its name changed."""
        return self.previous.name != self.current.name

    @property
    def rename_recorded(self) -> bool:
        """Whether one side's `renamed_from` says so."""
        return self.current.renamed_from == self.previous.name or self.previous.renamed_from == self.current.name


@frozen
class Moved:
    """One field in both messages."""

    previous: Field
    current: Field

    @property
    def same_tag(self) -> bool:
        """Whether it kept its place on the wire."""
        return self.previous.tag == self.current.tag

    @property
    def by_position(self) -> bool:
        """Whether both tags are positions: then a move is a shift, not a changed number."""
        was_position = not self.previous.explicit or self.previous.tag == self.previous.position
        return was_position and not self.current.explicit


@frozen
class FieldPairs:
    """How the fields of two messages correspond."""

    kept: tuple[Moved, ...]
    """In the order of the current file."""
    removed: tuple[Field, ...]
    added: tuple[Field, ...]
    reused: tuple[Moved, ...]
    """Different fields on one tag: the old one is gone, the new one has its tag and another type."""


@frozen
class MessagePairs:
    """How the messages of two schemas correspond."""

    kept: tuple[MessagePair, ...]
    removed: tuple[Message, ...]
    added: tuple[Message, ...]
    reused: tuple[MessagePair, ...]
    """Different messages under one type id."""


def shape(type_: Type, names: Mapping[str, str]) -> str:
    """The type as text, with enums and messages of the previous schema under their current names."""
    match type_:
        case EnumDef():
            return f"enum {names.get(type_.name, type_.name)}"
        case MessageRef():
            return f"message {names.get(type_.name, type_.name)}"
        case Vec(element):
            return f"Vec<{shape(element, names)}>"
        case Array(element, length):
            return f"[{shape(element, names)}; {length}]"
        case Map(key, value):
            return f"Map<{shape(key, names)}, {shape(value, names)}>"
        case _:
            return str(type_)


def _claim(old: "Field | Message", new: "Field | Message") -> bool:
    return new.renamed_from == old.name or old.renamed_from == new.name


def pair_fields(previous: Message, current: Message, names: Mapping[str, str]) -> FieldPairs:
    """Match the fields of one message.

    Args:
        previous: The message as it was.
        current: The message as it is.
        names: Previous to current names of enums and messages.
    """
    old_by_name, new_by_name = previous.by_name, current.by_name
    partners = {name: old_by_name[name] for name in new_by_name if name in old_by_name}
    gone = {one.name: one for one in previous.fields if one.name not in new_by_name}
    fresh = [one for one in current.fields if one.name not in old_by_name]
    reused: list[Moved] = []
    if gone and fresh:
        for new in fresh:
            claimed = next((old for old in gone.values() if _claim(old, new)), None)
            if claimed is not None:
                partners[new.name] = gone.pop(claimed.name)
        by_tag = {old.tag: old for old in gone.values()}
        for new in fresh:
            old = by_tag.get(new.tag)
            if old is None or new.name in partners:
                continue
            del gone[old.name], by_tag[old.tag]
            if shape(old.type, names) == shape(new.type, {}):
                partners[new.name] = old
            else:
                reused.append(Moved(old, new))
    on_old_tags = {pair.current.name for pair in reused}
    return FieldPairs(
        kept=tuple(Moved(partners[one.name], one) for one in current.fields if one.name in partners),
        removed=tuple(gone.values()),
        added=tuple(one for one in fresh if one.name not in partners and one.name not in on_old_tags),
        reused=tuple(reused),
    )


def _alike(previous: Message, current: Message) -> bool:
    """Whether two messages under one type id are one message with another name."""
    if not previous.fields and not current.fields:
        return True
    old = {(one.name, one.tag, str(one.type)) for one in previous.fields}
    return any((one.name, one.tag, str(one.type)) in old for one in current.fields)


def pair_messages(previous: Schema, current: Schema) -> MessagePairs:
    """Match the messages of two schemas."""
    partners = {name: previous.messages[name] for name in current.messages if name in previous.messages}
    gone = {name: one for name, one in previous.messages.items() if name not in current.messages}
    fresh = [one for name, one in current.messages.items() if name not in previous.messages]
    reused: dict[str, MessagePair] = {}
    for new in fresh if gone else ():
        claimed = next((old for old in gone.values() if _claim(old, new)), None)
        if claimed is not None:
            partners[new.name] = gone.pop(claimed.name)
    by_id = {old.type_id: old for old in gone.values()}
    for new in fresh:
        old = by_id.get(new.type_id)
        if old is None or new.name in partners:
            continue
        del gone[old.name], by_id[old.type_id]
        if _alike(old, new):
            partners[new.name] = old
        else:
            reused[new.name] = MessagePair(old, new)
    return MessagePairs(
        kept=tuple(MessagePair(partners[name], one) for name, one in current.messages.items() if name in partners),
        removed=tuple(gone.values()),
        added=tuple(one for one in fresh if one.name not in partners and one.name not in reused),
        reused=tuple(reused.values()),
    )


def pair_enums(previous: Schema, current: Schema) -> tuple[tuple[EnumDef, EnumDef], ...]:
    """Enums of both schemas: by name, else a vanished one with a new one that says the same under another name."""
    pairs = [(previous.enums[name], one) for name, one in current.enums.items() if name in previous.enums]
    fresh = [one for name, one in current.enums.items() if name not in previous.enums]
    for name, old in previous.enums.items():
        if name in current.enums:
            continue
        same = next((new for new in fresh if _twins(old, new)), None)
        if same is not None:
            fresh.remove(same)
            pairs.append((old, same))
    return tuple(pairs)


def _twins(old: EnumDef, new: EnumDef) -> bool:
    return (old.repr, old.open, dict(old.members)) == (new.repr, new.open, dict(new.members))


@frozen
class SchemaPair:
    """Two schemas, and what corresponds in them."""

    previous: Schema
    current: Schema

    @cached_property
    def messages(self) -> MessagePairs:
        """Messages of both."""
        return pair_messages(self.previous, self.current)

    @cached_property
    def enums(self) -> tuple[tuple[EnumDef, EnumDef], ...]:
        """Enums of both."""
        return pair_enums(self.previous, self.current)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Previous to current names of messages and enums that have another name now."""
        messages = {pair.previous.name: pair.current.name for pair in self.messages.kept if pair.renamed}
        return {**messages, **{old.name: new.name for old, new in self.enums if old.name != new.name}}

    @cached_property
    def fields(self) -> Mapping[str, FieldPairs]:
        """Fields of every message of both, by its current name."""
        names = self.names
        return {pair.current.name: pair_fields(pair.previous, pair.current, names) for pair in self.messages.kept}


def chains(moves: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Group moves `(from, to)` that hang together, because one takes the place that another left.

    Returns:
        Indices of the moves, group by group, in the order of their first move.
    """
    moves = tuple(moves)
    leaves = {start: index for index, (start, _) in enumerate(moves)}
    group_of = list(range(len(moves)))

    def root(index: int) -> int:
        while group_of[index] != index:
            index = group_of[index]
        return index

    for index, (_, end) in enumerate(moves):
        if end in leaves:
            low, high = sorted((root(index), root(leaves[end])))
            group_of[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(len(moves)):
        groups.setdefault(root(index), []).append(index)
    return tuple(tuple(members) for members in groups.values())
