"""Rules about the type of a field. What changes inside aliases, enums and nested messages is reported there."""

from collections.abc import Iterator
from functools import partial

from mycelium.schema.compat import fixes
from mycelium.schema.compat.aliases import blamed
from mycelium.schema.compat.findings import Finding, Probe, found
from mycelium.schema.compat.pairs import MessagePair, Moved
from mycelium.schema.compat.reads import Outcome
from mycelium.schema.compat.scope import Scope, failure_mode
from mycelium.schema.model import Array, ByteArray, EnumDef, Scalar, Type, fixed_size

__all__ = ["type_rule", "type_rules"]


def type_rules(scope: Scope, pair: MessagePair, moved: Moved) -> Iterator[Finding]:
    """At most one finding: the field's own type, unless a definition under `types` is to blame."""
    old, new = moved.previous, moved.current
    if scope.same_type(old.type, new.type) or blamed(scope, old, new):
        return
    backward, forward = scope.relate(old, new)
    was, now = old.spelling or str(old.type), new.spelling or str(new.type)
    if not backward.broken and not forward.broken and str(old.type) == str(new.type):
        return
    yield found(
        type_rule(old.type, new.type),
        f"messages.{pair.current.name}.fields.{new.name}",
        f"The type of `{new.name}` (tag {new.tag}) went from {was} to {now}. " + _told(backward, forward),
        backward=not backward.broken,
        forward=not forward.broken,
        failure_mode=failure_mode(backward, forward),
        subject=f"{pair.current.name}.{new.name}",
        old=str(old.type),
        new=str(new.type),
        old_location=old.location,
        new_location=new.location,
        probe=Probe(pair.previous.name, pair.current.name, (old.name,), (new.name,)),
        remedy=partial(fixes.new_field, pair, moved) if backward.broken or forward.broken else None,
    )


def _told(backward: Outcome, forward: Outcome) -> str:
    words = [
        ("Old values", "new", backward),
        ("New values", "old", forward),
    ]
    parts = [f"{who} {_fate(outcome)} {reader} readers" for who, reader, outcome in words if outcome.broken]
    return "; ".join(parts) + "." if parts else "Every value is read as it was written."


def _fate(outcome: Outcome) -> str:
    if outcome & Outcome.WRONG:
        return "are read as something else by"
    return "are partly refused by" if outcome & Outcome.RIGHT else "are refused by"


def type_rule(old: Type, new: Type) -> str:
    """Which of the three rules a change of type falls under."""
    match old, new:
        case ByteArray(), ByteArray():
            return "FIELD_ARRAY_LENGTH_CHANGED"
        case Array(one, _), Array(other, _) if str(one) == str(other):
            return "FIELD_ARRAY_LENGTH_CHANGED"
    ours, theirs = fixed_size(old), fixed_size(new)
    if ours is None or ours != theirs:
        return "FIELD_TYPE_CHANGED"
    # bool and enums are read by number, so that it depends on the values; everything else of that size is another kind.
    by_number = any(isinstance(one, EnumDef) or one == Scalar("bool") for one in (old, new))
    whole = all(isinstance(one, EnumDef | Scalar) and str(one) not in ("f32", "f64", "U256") for one in (old, new))
    return "FIELD_TYPE_CHANGED" if by_number and whole else "FIELD_TYPE_REINTERPRETED"
