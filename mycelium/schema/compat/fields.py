"""Rules about the fields of a message: which came, went and were renamed; the rest is with its own noun."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.fieldtypes import type_rules
from mycelium.schema.compat.findings import Finding, found
from mycelium.schema.compat.pairs import FieldPairs, MessagePair, Moved, pair_fields
from mycelium.schema.compat.places import canonical, path_of, probe_of
from mycelium.schema.compat.presence import documentation_rules, presence_rules
from mycelium.schema.compat.reads import Outcome
from mycelium.schema.compat.reserved import reserved_used
from mycelium.schema.compat.scope import Scope
from mycelium.schema.compat.tags import tag_rules
from mycelium.schema.compat.validation import validation_rules
from mycelium.schema.model import MISSING, in_ranges

__all__ = ["field_rules", "structure"]


def field_rules(scope: Scope, pair: MessagePair) -> Iterator[Finding]:
    """Everything about the fields of one message."""
    pairs = (
        scope.pair.fields.get(pair.current.name) if (pair.previous.name, pair.current.name) in scope.partners else None
    )
    if pairs is None:
        pairs = pair_fields(pair.previous, pair.current, scope.pair.names)
    for moved in pairs.kept:
        yield from _kept(scope, pair, moved)
    yield from tag_rules(scope, pair, pairs)
    yield from _added(scope, pair, pairs)
    yield from _removed(pair, pairs)


def structure(scope: Scope, pair: MessagePair) -> tuple[Outcome, Outcome]:
    """The verdict over two messages by their fields alone, for types that were exchanged for each other."""
    backward = forward = Outcome.RIGHT
    for finding in field_rules(scope, pair):
        outcome = Outcome.WRONG if finding.failure_mode == "silent" else Outcome.ERROR | Outcome.RIGHT
        backward |= Outcome.NOTHING if finding.backward else outcome
        forward |= Outcome.NOTHING if finding.forward else outcome
    return backward, forward


def _kept(scope: Scope, pair: MessagePair, moved: Moved) -> Iterator[Finding]:
    """Rules about a field that both sides have."""
    old, new = moved.previous, moved.current
    if old.name != new.name:
        yield _renamed(pair, moved)
    # Equality leaves out what only people and tools see.
    if old == new and old.spelling == new.spelling and old.extras == new.extras:
        return
    yield from type_rules(scope, pair, moved)
    yield from validation_rules(scope, pair, moved)
    yield from presence_rules(pair, moved)
    yield from documentation_rules(pair, moved)


def _renamed(pair: MessagePair, moved: Moved) -> Finding:
    old, new = moved.previous, moved.current
    recorded = new.renamed_from == old.name or old.renamed_from == new.name
    return found(
        "FIELD_RENAMED",
        path_of(pair.current, new),
        f"Field `{old.name}` is now `{new.name}`; tag {new.tag} and type {new.type} say that it is the same field."
        if not recorded
        else f"Field `{old.name}` is now `{new.name}`, as `renamed_from` records.",
        severity="info" if recorded else None,
        subject=f"{pair.current.name}.{old.name} -> {new.name}",
        old=old.name,
        new=new.name,
        old_location=old.location,
        new_location=new.location,
        remedy=partial(fixes.rename_field, pair, moved),
    )


# --- added and removed -----------------------------------------------------------------------------------------------


def _added(scope: Scope, pair: MessagePair, pairs: FieldPairs) -> Iterator[Finding]:
    for new in pairs.added:
        taken = new.tag in pair.previous.by_tag
        rule = "FIELD_ADDED_REQUIRED" if new.required else "FIELD_ADDED_OPTIONAL"
        if new.default is not MISSING:
            rule = "FIELD_ADDED_WITH_DEFAULT"
        kind = {"FIELD_ADDED_REQUIRED": "Required", "FIELD_ADDED_OPTIONAL": "Optional"}.get(rule, "Defaulted")
        text = f"{kind} field `{new.name}` (tag {new.tag}, {new.spelling or new.type}) was added."
        if new.required:
            text += f" Old messages do not carry {'it' if taken else f'tag {new.tag}'}, so new readers fail."
        yield found(
            rule,
            path_of(pair.current, new),
            text,
            backward=not new.required,
            failure_mode="every_message" if new.required else None,
            subject=f"{pair.current.name}.{new.name}",
            new=canonical(new),
            old_location=pair.previous.location,
            new_location=new.location,
            probe=probe_of(pair, None, new),
            remedy=partial(fixes.added_field, pair, pairs, new) if new.required else None,
        )
    yield from reserved_used(scope, pair, pairs)


def _removed(pair: MessagePair, pairs: FieldPairs) -> Iterator[Finding]:
    taken = pair.current.by_tag
    for old in pairs.removed:
        rule = "FIELD_REMOVED_REQUIRED" if old.required else "FIELD_REMOVED_OPTIONAL"
        if old.default is not MISSING:
            rule = "FIELD_REMOVED_WITH_DEFAULT"
        kind = {"FIELD_REMOVED_REQUIRED": "Required", "FIELD_REMOVED_OPTIONAL": "Optional"}.get(rule, "Defaulted")
        text = f"{kind} field `{old.name}` (tag {old.tag}, {old.spelling or old.type}) was removed."
        if old.required:
            text += " Old readers need it, so they cannot read new messages."
        where: dict[str, Any] = {
            "subject": f"{pair.current.name}.{old.name}",
            "old": canonical(old),
            "old_location": old.location,
            "new_location": pair.current.location,
        }
        path = f"messages.{pair.current.name}.fields.{old.name}"
        yield found(
            rule,
            path,
            text,
            forward=not old.required,
            failure_mode="every_message" if old.required else None,
            probe=probe_of(pair, old, None),
            remedy=partial(fixes.restore_field, pair, old) if old.required else None,
            **where,
        )
        free = old.tag not in taken and not in_ranges(old.tag, pair.current.reserved.numbers)
        if free and not old.required:
            text = f"Tag {old.tag} of the removed field `{old.name}` is not reserved."
            yield found("FIELD_TAG_NOT_RESERVED", path, text, remedy=partial(fixes.reserve, pair, (old,)), **where)
