"""Rules about enums, each change reported once at the definition with every field that it reaches."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.accepted import accepted
from mycelium.schema.compat.findings import FailureMode, Finding, Probe, found
from mycelium.schema.compat.pairs import MessagePair, chains
from mycelium.schema.compat.reads import Nested, Outcome, reads
from mycelium.schema.compat.scope import Scope, failure_mode
from mycelium.schema.model import EnumDef, Field, Location

__all__ = ["enum_rules"]

Users = list[tuple[MessagePair, Field, Field]]


def enum_rules(scope: Scope) -> Iterator[Finding]:
    """Everything about enums that both schemas have."""
    for old, new in scope.pair.enums:
        if old == new:
            continue
        users = list(scope.enum_users(old, new))
        yield from _repr(users, old, new)
        yield from _openness(users, old, new)
        yield from _values(users, old, new)


def _finding(
    rule: str, users: Users, old: EnumDef, new: EnumDef, text: str, /, *, name: str = "", **details: Any
) -> Finding:
    """A finding about an enum; where no field of both schemas uses it, nothing breaks."""
    if not users:
        details |= {"backward": True, "forward": True, "failure_mode": None, "severity": "info"}
    probe = None
    if users:
        pair, before, after = users[0]
        probe = Probe(pair.previous.name, pair.current.name, (before.name,), (after.name,))
    where: dict[str, Any] = {"old_location": _at(old, name), "new_location": _at(new, name)} | details
    return found(
        rule,
        f"types.{new.name}" + (f".enum.{name}" if name else ""),
        text,
        subject=f"{new.name}.{name}" if name else new.name,
        affects=tuple(f"messages.{pair.current.name}.fields.{after.name}" for pair, _, after in users),
        probe=probe,
        remedy=partial(fixes.restore_type, new.name, old),
        **where,
    )


def _at(enum: EnumDef, name: str) -> Location | None:
    return enum.member_locations.get(name, enum.location)


def _repr(users: Users, old: EnumDef, new: EnumDef) -> Iterator[Finding]:
    if old.repr == new.repr:
        return
    nothing: Nested = lambda _old, _new: Outcome.RIGHT  # noqa: E731  enums hold no messages
    backward, forward = reads(old, new, nested=nothing), reads(new, old, nested=nothing)
    yield _finding(
        "ENUM_REPR_CHANGED",
        users,
        old,
        new,
        f"Enum `{new.name}` was written as {old.repr} and is written as {new.repr}.",
        backward=not _misread(old, new, backward),
        forward=not _misread(new, old, forward),
        failure_mode=failure_mode(backward, forward),
        old=old.repr,
        new=new.repr,
    )


def _misread(writer: EnumDef, reader: EnumDef, outcome: Outcome) -> bool:
    """Whether it is the integer type that breaks, and not values or openness, which have rules of their own."""
    bare = EnumDef(reader.name, {}, repr=reader.repr, open=True)
    nothing: Nested = lambda _old, _new: Outcome.RIGHT  # noqa: E731  enums hold no messages
    return outcome.broken and reads(writer, bare, nested=nothing).broken


def _openness(users: Users, old: EnumDef, new: EnumDef) -> Iterator[Finding]:
    if old.open == new.open:
        return
    rule = "ENUM_OPENED" if new.open else "ENUM_CLOSED"
    reader = "Old" if new.open else "New"
    yield _finding(
        rule,
        users,
        old,
        new,
        f"Enum `{new.name}` is {'open' if new.open else 'closed'} now. {reader} readers refuse numbers without a name.",
        backward=new.open,
        forward=old.open,
        failure_mode="some_values",
        old={"open": old.open},
        new={"open": new.open},
    )


def _values(users: Users, old: EnumDef, new: EnumDef) -> Iterator[Finding]:
    moved = [(name, old.members[name], number) for name, number in new.members.items() if name in old.members]
    moved = [one for one in moved if one[1] != one[2]]
    for group in chains((before, after) for _, before, after in moved):
        yield _renumbered(users, old, new, [moved[index] for index in group])
    renamed = {
        number: (old.by_number[number], name)
        for name, number in new.members.items()
        if name not in old.members and number in old.by_number and old.by_number[number] not in new.members
    }
    for before, after in renamed.values():
        yield _renamed(users, old, new, before, after)
    numbers_left = {before for _, before, _ in moved}
    for name, number in new.members.items():
        # A new name on a number that another name left is part of that move.
        if name not in old.members and number not in renamed and number not in numbers_left:
            yield _added(users, old, new, name, number)
    numbers_taken = {after for _, _, after in moved}
    for name, number in old.members.items():
        if name not in new.members and number not in renamed and number not in numbers_taken:
            yield _removed(users, old, new, name, number)


def _renumbered(users: Users, old: EnumDef, new: EnumDef, moves: list[tuple[str, int, int]]) -> Finding:
    mode: FailureMode = "some_values"
    if old.open or new.open or any(after in old.by_number or before in new.by_number for _, before, after in moves):
        mode = "silent"
    shown = ", ".join(f"`{name}` {before} -> {after}" for name, before, after in moves)
    return _finding(
        "ENUM_VALUE_NUMBER_CHANGED",
        users,
        old,
        new,
        f"Numbers of `{new.name}` changed: {shown}.",
        name=moves[0][0],
        backward=False,
        forward=False,
        failure_mode=mode,
        old={name: before for name, before, _ in moves},
        new={name: after for name, _, after in moves},
    )


def _renamed(users: Users, old: EnumDef, new: EnumDef, before: str, after: str) -> Finding:
    return _finding(
        "ENUM_VALUE_RENAMED",
        users,
        old,
        new,
        f"Value {new.members[after]} of `{new.name}` was `{before}` and is `{after}`.",
        name=after,
        old=before,
        new=after,
        old_location=_at(old, before),
    )


def _added(users: Users, old: EnumDef, new: EnumDef, name: str, number: int) -> Finding:
    read = old.open or not _sendable(users, number, lambda _old, new_field: new_field)
    reader = "keep it as an int" if old.open else "refuse it"
    return _finding(
        "ENUM_VALUE_ADDED",
        users,
        old,
        new,
        f"`{new.name}` got the value `{name}` ({number}). Old readers {reader}.",
        name=name,
        forward=read,
        failure_mode=None if read else "some_values",
        new={name: number},
        old_location=old.location,
    )


def _removed(users: Users, old: EnumDef, new: EnumDef, name: str, number: int) -> Finding:
    read = new.open or not _sendable(users, number, lambda old_field, _new: old_field)
    reader = "keep it as an int" if new.open else "refuse it"
    return _finding(
        "ENUM_VALUE_REMOVED",
        users,
        old,
        new,
        f"`{new.name}` lost the value `{name}` ({number}). Where old writers send it, new readers {reader}.",
        name=name,
        backward=read,
        failure_mode=None if read else "some_values",
        old={name: number},
        new_location=new.location,
    )


def _sendable(users: Users, number: int, writer: Callable[[Field, Field], Field]) -> bool:
    """Whether the rules of some field let its writer send the number."""
    fields = [writer(old, new) for _, old, new in users]
    return any(not isinstance(one.type, EnumDef) or accepted(one).holds(number) for one in fields)
