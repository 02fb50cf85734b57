"""Rules about what must never be used again: reservations that came, went, or were broken, and tombstones."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, found
from mycelium.schema.compat.pairs import FieldPairs, MessagePair
from mycelium.schema.compat.places import canonical, path_of
from mycelium.schema.compat.scope import Scope
from mycelium.schema.model import Field, Ranges, in_ranges

__all__ = ["reservation_changes", "reserved_rules", "reserved_used"]


def reserved_used(scope: Scope, pair: MessagePair, pairs: FieldPairs) -> Iterator[Finding]:
    """Tags and names that the previous file reserved, or that older versions used."""
    old_names = pair.previous.by_name
    tombstones = scope.settings.tombstones.fields.get(pair.current.name, {})
    old_tags = pair.previous.by_tag
    for new in pair.current.fields:
        before = old_tags.get(new.tag)
        dead = [name for name, type_ in tombstones.get(new.tag, ()) if (name, type_) != (new.name, str(new.type))]
        buried = bool(dead) and before is None
        if in_ranges(new.tag, pair.previous.reserved.numbers) or buried:
            yield _reserved_tag(pair, pairs, new, dead if buried else [])
        if new.name in pair.previous.reserved.names and new.name not in old_names:
            yield found(
                "FIELD_RESERVED_NAME_USED",
                path_of(pair.current, new),
                f"Field `{new.name}` has a name that was reserved.",
                subject=f"{pair.current.name}.{new.name}",
                old={"reserved": True},
                new=canonical(new),
                old_location=pair.previous.reserved.location or pair.previous.location,
                new_location=new.location,
            )


def _reserved_tag(pair: MessagePair, pairs: FieldPairs, new: Field, dead: list[str]) -> Finding:
    why = f"an earlier version used for `{dead[-1]}`" if dead else "was reserved"
    return found(
        "FIELD_RESERVED_TAG_USED",
        path_of(pair.current, new),
        f"Field `{new.name}` has tag {new.tag}, which {why}.",
        backward=False,
        forward=False,
        failure_mode="silent",
        subject=f"{pair.current.name}.{new.name}",
        old={"reserved": True},
        new=canonical(new),
        old_location=pair.previous.reserved.location or pair.previous.location,
        new_location=new.location,
        remedy=partial(fixes.fresh_tag, pair, pairs, new),
    )


def reserved_rules(pair: MessagePair) -> Iterator[Finding]:
    """Reservations of a message that came or went; those that the same edit uses are reported as used."""
    old, new = pair.previous.reserved, pair.current.reserved
    used = {one.tag for one in pair.current.fields}, {one.name for one in pair.current.fields}
    yield from reservation_changes(
        (old.numbers, old.names),
        (new.numbers, new.names),
        used,
        path=f"messages.{pair.current.name}.reserved",
        subject=pair.current.name,
        old_location=old.location or pair.previous.location,
        new_location=new.location or pair.current.location,
        remedy=partial(fixes.restore_reservation, pair),
    )


def reservation_changes(
    old: tuple[Ranges, tuple[str, ...]],
    new: tuple[Ranges, tuple[str, ...]],
    used: tuple[set[int], set[str]],
    **details: Any,
) -> Iterator[Finding]:
    """RESERVED_ADDED and RESERVED_REMOVED, each at most once."""
    path = str(details.pop("path"))
    remedy = details.pop("remedy")
    added = _without(new[0], old[0]) + [name for name in new[1] if name not in old[1]]
    removed = _without(old[0], (*new[0], *((number, number) for number in used[0])))
    removed += [name for name in old[1] if name not in new[1] and name not in used[1]]
    if added:
        yield found("RESERVED_ADDED", path, f"Reserved: {_list(added)}.", new=list(added), **details)
    if removed:
        text = f"No longer reserved: {_list(removed)}."
        yield found("RESERVED_REMOVED", path, text, old=list(removed), remedy=remedy, **details)


def _list(items: list[object]) -> str:
    return ", ".join(map(str, items))


def _without(ranges: Ranges, others: Ranges) -> list[object]:
    """The parts of some ranges that others do not cover, as the contract writes them."""
    left = list(ranges)
    for first, last in others:
        left = [
            part
            for low, high in left
            for part in ((low, min(high, first - 1)), (max(low, last + 1), high))
            if part[0] <= part[1]
        ]
    return [low if low == high else f"{low}-{high}" for low, high in left]
