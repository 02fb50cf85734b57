"""Rules about the file's own sections: `schema`, `tag_ranges`, `domains`, `invariants`."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, found
from mycelium.schema.compat.pairs import SchemaPair
from mycelium.schema.compat.reserved import reservation_changes

__all__ = ["conclusion_rules", "identity_rules", "section_rules"]

_CHANGES_NOTHING = frozenset({"DOC", "POLICY"})


def _at(pair: SchemaPair, key: str) -> dict[str, Any]:
    return {
        "old_location": pair.previous.locations.get(key, pair.previous.location),
        "new_location": pair.current.locations.get(key, pair.current.location),
    }


def identity_rules(pair: SchemaPair) -> Iterator[Finding]:
    """SCHEMA_ID_CHANGED, after which there is nothing to compare."""
    old, new = pair.previous.id, pair.current.id
    if old != new:
        yield found(
            "SCHEMA_ID_CHANGED",
            "schema.id",
            f"`schema.id` went from 0x{old:08X} to 0x{new:08X}: another protocol.",
            backward=False,
            forward=False,
            failure_mode="every_message",
            subject="schema.id",
            old=old,
            new=new,
            remedy=partial(fixes.section, "id", old, f"Restore `id: 0x{old:08X}`, or bridge the two protocols."),
            **_at(pair, "id"),
        )


def section_rules(pair: SchemaPair) -> Iterator[Finding]:
    """Versions, ranges, reservations, and sections that only people read."""
    yield from _version(pair)
    yield from _min_compatible(pair)
    old, new = pair.previous, pair.current
    if dict(old.tag_ranges) != dict(new.tag_ranges):
        yield found(
            "TAG_RANGE_CHANGED",
            "tag_ranges",
            "The ranges of type ids changed.",
            subject="tag_ranges",
            old={name: list(bounds) for name, bounds in old.tag_ranges.items()},
            new={name: list(bounds) for name, bounds in new.tag_ranges.items()},
            **_at(pair, "tag_ranges"),
        )
    used = {one.type_id for one in new.messages.values()}, set(new.messages)
    yield from reservation_changes(
        (old.reserved.numbers, old.reserved.names),
        (new.reserved.numbers, new.reserved.names),
        used,
        path="schema.reserved",
        subject="schema.reserved",
        remedy=partial(fixes.restore_schema_reservation, pair),
        **_at(pair, "reserved"),
    )
    yield from _domains(pair)


def _domains(pair: SchemaPair) -> Iterator[Finding]:
    old, new = pair.previous, pair.current
    for name in [*new.domains, *(gone for gone in old.domains if gone not in new.domains)]:
        before, after = old.domains.get(name), new.domains.get(name)
        if before != after:
            yield found(
                "MESSAGE_METADATA_CHANGED",
                f"domains.{name}",
                f"The entry of domain {name} changed.",
                subject=name,
                old=None if before is None else [before.description, before.latency_slo_p99_ms],
                new=None if after is None else [after.description, after.latency_slo_p99_ms],
                old_location=old.location if before is None else before.location,
                new_location=new.location if after is None else after.location,
            )
    if old.invariants != new.invariants:
        yield found(
            "MESSAGE_METADATA_CHANGED",
            "invariants",
            "The invariants changed.",
            subject="invariants",
            old=[dict(one) for one in old.invariants],
            new=[dict(one) for one in new.invariants],
            old_location=old.location,
            new_location=new.location,
        )


def _version(pair: SchemaPair) -> Iterator[Finding]:
    old, new = pair.previous, pair.current
    details: dict[str, Any] = {
        "subject": "schema.version",
        "old": old.version,
        "new": new.version,
        **_at(pair, "version"),
    }
    if new.version < old.min_compatible:
        yield found(
            "SCHEMA_VERSION_BELOW_MIN_COMPATIBLE",
            "schema.version",
            f"Old readers take version {old.min_compatible} and later; the new version is {new.version}.",
            forward=False,
            failure_mode="every_message",
            remedy=partial(fixes.section, "version", old.version + 1, "Raise `version` above the old one."),
            **details,
        )
    elif new.version < old.version:
        yield found(
            "SCHEMA_VERSION_DECREASED",
            "schema.version",
            f"`schema.version` went down from {old.version} to {new.version}.",
            remedy=partial(fixes.section, "version", old.version + 1, "A roll-back is a new version too."),
            **details,
        )


def _min_compatible(pair: SchemaPair) -> Iterator[Finding]:
    old, new = pair.previous, pair.current
    details: dict[str, Any] = {
        "subject": "schema.min_compatible",
        "old": old.min_compatible,
        "new": new.min_compatible,
        **_at(pair, "min_compatible"),
    }
    path = "schema.min_compatible"
    if new.min_compatible > old.version:
        yield found(
            "MIN_COMPATIBLE_EXCLUDES_OLD",
            path,
            f"New readers take version {new.min_compatible} and later; the old version is {old.version}.",
            backward=False,
            failure_mode="every_message",
            remedy=partial(
                fixes.section,
                "min_compatible",
                old.min_compatible,
                "Lower `min_compatible`, or accept it if it is meant.",
            ),
            **details,
        )
    elif new.min_compatible > old.min_compatible:
        text = f"`min_compatible` went up from {old.min_compatible} to {new.min_compatible}."
        yield found("MIN_COMPATIBLE_RAISED", path, text, **details)
    elif new.min_compatible < old.min_compatible:
        text = f"`min_compatible` went down from {old.min_compatible} to {new.min_compatible}."
        yield found("MIN_COMPATIBLE_LOWERED", path, text, **details)


def conclusion_rules(pair: SchemaPair, findings: Sequence[Finding], excused: frozenset[str]) -> Iterator[Finding]:
    """Rules about what the other findings ask of the `schema` section.

    Args:
        pair: The schemas.
        findings: What was found about them.
        excused: Fingerprints of those of the experimental range, which promises nothing.
    """
    old, new = pair.previous, pair.current
    changed = any(
        one.category not in _CHANGES_NOTHING or one.rule in {"SENSITIVITY_LOWERED", "FIELD_RESERVED_TAG_USED"}
        for one in findings
    )
    if changed and old.version == new.version:
        yield found(
            "SCHEMA_VERSION_NOT_BUMPED",
            "schema.version",
            f"The contract changed and `schema.version` is still {new.version}.",
            subject="schema.version",
            old=old.version,
            new=new.version,
            remedy=partial(fixes.section, "version", old.version + 1, f"Set `version: {old.version + 1}`."),
            **_at(pair, "version"),
        )
    broken = any(
        not one.backward
        for one in findings
        if one.fingerprint not in excused and one.rule != "MIN_COMPATIBLE_EXCLUDES_OLD"
    )
    if broken and new.min_compatible <= old.version:
        wanted = max(new.version, old.version + 1)
        yield found(
            "MIN_COMPATIBLE_NOT_RAISED",
            "schema.min_compatible",
            f"New readers cannot read all of version {old.version}, which `min_compatible` still admits.",
            subject="schema.min_compatible",
            old=old.min_compatible,
            new=new.min_compatible,
            remedy=partial(fixes.raise_minimum, wanted),
            **_at(pair, "min_compatible"),
        )
