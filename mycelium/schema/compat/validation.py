"""Rules about `validation`: sets of accepted values are compared, not the texts."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.accepted import accepted, opaque_rules, sent, within
from mycelium.schema.compat.findings import Finding, Probe, found
from mycelium.schema.compat.pairs import MessagePair, Moved
from mycelium.schema.compat.scope import Scope
from mycelium.schema.model import Field, Json

__all__ = ["validation_rules"]


def validation_rules(scope: Scope, pair: MessagePair, moved: Moved) -> Iterator[Finding]:
    """VALIDATION_TIGHTENED, VALIDATION_LOOSENED, both, or nothing; and what cannot be compared."""
    old, new = moved.previous, moved.current
    if not old.rules and not new.rules:
        return
    if old.rules == new.rules and scope.same_type(old.type, new.type):
        return
    # A value that the other side's type refuses needs no second finding about its rules.
    backward, forward = scope.relate(old, new)
    if not backward.broken and not within(sent(old), accepted(new)):
        yield _finding(scope, pair, moved, "VALIDATION_TIGHTENED")
    if not forward.broken and not within(sent(new), accepted(old)):
        yield _finding(scope, pair, moved, "VALIDATION_LOOSENED")
    before, after = opaque_rules(old.rules), opaque_rules(new.rules)
    changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    if changed:
        yield found(
            "VALIDATION_OPAQUE_CHANGED",
            f"messages.{pair.current.name}.fields.{new.name}",
            f"The rule{'s' if len(changed) > 1 else ''} {', '.join(changed)} of `{new.name}` changed; what "
            f"{'they accept' if len(changed) > 1 else 'it accepts'} is not known here.",
            old={name: before[name] for name in changed if name in before},
            new={name: after[name] for name in changed if name in after},
            **_where(pair, moved),
        )


def _where(pair: MessagePair, moved: Moved) -> dict[str, Any]:
    return {
        "subject": f"{pair.current.name}.{moved.current.name}",
        "old_location": moved.previous.location,
        "new_location": moved.current.location,
    }


def _rules(field: Field) -> list[Json]:
    """The rules without their order, which means nothing."""
    return sorted(({rule.name: rule.argument} for rule in field.rules), key=lambda one: json.dumps(one, sort_keys=True))


def _finding(scope: Scope, pair: MessagePair, moved: Moved, rule: str) -> Finding:
    tightened = rule == "VALIDATION_TIGHTENED"
    on_decode = scope.settings.validation == "decode"
    old, new = moved.previous, moved.current
    writer, reader = ("old", "new") if tightened else ("new", "old")
    text = f"`{new.name}` accepts {'less' if tightened else 'more'} than before ({_text(old)} -> {_text(new)}). "
    text += (
        f"{reader.capitalize()} readers refuse values that {writer} writers send."
        if on_decode
        else "Rules are not run on decode, so no reader notices."
    )
    return found(
        rule,
        f"messages.{pair.current.name}.fields.{new.name}",
        text,
        backward=not (tightened and on_decode),
        forward=tightened or not on_decode,
        failure_mode="some_values" if on_decode else None,
        old=_rules(old),
        new=_rules(new),
        probe=Probe(pair.previous.name, pair.current.name, (old.name,), (new.name,)),
        remedy=partial(fixes.restore_rules, pair, moved),
        **_where(pair, moved),
    )


def _text(field: Field) -> str:
    shown = ", ".join(f"{rule.name}: {json.dumps(rule.argument, ensure_ascii=False)}" for rule in field.rules)
    shown = shown or "any"
    return shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004  one line of a terminal
