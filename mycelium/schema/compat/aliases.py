"""Rules about the names under `types` that stand for other types, each reported once with all its users."""

import re
from collections.abc import Iterator, Mapping
from functools import partial

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, Probe, found
from mycelium.schema.compat.pairs import MessagePair
from mycelium.schema.compat.reads import Outcome
from mycelium.schema.compat.scope import Scope, failure_mode
from mycelium.schema.model import Alias, EnumDef, Field, Schema, Type

__all__ = ["alias_rules", "blamed", "changed_names"]

_WORD = re.compile(r"[A-Za-z_]\w*")


def names_in(spelling: str, schema: Schema) -> frozenset[str]:
    """Names under `types` that a type's text uses, those behind other names included."""
    seen: set[str] = set()
    waiting = _WORD.findall(spelling)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        if name in schema.aliases:
            waiting += _WORD.findall(schema.aliases[name].spelling)
        elif name not in schema.enums:
            continue
        seen.add(name)
    return frozenset(seen)


def _entry(schema: Schema, name: str) -> Alias | EnumDef | None:
    return schema.aliases.get(name) or schema.enums.get(name)


def _text(entry: Alias | EnumDef) -> str:
    if isinstance(entry, EnumDef):
        return f"enum({entry.repr})"
    return re.sub(r"\s+", "", entry.spelling or str(entry.type))


def changed_names(scope: Scope) -> Mapping[str, tuple[Alias | EnumDef, Alias | EnumDef]]:
    """Names under `types` in both schemas that stand for something else now, one of them at least being an alias."""
    previous, current = scope.pair.previous, scope.pair.current
    result: dict[str, tuple[Alias | EnumDef, Alias | EnumDef]] = {}
    for name in [*current.aliases, *current.enums]:
        old, new = _entry(previous, name), _entry(current, name)
        if old is None or new is None or (isinstance(old, EnumDef) and isinstance(new, EnumDef)):
            continue
        same_kind = isinstance(old, Alias) and isinstance(new, Alias)
        if not same_kind or (_text(old) != _text(new) and not scope.same_type(_type(old), _type(new))):
            result[name] = (old, new)
    return result


def _type(entry: Alias | EnumDef) -> Type:
    return entry if isinstance(entry, EnumDef) else entry.type


def blamed(scope: Scope, old: Field, new: Field) -> bool:
    """Whether the field's text is the same and a name in it stands for something else."""
    if not new.spelling or _squeeze(old.spelling) != _squeeze(new.spelling):
        return False
    changed = scope.changed_types
    return bool(changed) and not changed.keys().isdisjoint(names_in(new.spelling, scope.pair.current))


def _squeeze(spelling: str) -> str:
    return re.sub(r"\s+", "", spelling)


def alias_rules(scope: Scope) -> Iterator[Finding]:
    """TYPE_ALIAS_CHANGED for each name that stands for something else, TYPE_ALIAS_RENAMED for each new name."""
    for name, (old, new) in scope.changed_types.items():
        yield _changed(scope, name, old, new)
    yield from _renamed(scope)


def _users(scope: Scope, name: str) -> Iterator[tuple[MessagePair, Field, Field]]:
    """Fields whose text is the same and uses the name."""
    for pair in scope.pair.messages.kept:
        for moved in scope.pair.fields[pair.current.name].kept:
            old, new = moved.previous, moved.current
            if _squeeze(old.spelling) == _squeeze(new.spelling) and name in names_in(new.spelling, scope.pair.current):
                yield pair, old, new


def _changed(scope: Scope, name: str, old: Alias | EnumDef, new: Alias | EnumDef) -> Finding:
    users = list(_users(scope, name))
    backward = forward = Outcome.NOTHING
    worst: tuple[MessagePair, Field, Field] | None = None
    for pair, before, after in users:
        one_back, one_forth = scope.relate(before, after)
        backward |= one_back
        forward |= one_forth
        if worst is None and (one_back.broken or one_forth.broken):
            worst = (pair, before, after)
    was, now = _shown(old), _shown(new)
    text = f"`{name}` stood for {was} and stands for {now}"
    text += (
        f"; {len(users)} field{'s' if len(users) > 1 else ''} of unchanged text change with it."
        if users
        else "; no field uses it."
    )
    return found(
        "TYPE_ALIAS_CHANGED",
        f"types.{name}",
        text,
        backward=not backward.broken,
        forward=not forward.broken,
        failure_mode=failure_mode(backward, forward),
        subject=name,
        old=was,
        new=now,
        old_location=old.location,
        new_location=new.location,
        affects=tuple(f"messages.{pair.current.name}.fields.{after.name}" for pair, _, after in users),
        probe=worst and Probe(worst[0].previous.name, worst[0].current.name, (worst[1].name,), (worst[2].name,)),
        remedy=partial(fixes.restore_type, name, old),
    )


def _shown(entry: Alias | EnumDef) -> str:
    if isinstance(entry, EnumDef):
        return f"an enum ({entry.repr}, {'open' if entry.open else 'closed'})"
    return str(entry.type)


def _renamed(scope: Scope) -> Iterator[Finding]:
    previous, current = scope.pair.previous, scope.pair.current
    fresh = [one for name, one in current.aliases.items() if _entry(previous, name) is None]
    for name, old in previous.aliases.items():
        if _entry(current, name) is not None:
            continue
        new = next((one for one in fresh if scope.same_type(old.type, one.type)), None)
        if new is not None:
            fresh.remove(new)
            yield _rename(scope, old, new)
    for before, after in scope.pair.enums:
        if before.name != after.name:
            yield _rename(scope, before, after)


def _rename(scope: Scope, old: Alias | EnumDef, new: Alias | EnumDef) -> Finding:
    users = [
        f"messages.{message.name}.fields.{one.name}"
        for message in scope.pair.current.messages.values()
        for one in message.fields
        if new.name in names_in(one.spelling, scope.pair.current)
    ]
    return found(
        "TYPE_ALIAS_RENAMED",
        f"types.{new.name}",
        f"`{old.name}` is now `{new.name}`, and still stands for {_shown(new)}.",
        subject=f"{old.name} -> {new.name}",
        old=old.name,
        new=new.name,
        old_location=old.location,
        new_location=new.location,
        affects=tuple(users),
    )
