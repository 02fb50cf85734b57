"""Rules about messages as a whole: added, removed, renamed, their type ids, topics, secrecy and labels."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, Probe, found
from mycelium.schema.compat.pairs import MessagePair, chains
from mycelium.schema.compat.scope import Scope
from mycelium.schema.model import Message, in_ranges

__all__ = ["message_rules", "set_rules"]


def set_rules(scope: Scope) -> Iterator[Finding]:
    """Rules that need all messages at once: which came, went, and changed numbers."""
    pairs = scope.pair.messages
    for message in pairs.removed:
        yield _removed(scope, message)
    for pair in pairs.reused:
        yield _reused(scope, pair.previous, pair.current)
    for message in pairs.added:
        yield _added(scope, message)
    yield from _type_ids(scope)
    yield from _reserved_used(scope)


def message_rules(pair: MessagePair) -> Iterator[Finding]:
    """Rules about one message of both schemas, its fields aside."""
    if pair.renamed:
        yield _renamed(pair)
    if pair.previous == pair.current and pair.previous.extras == pair.current.extras:
        return
    yield from _topic(pair)
    yield from _prior(pair)
    yield from _secrecy(pair)
    yield from _labels(pair)


def _path(message: Message) -> str:
    return f"messages.{message.name}"


def _removed(scope: Scope, message: Message) -> Finding:
    return found(
        "MESSAGE_REMOVED",
        _path(message),
        f"Message `{message.name}` (type id {message.type_id}) was removed. Old writers still send it.",
        backward=False,
        failure_mode="every_message",
        subject=message.name,
        old={"tlv_type": message.type_id},
        old_location=message.location,
        new_location=scope.pair.current.location,
        probe=Probe(message.name, None),
        remedy=partial(fixes.restore_message, scope.pair, message),
    )


def _added(scope: Scope, message: Message) -> Finding:
    skipped = scope.settings.unknown_types == "skip"
    text = f"Message `{message.name}` (type id {message.type_id}) was added. "
    text += "Old readers skip it." if skipped else "Old readers fail on type ids that they do not know."
    return found(
        "MESSAGE_ADDED",
        _path(message),
        text,
        forward=skipped,
        failure_mode=None if skipped else "every_message",
        subject=message.name,
        new={"tlv_type": message.type_id},
        old_location=scope.pair.previous.location,
        new_location=message.location,
        probe=Probe(None, message.name),
        remedy=None if skipped else partial(fixes.drop_message, message),
    )


def _reused(scope: Scope, old: Message, new: Message) -> Finding:
    return found(
        "TYPE_ID_REUSED",
        _path(new),
        f"Type id {new.type_id} belonged to `{old.name}` and now belongs to `{new.name}`.",
        backward=False,
        forward=False,
        failure_mode="silent",
        subject=f"{old.name} -> {new.name}",
        old={"name": old.name, "tlv_type": old.type_id},
        new={"name": new.name, "tlv_type": new.type_id},
        old_location=old.location,
        new_location=new.location,
        probe=Probe(old.name, new.name),
        remedy=partial(fixes.fresh_type_id, scope.pair, new, old),
    )


def _renamed(pair: MessagePair) -> Finding:
    recorded = pair.rename_recorded
    how = "as `renamed_from` records" if recorded else "as type id and fields show"
    return found(
        "MESSAGE_RENAMED",
        _path(pair.current),
        f"Message `{pair.previous.name}` is now `{pair.current.name}`, {how}.",
        severity="info" if recorded else None,
        subject=f"{pair.previous.name} -> {pair.current.name}",
        old=pair.previous.name,
        new=pair.current.name,
        old_location=pair.previous.location,
        new_location=pair.current.location,
        remedy=partial(fixes.rename_message, pair),
    )


# --- type ids --------------------------------------------------------------------------------------------------------


def _type_ids(scope: Scope) -> Iterator[Finding]:
    moved = [pair for pair in scope.pair.messages.kept if pair.previous.type_id != pair.current.type_id]
    for group in chains((pair.previous.type_id, pair.current.type_id) for pair in moved):
        pairs = [moved[index] for index in group]
        left = {pair.previous.type_id for pair in pairs}
        if len(pairs) > 1 and left == {pair.current.type_id for pair in pairs}:
            yield _swapped(pairs)
            continue
        for pair in pairs:
            former = scope.pair.previous.by_id.get(pair.current.type_id)
            yield _id_changed(pair) if former is None else _reused(scope, former, pair.current)


def _id_changed(pair: MessagePair) -> Finding:
    old, new = pair.previous, pair.current
    return found(
        "TYPE_ID_CHANGED",
        _path(new),
        f"The type id of `{new.name}` went from {old.type_id} to {new.type_id}.",
        backward=False,
        forward=False,
        failure_mode="every_message",
        subject=new.name,
        old={"tlv_type": old.type_id},
        new={"tlv_type": new.type_id},
        old_location=old.location,
        new_location=new.location,
        probe=Probe(old.name, new.name),
        remedy=partial(fixes.restore_type_id, pair),
    )


def _swapped(pairs: list[MessagePair]) -> Finding:
    first = pairs[0]
    shown = ", ".join(f"`{one.current.name}` {one.previous.type_id} -> {one.current.type_id}" for one in pairs)
    return found(
        "TYPE_ID_SWAPPED",
        "messages",
        f"Messages took each other's type ids: {shown}.",
        backward=False,
        forward=False,
        failure_mode="silent",
        subject=" <-> ".join(one.current.name for one in pairs),
        old={one.previous.name: one.previous.type_id for one in pairs},
        new={one.current.name: one.current.type_id for one in pairs},
        old_location=first.previous.location,
        new_location=first.current.location,
        affects=tuple(_path(one.current) for one in pairs),
        probe=Probe(first.previous.name, first.current.name),
        remedy=partial(fixes.restore_type_ids, tuple(pairs)),
    )


def _reserved_used(scope: Scope) -> Iterator[Finding]:
    """Type ids and names that the previous file reserved, or that older versions used."""
    previous = scope.pair.previous
    for message in scope.pair.current.messages.values():
        before = previous.by_id.get(message.type_id)
        dead = [name for name in scope.settings.tombstones.type_ids.get(message.type_id, ()) if name != message.name]
        buried = bool(dead) and before is None
        number = in_ranges(message.type_id, previous.reserved.numbers) or buried
        name = message.name in previous.reserved.names and message.name not in previous.messages
        if not number and not name:
            continue
        what = f"type id {message.type_id}" if number else f"the name `{message.name}`"
        why = f"an earlier version used for `{dead[-1]}`" if buried else "was reserved"
        yield found(
            "RESERVED_TYPE_ID_USED",
            _path(message),
            f"Message `{message.name}` has {what}, which {why}.",
            backward=False,
            forward=False,
            failure_mode="silent",
            subject=message.name,
            old={"reserved": True},
            new={"tlv_type": message.type_id},
            old_location=previous.reserved.location or previous.location,
            new_location=message.location,
            remedy=partial(fixes.unreserved_message, scope.pair, message, name),
        )


# --- topic, secrecy, labels ------------------------------------------------------------------------------------------


def _where(pair: MessagePair) -> dict[str, Any]:
    return {
        "subject": pair.current.name,
        "old_location": pair.previous.location,
        "new_location": pair.current.location,
    }


def _topic(pair: MessagePair) -> Iterator[Finding]:
    old, new = pair.previous, pair.current
    if old.topic != new.topic:
        yield found(
            "MESSAGE_TOPIC_CHANGED",
            _path(new),
            f"The topic of `{new.name}` went from `{old.topic}` to `{new.topic}`, where other subscribers are.",
            backward=False,
            forward=False,
            failure_mode="not_delivered",
            old=old.topic,
            new=new.topic,
            remedy=partial(fixes.restore_domain, pair),
            **_where(pair),
        )
    elif old.domain != new.domain:
        yield found(
            "MESSAGE_DOMAIN_RENAMED_SAME_TOPIC",
            _path(new),
            f"The domain of `{new.name}` is spelled {new.domain or 'default'} now; the topic `{new.topic}` stays.",
            old=old.domain,
            new=new.domain,
            **_where(pair),
        )


def _prior(pair: MessagePair) -> Iterator[Finding]:
    before = _names(pair.previous.extras.get("required_prior_messages"))
    after = _names(pair.current.extras.get("required_prior_messages"))
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    if removed and not added:
        yield found(
            "MESSAGE_METADATA_CHANGED",
            _path(pair.current),
            f"`{pair.current.name}` no longer wants {', '.join(removed)} before it.",
            old=list(before),
            new=list(after),
            **_where(pair),
        )
    if added:
        yield found(
            "PRIOR_MESSAGE_REQUIRED",
            _path(pair.current),
            f"`{pair.current.name}` now wants {', '.join(added)} before it; old publishers may not send that first.",
            old=list(before),
            new=list(after),
            **_where(pair),
        )


def _names(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _exposure(message: Message) -> int:
    """0: redacted; 1: shown where asked for; 2: may be logged."""
    if message.redacted:
        return 0
    return 2 if message.log_payload else 1


def _secrecy(pair: MessagePair) -> Iterator[Finding]:
    if _exposure(pair.current) <= _exposure(pair.previous):
        return
    yield found(
        "SENSITIVITY_LOWERED",
        _path(pair.current),
        f"Payloads of `{pair.current.name}` may be shown where they were not before.",
        old={"sensitivity": pair.previous.sensitivity, "log_payload": pair.previous.log_payload},
        new={"sensitivity": pair.current.sensitivity, "log_payload": pair.current.log_payload},
        remedy=partial(fixes.restore_secrecy, pair),
        **_where(pair),
    )


def _labels(pair: MessagePair) -> Iterator[Finding]:
    old, new = pair.previous, pair.current
    before, after = _metadata(old), _metadata(new)
    if _exposure(new) > _exposure(old):
        before, after = _less(before), _less(after)
    if before != after:
        changed = sorted(key for key in {**before, **after} if before.get(key) != after.get(key))
        yield found(
            "MESSAGE_METADATA_CHANGED",
            _path(new),
            f"{', '.join(changed)} of `{new.name}` changed.",
            old={key: before.get(key) for key in changed},
            new={key: after.get(key) for key in changed},
            **_where(pair),
        )
    if old.description != new.description:
        text = f"The description of `{new.name}` changed."
        yield found("MESSAGE_DOC_CHANGED", _path(new), text, old=old.description, new=new.description, **_where(pair))


def _metadata(message: Message) -> dict[str, Any]:
    """What is neither on the wire nor reported by a rule of its own."""
    labels: dict[str, object] = {
        key: value for key, value in message.extras.items() if key != "required_prior_messages"
    }
    return labels | {
        "schema_version": message.schema_version,
        "deprecated": message.deprecated,
        "sensitivity": message.sensitivity,
        "log_payload": message.log_payload,
        "key": list(message.key),
        "retain": message.retain,
        "qos": message.on_lag,
    }


def _less(labels: dict[str, object]) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if key not in {"sensitivity", "log_payload"}}
