"""Rules about tags: shifted with the position, changed, taken from another field."""

from collections.abc import Callable, Iterator
from functools import partial

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import FailureMode, Finding, Probe, found
from mycelium.schema.compat.pairs import FieldPairs, MessagePair, Moved, chains
from mycelium.schema.compat.reads import Outcome
from mycelium.schema.compat.scope import Scope, failure_mode
from mycelium.schema.model import Field, Message

__all__ = ["tag_rules"]


def tag_rules(scope: Scope, pair: MessagePair, pairs: FieldPairs) -> Iterator[Finding]:
    """One finding for all that shifted, one for each group of tags changed for each other, one for each reused tag."""
    moves = [moved for moved in pairs.kept if not moved.same_tag]
    shifted = [moved for moved in moves if moved.by_position]
    changed = [moved for moved in moves if not moved.by_position]
    if shifted:
        yield _shifted(scope, pair, pairs, shifted)
    for group in chains((moved.previous.tag, moved.current.tag) for moved in changed):
        yield _changed(scope, pair, [changed[index] for index in group])
    for moved in pairs.reused:
        yield _reused(scope, pair, pairs, moved)
    in_shift = {moved.previous.tag for moved in shifted}
    gone = {one.tag: one for one in pairs.removed}
    moved_away = {moved.previous.tag: moved.previous for moved in changed}
    for new in pairs.added:
        # Inside a shift the added field is the cause, and the shift says so.
        former = gone.get(new.tag) or moved_away.get(new.tag)
        if former is not None and new.tag not in in_shift:
            yield _reused(scope, pair, pairs, Moved(former, new))


def _mode(scope: Scope, pair: MessagePair, moves: list[Moved]) -> FailureMode | None:
    """What happens to the moved fields: where a tag has a field of another type now, readers mostly stop."""
    outcomes: list[Outcome] = []
    for moved in moves:
        outcomes = [
            _lands(pair.previous, moved.current, scope.read_by_new),
            _lands(pair.current, moved.previous, lambda new, old: scope.read_by_old(old, new)),
        ]
        if Outcome.ERROR in outcomes:
            return "every_message"
    return failure_mode(*outcomes)


def _lands(writer: Message, reader: Field, relate: Callable[[Field, Field], Outcome]) -> Outcome:
    """What a reader's field finds under its tag."""
    source = writer.by_tag.get(reader.tag)
    if source is None:
        return Outcome.ERROR if reader.required else Outcome.WRONG
    return Outcome.ERROR if relate(source, reader) == Outcome.ERROR else Outcome.WRONG


def _tags(moves: list[Moved]) -> str:
    shown = [f"`{moved.current.name}` {moved.previous.tag} -> {moved.current.tag}" for moved in moves[:8]]
    return ", ".join(shown) + (f" and {len(moves) - 8} more" if len(moves) > 8 else "")  # noqa: PLR2004  one line's worth


def _probe(pair: MessagePair, moves: list[Moved]) -> Probe:
    old_tags = {moved.previous.tag for moved in moves} | {moved.current.tag for moved in moves}
    return Probe(
        pair.previous.name,
        pair.current.name,
        tuple(one.name for one in pair.previous.fields if one.tag in old_tags),
        tuple(one.name for one in pair.current.fields if one.tag in old_tags),
    )


def _shifted(scope: Scope, pair: MessagePair, pairs: FieldPairs, moves: list[Moved]) -> Finding:
    first = moves[0]
    plural = len(moves) > 1
    them = "them" if plural else "it"
    causes = [f"`{one.name}` came in before {them}" for one in pairs.added if one.tag <= first.current.tag]
    causes += [f"`{one.name}` was removed before {them}" for one in pairs.removed if one.tag <= first.previous.tag]
    several = f"fields came, went or moved before {them}" if causes else "they were reordered"
    cause = causes[0] if len(causes) == 1 else several
    what = "Fields without `tag:` got other tags" if plural else "A field without `tag:` got another tag"
    return found(
        "FIELD_TAG_SHIFTED",
        f"messages.{pair.current.name}.fields",
        f"{what}, since {cause}: {_tags(moves)}.",
        backward=False,
        forward=False,
        failure_mode=_mode(scope, pair, moves),
        subject=f"{pair.current.name}.{first.current.name}" + (f" and {len(moves) - 1} more" if plural else ""),
        old={moved.previous.name: moved.previous.tag for moved in moves},
        new={moved.current.name: moved.current.tag for moved in moves},
        old_location=first.previous.location,
        new_location=first.current.location,
        affects=tuple(f"messages.{pair.current.name}.fields.{moved.current.name}" for moved in moves),
        probe=_probe(pair, moves),
        remedy=partial(fixes.pin_tags, pair, pairs),
    )


def _changed(scope: Scope, pair: MessagePair, moves: list[Moved]) -> Finding:
    first = moves[0]
    single = len(moves) == 1
    field = f".{first.current.name}" if single else ""
    text = (
        f"The tag of `{first.current.name}` went from {first.previous.tag} to {first.current.tag}."
        if single
        else f"Fields took each other's tags: {_tags(moves)}."
    )
    return found(
        "FIELD_TAG_CHANGED",
        f"messages.{pair.current.name}.fields{field}",
        text,
        backward=False,
        forward=False,
        failure_mode=_mode(scope, pair, moves),
        subject=f"{pair.current.name}.{first.current.name}" + ("" if single else f" and {len(moves) - 1} more"),
        old={moved.previous.name: moved.previous.tag for moved in moves},
        new={moved.current.name: moved.current.tag for moved in moves},
        old_location=first.previous.location,
        new_location=first.current.location,
        affects=() if single else tuple(f"messages.{pair.current.name}.fields.{one.current.name}" for one in moves),
        probe=_probe(pair, moves),
        remedy=partial(fixes.restore_tags, pair, tuple(moves)),
    )


def _reused(scope: Scope, pair: MessagePair, pairs: FieldPairs, moved: Moved) -> Finding:
    old, new = moved.previous, moved.current
    outcomes = tuple(one if one == Outcome.ERROR else Outcome.WRONG for one in scope.relate(old, new))
    return found(
        "FIELD_TAG_REUSED",
        f"messages.{pair.current.name}.fields.{new.name}",
        f"Field `{new.name}` ({new.spelling or new.type}) has tag {new.tag}, which was "
        f"`{old.name}` ({old.spelling or old.type}).",
        backward=False,
        forward=False,
        failure_mode=failure_mode(*outcomes),
        subject=f"{pair.current.name}.{old.name} -> {new.name}",
        old={"name": old.name, "tag": old.tag, "type": str(old.type)},
        new={"name": new.name, "tag": new.tag, "type": str(new.type)},
        old_location=old.location,
        new_location=new.location,
        probe=Probe(pair.previous.name, pair.current.name, (old.name,), (new.name,)),
        remedy=partial(fixes.separate_tags, pair, pairs, moved),
    )
