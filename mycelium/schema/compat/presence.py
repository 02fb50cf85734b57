"""Rules about a field of both sides: whether it may be absent, what absence means, how it is described."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, found
from mycelium.schema.compat.pairs import MessagePair, Moved
from mycelium.schema.compat.places import path_of, probe_of
from mycelium.schema.model import MISSING, EnumDef, Field

__all__ = ["documentation_rules", "presence_rules"]


def presence_rules(pair: MessagePair, moved: Moved) -> Iterator[Finding]:
    """Optional or required, and the default."""
    old, new = moved.previous, moved.current
    had, has = old.default is not MISSING, new.default is not MISSING
    if old.optional and not new.optional:
        yield _became_required(pair, moved, covered=has)
    elif new.optional and not old.optional:
        yield _became_optional(pair, moved, covered=had)
    if _meaning(old) == _meaning(new):
        return
    # Absence is meant where a writer may leave the field out, and read where the reader takes it.
    may_omit_old, may_omit_new = old.optional, new.optional
    if had and has:
        yield _default_changed(pair, moved, backward=not may_omit_old, forward=not may_omit_new)
    elif has and old.optional == new.optional:
        yield _default_added(pair, moved, backward=not may_omit_old)
    elif had:
        yield _default_removed(pair, moved, forward=not (may_omit_old and may_omit_new))


def _meaning(field: Field) -> object:
    """A default as it can be compared: enums by number; True is not 1, but 1 is 1.0."""
    default = field.default
    if isinstance(field.type, EnumDef) and isinstance(default, str):
        default = field.type.members.get(default, default)
    return isinstance(default, bool), default


def _became_required(pair: MessagePair, moved: Moved, *, covered: bool) -> Finding:
    old, new = moved.previous, moved.current
    rule = "FIELD_BECAME_REQUIRED_WITH_DEFAULT" if covered else "FIELD_BECAME_REQUIRED"
    return found(
        rule,
        path_of(pair.current, new),
        f"Field `{new.name}` (tag {new.tag}) was optional and is required now. "
        + ("Its default covers old messages without it." if covered else "Old messages without it cannot be read."),
        backward=covered,
        failure_mode=None if covered else "some_values",
        subject=f"{pair.current.name}.{new.name}",
        old={"optional": True},
        new={"optional": False},
        old_location=old.location,
        new_location=new.location,
        probe=probe_of(pair, old, new),
        remedy=partial(fixes.stay_optional, pair, moved),
    )


def _became_optional(pair: MessagePair, moved: Moved, *, covered: bool) -> Finding:
    old, new = moved.previous, moved.current
    return found(
        "FIELD_BECAME_OPTIONAL",
        path_of(pair.current, new),
        f"Field `{new.name}` (tag {new.tag}) was required and is optional now. "
        + ("Old readers have a default for it." if covered else "Old readers cannot read messages without it."),
        forward=covered,
        failure_mode=None if covered else "some_values",
        subject=f"{pair.current.name}.{new.name}",
        old={"optional": False},
        new={"optional": True},
        old_location=old.location,
        new_location=new.location,
        probe=probe_of(pair, old, new),
        remedy=partial(fixes.stay_required, pair, moved),
    )


def _default(rule: str, pair: MessagePair, moved: Moved, text: str, *, backward: bool, forward: bool) -> Finding:
    old, new = moved.previous, moved.current
    return found(
        rule,
        path_of(pair.current, new),
        text,
        backward=backward,
        forward=forward,
        failure_mode=None if backward and forward else "silent",
        subject=f"{pair.current.name}.{new.name}",
        old=None if old.default is MISSING else {"default": old.default},
        new=None if new.default is MISSING else {"default": new.default},
        old_location=old.location,
        new_location=new.location,
        probe=probe_of(pair, old, new),
        remedy=partial(fixes.restore_default, pair, moved),
    )


def _default_added(pair: MessagePair, moved: Moved, *, backward: bool) -> Finding:
    new = moved.current
    text = f"Field `{new.name}` got the default {new.default!r}. "
    text += (
        "It is written as before." if backward else "Where an old writer left it out, new readers no longer see None."
    )
    return _default("FIELD_DEFAULT_ADDED", pair, moved, text, backward=backward, forward=True)


def _default_changed(pair: MessagePair, moved: Moved, *, backward: bool, forward: bool) -> Finding:
    old, new = moved.previous, moved.current
    text = f"The default of `{new.name}` went from {old.default!r} to {new.default!r}. "
    text += (
        "Data from before the field now reads as another value."
        if backward and forward
        else "Absence reads as another value on the other side."
    )
    return _default("FIELD_DEFAULT_CHANGED", pair, moved, text, backward=backward, forward=forward)


def _default_removed(pair: MessagePair, moved: Moved, *, forward: bool) -> Finding:
    old = moved.previous
    text = f"The default {old.default!r} of `{moved.current.name}` is gone. "
    text += (
        "Data from before the field lacks it."
        if forward
        else "Old readers still read absence as the default, not as None."
    )
    return _default("FIELD_DEFAULT_REMOVED", pair, moved, text, backward=True, forward=forward)


# --- documentation ---------------------------------------------------------------------------------------------------


def documentation_rules(pair: MessagePair, moved: Moved) -> Iterator[Finding]:
    """What is for people and tools."""
    old, new = moved.previous, moved.current
    where: dict[str, Any] = {"old_location": old.location, "new_location": new.location}
    subject, path = f"{pair.current.name}.{new.name}", path_of(pair.current, new)
    if old.deprecated != new.deprecated:
        rule = "FIELD_DEPRECATED" if new.deprecated else "FIELD_UNDEPRECATED"
        text = f"Field `{new.name}` is {'now' if new.deprecated else 'no longer'} deprecated."
        yield found(rule, path, text, subject=subject, old=old.deprecated, new=new.deprecated, **where)
    if old.description != new.description:
        text = f"The description of `{new.name}` changed."
        yield found("FIELD_DOC_CHANGED", path, text, subject=subject, old=old.description, new=new.description, **where)
    elif old.extras != new.extras:
        text = f"Keys of `{new.name}` that only tools read changed."
        yield found(
            "FIELD_DOC_CHANGED", path, text, subject=subject, old=dict(old.extras), new=dict(new.extras), **where
        )
