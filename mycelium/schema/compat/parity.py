"""What the Rust checker would say of the same two files: it compares fields by name and knows no tags, rules or topics.

Its direction names are swapped, and its level comes from the versions alone where it finds no issue.
"""

import re

from attrs import frozen

from mycelium.schema.model import Field, Message, Schema

__all__ = ["Parity", "parity"]


@frozen
class Parity:
    """Level, issues (by name, in the order of the previous file) and the number of warnings."""

    level: str
    issues: tuple[str, ...] = ()
    warnings: int = 0


def parity(previous: Schema, current: Schema) -> Parity:
    """The verdict of the Rust checker."""
    if previous.id != current.id:
        return Parity("Incompatible", ("SchemaMismatch",))
    issues: list[str] = []
    warnings = 0
    if current.version < previous.min_compatible:
        issues.append("VersionTooOld")
    for name, old in previous.messages.items():
        new = current.messages.get(name)
        if new is None:
            issues.append("MessageRemoved")
            continue
        if old.type_id != new.type_id:
            issues.append("TypeIdChanged")
        found, warned = _fields(old, new)
        issues += found
        warnings += warned
    warnings += sum(name not in previous.messages for name in current.messages)
    return Parity(_level(previous, current, issues), tuple(issues), warnings)


def _level(previous: Schema, current: Schema, issues: list[str]) -> str:
    if issues:
        return "Incompatible"
    if current.version == previous.version:
        return "FullyCompatible"
    return "ForwardCompatible" if current.version > previous.version else "BackwardCompatible"


def _fields(old: Message, new: Message) -> tuple[list[str], int]:
    issues: list[str] = []
    warnings = sum(name not in old.by_name for name in new.by_name)
    for name, before in old.by_name.items():
        after = new.by_name.get(name)
        if after is None:
            if before.optional:
                warnings += 1
            else:
                issues.append("RequiredFieldRemoved")
            continue
        if _text(before) != _text(after):
            issues.append("FieldTypeChanged")
        if before.optional and not after.optional:
            issues.append("FieldBecameRequired")
        warnings += after.optional and not before.optional
    return issues, warnings


def _text(field: Field) -> str:
    """The type as written: upstream compares texts, without resolving aliases."""
    return re.sub(r"\s+", " ", field.spelling or str(field.type)).strip()
